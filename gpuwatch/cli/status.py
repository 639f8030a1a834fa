"""This node's GPUs in one table, or as one JSON document."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from gpuwatch.cli.exposition import TEXT_FORMATS, Exposition
from gpuwatch.cli.terminal import Terminal, look
from gpuwatch.source import Source, asked_agents, command_config, open_source
from gpuwatch_agent.model.errors import AgentUnreachableError, DriverUnavailableError, GpuwatchError, UsageError
from gpuwatch_agent.model.frame import Frame

_FORMATS = ("table", "json", *TEXT_FORMATS)
_LEAST_WATCH_S, _MOST_WATCH_S = 0.1, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `status`."""
    parser.add_argument("--json", action="store_true", help="one JSON document; with --watch one a line")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="table, json, or metrics as text: prometheus, or dcgm for the names of NVIDIA's dcgm-exporter",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write the metrics there, at one stroke, as node_exporter's textfile collector wants it",
    )
    parser.add_argument(
        "--watch", type=_seconds, metavar="SECONDS", help="keep it up to date, reading that often; q or Ctrl-C ends"
    )
    parser.add_argument(
        "--rates", action="store_true", help="wait for a second reading, which rates and activities need"
    )
    parser.add_argument(
        "--processes",
        type=_how_many,
        default=argparse.SUPPRESS,
        metavar="all|N|none",
        help="how many processes to list (16)",
    )
    parser.add_argument("--hosts", metavar="FILE", help="several agents: a file that names them, one a line")


def run(options: argparse.Namespace) -> int:
    """Show what there is, once or until told to stop."""
    _settle_format(options)
    if options.format in TEXT_FORMATS:
        return _write_metrics(options)
    terminal = look()
    watch: float | None = options.watch
    on_terminal = terminal.interactive and sys.stdin is not None and sys.stdin.isatty()
    if options.alone and watch is None and on_terminal and not (options.json or options.rates):
        from gpuwatch.cli.dashboard import run as open_dashboard

        return open_dashboard(options)
    if watch is None:
        urls = asked_agents(options)
        return _each_once(urls, options, terminal) if len(urls) > 1 else _once(open_source(options), options, terminal)
    source = open_source(options)
    if options.json:
        return _watch_json(source, watch)
    if not terminal.interactive:
        return _watch_plainly(source, options, watch)
    from gpuwatch.cli.live import show_live

    return show_live(source.frames(watch), lambda frame, seen: _draw(frame, options, seen, height=seen.height))


def _settle_format(options: argparse.Namespace) -> None:
    """One format out of two flags; metrics are what goes to a file."""
    if options.json and options.format not in {None, "json"}:
        raise UsageError(f"--json and --format {options.format} exclude each other.", "Leave one of them out.")
    options.json = options.json or options.format == "json"
    metrics = options.format in TEXT_FORMATS
    if options.output is not None and not metrics:
        raise UsageError("--output is for metrics.", "Add --format prometheus, or redirect the output with >.")
    if metrics and options.watch is not None and options.output is None:
        raise UsageError(
            "Metrics on and on need a file to be written to.", "Name it with --output, or leave --watch out."
        )


def _write_metrics(options: argparse.Namespace) -> int:
    """What can't be read is told to the scraper too: values of an earlier run must not pass for those of now."""
    exposition = Exposition(options.format, options.output, command_config(options))
    frames = _moments(options)
    blind = False
    while True:
        try:
            frame = next(frames, None)
        except (DriverUnavailableError, AgentUnreachableError) as error:
            exposition.write_failure(error)
            raise
        if frame is None:
            return GpuwatchError.exit_code if blind else 0
        exposition.write(frame)
        blind = _is_blind(frame)


def _moments(options: argparse.Namespace) -> Iterator[Frame]:
    """One, or one after the other."""
    source = open_source(options)
    if options.watch is None:
        yield source.frame(rates=options.rates)
    else:
        yield from source.frames(options.watch)


def _is_blind(frame: Frame) -> bool:
    """What an agent without a driver answers is shown, and is still no success; a node without GPUs was seen well."""
    return frame.trouble is not None and frame.trouble.kind != "no_gpus" and not frame.gpus


def _once(source: Source, options: argparse.Namespace, terminal: Terminal) -> int:
    frame = source.frame(rates=options.rates)
    if options.json:
        write_json(frame, indent=terminal.interactive)
    else:
        sys.stdout.write(_draw(frame, options, terminal))
    return GpuwatchError.exit_code if _is_blind(frame) else 0


def _each_once(urls: Sequence[str], options: argparse.Namespace, terminal: Terminal) -> int:
    """One agent after the other; who does not answer is told on stderr, and the others are shown all the same."""
    worst = 0
    for url in urls:
        try:
            one = argparse.Namespace(**{**vars(options), "connect": url, "hosts": None})
            worst = max(worst, _once(open_source(one), one, terminal))
            sys.stdout.flush()
        except AgentUnreachableError as error:
            print(f"gpuwatch: {error}", file=sys.stderr)  # noqa: T201  # the others are still to come
            worst = max(worst, error.exit_code)
    return worst


def _draw(frame: Frame, options: argparse.Namespace, terminal: Terminal, height: int = 0) -> str:
    from gpuwatch.render.status_table import render_status

    return render_status(
        frame,
        width=terminal.width,
        colour=terminal.colour,
        unicode=terminal.unicode,
        processes=getattr(options, "processes", 16),
        height=height,
    )


def _watch_json(source: Source, watch: float) -> int:
    for frame in source.frames(watch):
        write_json(frame, indent=False)
        sys.stdout.flush()
    return 0


def _watch_plainly(source: Source, options: argparse.Namespace, watch: float) -> int:
    """Into a pipe or a file: one table after the other."""
    for position, frame in enumerate(source.frames(watch)):
        sys.stdout.write(("\n" if position else "") + _draw(frame, options, look()))
        sys.stdout.flush()
    return 0


def write_json(document: object, *, indent: bool) -> None:
    """One document, ending in a newline; in UTF-8 whatever the locale, as JSON wants it."""
    import msgspec

    encoded = msgspec.json.encode(document)
    text = (msgspec.json.format(encoded) if indent else encoded) + b"\n"
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(text.decode())
        return
    sys.stdout.flush()
    raw.write(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not _LEAST_WATCH_S <= seconds <= _MOST_WATCH_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {_LEAST_WATCH_S:g} to {_MOST_WATCH_S:g}"
        )
    return seconds


def _how_many(text: str) -> int | None:
    if text == "all":
        return None
    if text == "none":
        return 0
    if text.isascii() and text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all or none")
