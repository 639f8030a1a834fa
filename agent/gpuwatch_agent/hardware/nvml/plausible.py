"""What can't be true is no value: drivers leave blank words (all ones) and absurd figures in fields they do not fill."""

_BLANKS = frozenset({0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFF0, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0x7FFFFFFFFFFFFFF0})
_MAX_BYTES = 1 << 50
_LINK_WIDTHS = frozenset({1, 2, 4, 8, 12, 16, 32})


def percentage(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 100 else None


def celsius(value: float | None) -> float | None:
    """Between deep frost and molten solder; 0 is what boards without the sensor give."""
    return value if value is not None and -40 <= value <= 150 and value != 0 else None


def margin(value: float | None) -> float | None:
    return value if value is not None and -100 <= value <= 150 else None


def watts_from_milliwatts(value: float | None) -> float | None:
    return value / 1000 if value is not None and 0 < value < 20_000_000 else None


def count(value: int | None) -> int | None:
    return value if value is not None and value >= 0 and value not in _BLANKS else None


def byte_count(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < _MAX_BYTES else None


def megahertz(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < 20_000 else None


def link_generation(value: int | None) -> int | None:
    return value if value is not None and 1 <= value <= 9 else None


def link_width(value: int | None) -> int | None:
    return value if value in _LINK_WIDTHS else None


def performance_state(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= 15 else None


def flag(value: int | None) -> bool | None:
    return bool(value) if value in {0, 1} else None
