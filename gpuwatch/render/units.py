"""Numbers in words people read at a glance: one decimal at most, units said once."""

GIB = 1024**3


def whole(value: float) -> str:
    """1980 → 1,980."""
    return f"{value:,.0f}"


def gib(value: int) -> str:
    """Bytes as GiB, one decimal below a hundred."""
    amount = value / GIB
    return f"{amount:,.1f}" if 0 < amount < 99.95 else f"{amount:,.0f}"


def gib_total(value: int) -> str:
    """A capacity: whole GiB where there is at least one."""
    return whole(value / GIB) if value >= GIB else gib(value)


def gigabytes_per_s(value: float) -> str:
    """Bytes per second as GB/s."""
    amount = value / 1e9
    return f"{amount:,.1f}" if amount < 99.95 else f"{amount:,.0f}"


def watts(value: float) -> str:
    """3912 → 3.9 kW, 368 → 368 W."""
    return f"{value / 1000:,.1f} kW" if value >= 1000 else f"{value:.0f} W"


def span_of_time(seconds: float) -> str:
    """12 days 4 hours → 12d 4h; 134 s → 2m14s; 4.2 s → 4 s."""
    whole_seconds = int(max(seconds, 0))
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    minutes, rest = divmod(whole_seconds, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days:,}d {hours}h"


def board_name(name: str) -> str:
    """NVIDIA H100 80GB HBM3 → H100 80GB HBM3: the maker is the same on every row."""
    for maker in ("NVIDIA ", "GeForce ", "Tesla ", "Graphics Device "):
        name = name.removeprefix(maker)
    return name


def index_list(indices: list[int]) -> str:
    """[0, 1, 2, 5] → 0-2,5."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
