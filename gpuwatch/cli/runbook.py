"""What a kind of finding means, how to confirm it and what to do; without a kind, the list of them."""

import argparse
import sys

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.runbooks import runbook, runbook_kinds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `runbook`."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help="as a finding names it: gpu_lost, xid, …")


def run(options: argparse.Namespace) -> int:
    """Print the page, in Markdown as it is written."""
    if options.kind is None:
        sys.stdout.write("".join(f"{kind}\n" for kind in runbook_kinds()))
        return 0
    page = runbook(options.kind)
    if page is None:
        raise UsageError(
            f"There is no runbook {options.kind!r}.{_guess(options.kind)}", "`gpuwatch runbook` lists them."
        )
    try:
        sys.stdout.write(page)
    except UnicodeEncodeError:
        sys.stdout.write(page.encode("ascii", "replace").decode())
    return 0


def _guess(written: str) -> str:
    import difflib

    near = difflib.get_close_matches(written, runbook_kinds(), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
