"""Measures on purpose what the GPUs and the links between them deliver, and keeps the results for comparison."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpuwatch.cli.terminal import look
from gpuwatch.source import command_config
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.probes.decode_plan import MOST_TP, PRESETS
from gpuwatch_agent.probes.plan import DTYPES, MOST_RANKS, parse_sizes

if TYPE_CHECKING:
    from gpuwatch_agent.probes.store import Store

_MOST_S = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The probes and what can be done with their results."""
    parser.set_defaults(do=_overview)
    commands = parser.add_subparsers(metavar="WHAT", title="what")
    allreduce = _command(commands, "allreduce", _allreduce, "latency and bus bandwidth of all-reduce over some GPUs")
    _add_allreduce(allreduce)
    decode = _command(commands, "decode", _decode, "tokens a second of a Llama-shaped model over 1, 2, 4, 8 ranks")
    _add_decode(decode)
    history = _command(commands, "history", _history, "the results that are stored here, the newest first")
    history.add_argument("--json", action="store_true", help="one JSON document")
    history.add_argument("--limit", type=_count, default=20, metavar="N", help="how many to list (20)")
    compare = _command(commands, "compare", _compare, "two stored results side by side, size by size")
    for name in ("A", "B"):
        compare.add_argument(name, help="a result: its number in the history, its id, or the beginning of that")
    compare.add_argument("--json", action="store_true", help="one JSON document")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    do: Callable[[argparse.Namespace], int],
    words: str,
) -> argparse.ArgumentParser:
    from gpuwatch.cli.main import GLOBAL_FLAGS

    parser = commands.add_parser(name, help=words, description=f"{words[:1].upper()}{words[1:]}.", allow_abbrev=False)
    parser.set_defaults(do=do)
    for flag, (metavar, help_text) in GLOBAL_FLAGS.items():
        # What was written before the word stands unless it is written again.
        parser.add_argument(flag, metavar=metavar, help=help_text, default=argparse.SUPPRESS)
    return parser


def _add_allreduce(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gpus", type=_gpus, metavar="LIST", help="which GPUs, as 0,1 or 0-3 (all)")
    where.add_argument("--ranks", type=_ranks, metavar="N", help="the first N GPUs; without GPUs, N processes (2)")
    parser.add_argument("--sizes", type=_sizes, metavar="FROM:TO", help="bytes of a message, as 1K:1G")
    parser.add_argument(
        "--dtype", type=_dtypes, metavar="LIST", help=f"of {', '.join(DTYPES)} (bfloat16 on GPUs, else float32)"
    )
    _add_common(parser)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpus", type=_gpus, metavar="LIST", help="which GPUs, as 0,1 or 0-3 (all)")
    parser.add_argument("--model", choices=PRESETS, help="how large a model (8b on GPUs, else small)")
    parser.add_argument("--tp", type=_splits, metavar="LIST", help="over how many ranks, as 1,2,4 (powers of two)")
    parser.add_argument("--batch", type=_count, default=1, metavar="N", help="sequences at once (1)")
    parser.add_argument("--context", type=_count, metavar="N", help="tokens behind each (2048 on GPUs, else 128)")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpu", action="store_true", help="on the processor, over gloo: to try it out")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--force", action="store_true", help="also on GPUs that somebody uses")
    parser.add_argument(
        "--deadline", type=_seconds, metavar="SECONDS", help="give up after so long (600, less if quick)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document")
    form.add_argument("--csv", action="store_true", help="one line a row, for spreadsheets")


def run(options: argparse.Namespace) -> int:
    """Do what was asked for."""
    if options.connect:
        raise UsageError("Probes run on the node that they measure.", "Run this command there.")
    do: Callable[[argparse.Namespace], int] = options.do
    return do(options)


def _overview(_options: argparse.Namespace) -> int:
    raise UsageError(
        "What to measure was not said.",
        "`gpuwatch probe allreduce --quick` is a start; `gpuwatch probe --help` lists all.",
    )


def _allreduce(options: argparse.Namespace) -> int:
    from gpuwatch.cli.probe_run import probe_allreduce

    return probe_allreduce(options)


def _decode(options: argparse.Namespace) -> int:
    from gpuwatch.cli.probe_run import probe_decode

    return probe_decode(options)


def store_of(options: argparse.Namespace) -> "Store":
    """Where this command's results lie."""
    from gpuwatch_agent.probes.store import open_store

    return open_store(command_config(options).probes, os.environ)


def _history(options: argparse.Namespace) -> int:
    from gpuwatch.cli.status import write_json
    from gpuwatch.render.probe_history import render_history

    results = store_of(options).results()[: options.limit]
    terminal = look()
    if options.json:
        write_json({"schema": 1, "runs": results}, indent=terminal.interactive)
    else:
        sys.stdout.write(
            render_history(results, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode)
        )
    return 0


def _compare(options: argparse.Namespace) -> int:
    from gpuwatch.cli.status import write_json
    from gpuwatch.render.probe_history import compare, render_comparison

    store = store_of(options)
    comparison = compare(store.named(options.A), store.named(options.B))
    terminal = look()
    if options.json:
        write_json(comparison, indent=terminal.interactive)
    else:
        sys.stdout.write(
            render_comparison(comparison, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode)
        )
    return 0


def _gpus(text: str) -> list[int]:
    """`0,2` or `0-3`, each once."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last if dash else first]
        if not all(end.isascii() and end.isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers as 0,1 or 0-3")
        found += range(int(ends[0]), min(int(ends[1]), 1023) + 1)
    if len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names a GPU twice, and each rank needs its own")
    return found


def _splits(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) <= MOST_TP for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 1 to {MOST_TP}, as 1,2,4")
    return [int(part) for part in parts]


def _ranks(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MOST_RANKS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of ranks from 2 to {MOST_RANKS}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _sizes(text: str) -> tuple[int, int]:
    try:
        return parse_sizes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _dtypes(text: str) -> list[str]:
    named = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in named:
        if name not in DTYPES:
            raise argparse.ArgumentTypeError(f"there is no type {name!r} here: there are {', '.join(DTYPES)}")
    return named


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {_MOST_S:g}")
    return seconds
