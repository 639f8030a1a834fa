"""The commands `gpuwatch` and `gpuwatch-agent`."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    from gpuwatch.cli.main import run

    return run(argv)


def agent_main(argv: Sequence[str] | None = None) -> int:
    """`gpuwatch-agent` is `gpuwatch agent`."""
    import sys

    from gpuwatch.cli.main import run

    return run(["agent", *(sys.argv[1:] if argv is None else argv)])
