"""What a PCIe link can carry, by its generation and width."""

from collections.abc import Mapping

# Billions of bytes a second of one lane, after line coding; the figures of the PCIe specification.
_LANE_GB_PER_S: Mapping[int, float] = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
# Packets a minute that a lane may lose at the bit error rate the specification allows (1e-12), as DCGM reckons.
_LANE_REPLAYS_PER_MIN: Mapping[int, float] = {1: 0.15, 2: 0.3, 3: 0.48, 4: 0.96, 5: 1.92, 6: 3.84}


def gb_per_s(gen: int | None, width: int | None) -> float | None:
    """What the link carries one way, `None` for a generation not known here."""
    lane = _LANE_GB_PER_S.get(gen or 0)
    return lane * width if lane is not None and width is not None else None


def replays_per_min(gen: int | None, width: int | None) -> float | None:
    """How many replays a minute are within the specification."""
    lane = _LANE_REPLAYS_PER_MIN.get(gen or 0)
    return lane * width if lane is not None and width is not None else None
