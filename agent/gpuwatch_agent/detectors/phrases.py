"""Small pieces of the sentences that findings are told in."""

from collections.abc import Sequence


def listed(numbers: Sequence[int]) -> str:
    """Numbers as people write them: 1, 1 and 2, 1 to 4, 1, 3 and 5."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    words = [str(number) for number in numbers]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(count: int, noun: str) -> str:
    """A number with its noun, as `1 error` or `1,204 errors`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def gpus_named(indices: Sequence[int]) -> str:
    """`GPU 3` or `GPUs 0 to 7`."""
    return f"GPU{'s' if len(indices) > 1 else ''} {listed(indices)}"
