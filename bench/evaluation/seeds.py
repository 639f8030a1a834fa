"""Which seeds were looked at while the detectors were made: figures on those flatter."""

LOOKED_AT = (31_415, 90_117, 271_828, 600_000, 700_001, 715_001, 812_001, 4_669_201, 6_283_185)
# Episodes of a family are numbered from the seed on: seeds that are near share them.
_REACH = 1_000


def was_looked_at(seed: int) -> bool:
    """Whether some of its episodes may be known."""
    return any(abs(seed - known) < _REACH for known in LOOKED_AT)


def in_words(seed: int) -> str:
    """What the page says of it."""
    listed = ", ".join(map(str, LOOKED_AT))
    if was_looked_at(seed):
        return f"**This seed was looked at while the detectors were made, so these figures flatter** (seeds looked at: {listed})."
    return f"Nobody had looked at this seed before the run; looked at while the detectors were made: {listed}."
