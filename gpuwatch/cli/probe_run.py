"""Runs a probe for somebody at a keyboard: progress on one line, Ctrl-C that cleans up, the result shown and stored."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from gpuwatch.cli.probe import store_of
from gpuwatch.cli.terminal import look
from gpuwatch.source import command_config, open_source
from gpuwatch_agent.hardware.host import node_name
from gpuwatch_agent.model.errors import DriverUnavailableError, GpuwatchError, ProbeError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.probes.allreduce import AllReduceRun, Progress
from gpuwatch_agent.probes.decode import DecodeRun
from gpuwatch_agent.probes.decode_plan import DecodeRequest, plan_decode
from gpuwatch_agent.probes.locks import holding
from gpuwatch_agent.probes.plan import AllReduceRequest, look_at_machine, plan_allreduce, size_in_words
from gpuwatch_agent.probes.result import AllReduceResult, ProbeResult
from gpuwatch_agent.probes.store import Store

_INTERRUPTED = 128 + signal.SIGINT


class _Run(Protocol):
    """One run of any probe."""

    async def run(self) -> ProbeResult: ...

    def cut_short(self) -> ProbeResult: ...


def probe_allreduce(options: argparse.Namespace) -> int:
    """Plan, measure, show, store."""
    _refuse_simulation(options)
    request = AllReduceRequest(
        gpus=options.gpus,
        ranks=options.ranks,
        on_cpu=options.cpu,
        sizes=options.sizes,
        dtypes=options.dtype,
        quick=options.quick,
        force=options.force,
        deadline_s=options.deadline,
    )
    frame, topology = (None, None) if request.on_cpu else _look_around(options)
    plan = plan_allreduce(request, frame, topology, look_at_machine())
    store = store_of(options)
    earlier = [result for result in store.results() if isinstance(result, AllReduceResult)]
    with holding(store.directory, [gpu.uuid for gpu in plan.gpus] or ["cpu"], "allreduce"):
        result = _measured(lambda tell: AllReduceRun(plan, node=node_name(), earlier=earlier, on_progress=tell))
    _show(result, options)
    return _stored(result, store)


def probe_decode(options: argparse.Namespace) -> int:
    """The same for the model's steps."""
    _refuse_simulation(options)
    request = DecodeRequest(
        model=options.model,
        tp=options.tp,
        gpus=options.gpus,
        on_cpu=options.cpu,
        batch=options.batch,
        context=options.context,
        quick=options.quick,
        force=options.force,
        deadline_s=options.deadline,
    )
    frame, _ = (None, None) if request.on_cpu else _look_around(options)
    plan = plan_decode(request, frame, look_at_machine())
    store = store_of(options)
    with holding(store.directory, [gpu.uuid for gpu in plan.gpus] or ["cpu"], "decode"):
        result = _measured(lambda tell: DecodeRun(plan, node=node_name(), on_progress=tell))
    _show(result, options)
    return _stored(result, store)


def _refuse_simulation(options: argparse.Namespace) -> None:
    if command_config(options).hardware.simulate:
        raise UsageError(
            "Simulated GPUs can't be measured.", "Leave --sim out; `--cpu` tries the probe out on this processor."
        )


def _look_around(options: argparse.Namespace) -> tuple[Frame | None, Topology | None]:
    """What is there and who uses it; a machine without a driver has a processor at least."""
    source = open_source(options)
    try:
        return source.frame(rates=False), source.topology()
    except DriverUnavailableError:
        if options.gpus is not None:
            raise
        return None, None


def _measured(make: Callable[[Callable[[Progress], None]], _Run]) -> ProbeResult:
    line = _ProgressLine() if sys.stderr.isatty() else None
    run = make(line.show if line is not None else lambda _: None)
    try:
        return asyncio.run(_until_done(run))
    finally:
        if line is not None:
            line.clear()


async def _until_done(run: _Run) -> ProbeResult:
    """To the end, or until somebody stops it; who stops it twice gets it without the ranks being asked first."""
    task = asyncio.create_task(run.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return run.cut_short()


class _ProgressLine:
    """One line on a terminal, written over and over."""

    def show(self, progress: Progress) -> None:
        """Where the probe is, how far, and how long it will take."""
        size = f" {size_in_words(progress.bytes)} {progress.dtype}" if progress.bytes is not None else ""
        far = f"  {progress.percent:3.0f} %" if progress.bytes is not None else ""
        left = f", about {progress.eta_s:.0f} s left" if progress.eta_s is not None else ""
        sys.stderr.write(f"\r\x1b[K {progress.phase}{size}{far}{left} (Ctrl-C: stop) ")
        sys.stderr.flush()

    def clear(self) -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _show(result: ProbeResult, options: argparse.Namespace) -> None:
    from gpuwatch.cli.status import write_json
    from gpuwatch.render.probe_table import render_result, to_csv

    terminal = look()
    if options.json:
        write_json(result, indent=terminal.interactive)
    elif options.csv:
        sys.stdout.write(to_csv(result))
    elif result.results:
        sys.stdout.write(render_result(result, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode))
    sys.stdout.flush()


def _stored(result: ProbeResult, store: Store) -> int:
    """Keep it, say what was wrong, and give the exit code; a result that could not be kept was still measured."""
    complain: Callable[[str], int] = lambda text: sys.stderr.write(f"gpuwatch: {text}\n")  # noqa: E731  # one line, used twice
    try:
        store.add(result)
    except ProbeError as error:
        complain(str(error))
    if result.state == "cancelled":
        complain("Stopped; nothing was left running.")
        return _INTERRUPTED
    if result.problem is None:
        return 0
    if not result.results:
        raise ProbeError(result.problem.message, result.problem.action)
    complain(f"{result.problem.message} {result.problem.action}".strip())
    return GpuwatchError.exit_code
