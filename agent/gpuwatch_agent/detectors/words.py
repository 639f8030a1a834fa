"""How findings write down GPUs, amounts and times."""

from collections.abc import Iterable, Sequence

GIB = 1 << 30


def gpu_list(indices: Iterable[int]) -> str:
    """`GPU 3`, `GPUs 0 and 2`, `GPUs 0-3 and 6`."""
    ordered = sorted(set(indices))
    runs: list[list[int]] = []
    for index in ordered:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts: list[str] = []
    for run in runs:
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(index) for index in run]
    return f"{'GPU' if len(ordered) == 1 else 'GPUs'} {joined(parts)}"


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def gib(amount: float) -> str:
    """An amount of memory as people speak of it."""
    return f"{amount / GIB:.0f} GiB" if amount >= 10 * GIB else f"{amount / GIB:.1f} GiB"


def duration(seconds: float) -> str:
    """`40 s`, `35 min`, `5.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def shortened(text: str, most: int = 60) -> str:
    """A name that fits into a sentence."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
