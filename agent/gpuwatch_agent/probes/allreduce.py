"""The all-reduce probe: its ranks are started, listened to, stopped, and what they measured is judged."""

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gpuwatch_agent.probes.child import ChildEnd, Event, Patience
from gpuwatch_agent.probes.explain import HANG, explain, out_of_memory, refusal, survivors_note, too_late
from gpuwatch_agent.probes.plan import LATENCY_UP_TO, Plan, size_in_words
from gpuwatch_agent.probes.ranks import run_ranks
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, Problem, RankTimes, RunState, bandwidths
from gpuwatch_agent.probes.verdict import Judgement, judge

_WORKER = ("-m", "gpuwatch_agent.probes.workers.allreduce")
_LEAST_RETRY_S = 10.0


class Progress(Struct, frozen=True, kw_only=True):
    """How far a probe is."""

    phase: str
    dtype: str | None = None
    bytes: int | None = None
    percent: float = 0.0
    eta_s: float | None = None


class _Told:
    """What the ranks of one attempt have told so far."""

    def __init__(self, plan: Plan, on_progress: Callable[[Progress], None]) -> None:
        self.rows: list[AllReduceRow] = []
        self.rank_times: list[RankTimes] = []
        self.torch_version: str | None = None
        self.nccl_version: str | None = None
        self.refused: str | None = None
        self.out_of_memory_at: int | None = None
        self.finished = False
        self._plan = plan
        self._on_progress = on_progress

    def hear(self, event: Event) -> None:
        """Take in one event; a kind that is not known is from a later worker and says nothing here."""
        kind = event["event"]
        if kind == "starting":
            self.torch_version, self.nccl_version = event["torch"], event["nccl"]
            self._on_progress(Progress(phase="connecting"))
        elif kind == "refused":
            self.refused = event["reason"]
        elif kind == "progress":
            self._on_progress(msgspec.convert(event, Progress))
        elif kind == "result":
            self.rows.append(self._row(event))
        elif kind == "ranks":
            self.rank_times = self._times(event)
        elif kind == "out_of_memory":
            self.out_of_memory_at = event["bytes"]
        elif kind == "finished":
            self.finished = True

    def _row(self, event: Event) -> AllReduceRow:
        measured: dict[str, Any] = {name: value for name, value in event.items() if name != "event"}
        algorithm, bus = bandwidths(event["bytes"], event["time_us"] / 1e6, self._plan.ranks)
        return msgspec.convert({**measured, "algbw_gb_per_s": algorithm, "busbw_gb_per_s": bus}, AllReduceRow)

    def _times(self, event: Event) -> list[RankTimes]:
        both = zip(event["work_us_p50"], event["call_us_p50"], strict=True)
        gpus = self._plan.gpus
        return [
            RankTimes(rank=rank, gpu=gpus[rank].index if gpus else None, work_us_p50=work, call_us_p50=call)
            for rank, (work, call) in enumerate(both)
        ]


class AllReduceRun:
    """One run from its start to its result, which can be had at any moment in between."""

    def __init__(
        self,
        plan: Plan,
        *,
        node: str,
        earlier: Sequence[AllReduceResult] = (),
        on_progress: Callable[[Progress], None] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        worker: Sequence[str] = _WORKER,
        environ: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._plan, self._node, self._earlier = plan, node, earlier
        self._on_progress, self._wall_clock, self._clock = on_progress, wall_clock, clock
        self._worker = worker
        self._environ = dict(os.environ if environ is None else environ)
        self._patience = patience or Patience(deadline_s=plan.deadline_s)
        self._started_at = wall_clock()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._started_at))
        self.id = f"{stamp}-allreduce-{secrets.token_hex(2)}"
        self._told = _Told(plan, on_progress)
        self._p2p_disabled = self._environ.get("NCCL_P2P_DISABLE") == "1"
        self._notes = list(plan.notes)
        self._stderr: str | None = None

    async def run(self) -> AllReduceResult:
        """Measure; where a hang could be the P2P path's, try once more without it."""
        began = self._clock()
        end = await self._attempt(self._patience)
        left_s = self._patience.deadline_s - (self._clock() - began)
        if end.how != "silent" or self._plan.device == "cpu" or self._p2p_disabled or left_s < _LEAST_RETRY_S:
            return self._result(*self._ended(end))
        hung, hung_stderr = self._told, self._stderr
        self._told = _Told(self._plan, self._on_progress)
        self._p2p_disabled = True
        second = await self._attempt(msgspec.structs.replace(self._patience, deadline_s=left_s))
        # Whoever gets no further without P2P has another trouble.
        if self._told.finished or len(self._told.rows) > len(hung.rows):
            return self._result("done" if self._told.finished else "partial", _P2P_BROKEN)
        how = "hung, too" if second.how == "silent" else "came to nothing, too"
        self._notes.append(f"A second try without P2P {how}.")
        self._told, self._stderr, self._p2p_disabled = hung, hung_stderr or self._stderr, False
        return self._result(*self._ended(end))

    def cut_short(self) -> AllReduceResult:
        """What there is when somebody has stopped it."""
        problem = Problem(kind="cancelled", message="Stopped before its end.", action="Run it again for the whole.")
        return self._result("cancelled", problem)

    async def _attempt(self, patience: Patience) -> ChildEnd:
        self._on_progress(Progress(phase="starting"))
        end = await run_ranks(
            self._plan.ranks,
            self._worker,
            {
                "dtypes": self._plan.dtypes,
                "steps": self._plan.steps,
                "latency_up_to": LATENCY_UP_TO,
                "seconds_a_size": self._plan.seconds_a_size,
            },
            run=f"{self.id}-{secrets.token_hex(4)}",
            gpus=[gpu.uuid for gpu in self._plan.gpus],
            environ=self._environ,
            p2p_disabled=self._p2p_disabled,
            patience=patience,
            on_event=self._told.hear,
        )
        if end.survivors:
            self._notes.append(survivors_note(end.survivors))
        self._stderr = None if self._told.finished and end.exit_status == 0 else end.stderr[-8192:] or None
        return end

    def _ended(self, end: ChildEnd) -> tuple[RunState, Problem | None]:
        """What an attempt that was left alone came to."""
        told = self._told
        state: RunState = "partial" if told.rows else "failed"
        if told.out_of_memory_at is not None:
            return state, out_of_memory(f"messages of {size_in_words(told.out_of_memory_at)}")
        if told.finished:
            return "done", None
        if end.how == "deadline":
            return state, too_late(self._patience.deadline_s)
        if end.how == "silent":
            return state, HANG
        return state, refusal(told.refused) if told.refused is not None else explain(end)

    def _result(self, state: RunState, problem: Problem | None) -> AllReduceResult:
        told, plan = self._told, self._plan
        judgement = judge(told.rows, told.rank_times, plan, self._earlier)
        passed, verdict = _overruled(judgement, problem, has_rows=bool(told.rows))
        return AllReduceResult(
            id=self.id,
            node=self._node,
            started_at=self._started_at,
            finished_at=self._wall_clock(),
            state=state,
            device=plan.device,
            backend="nccl" if plan.device == "cuda" else "gloo",
            comparable=plan.device == "cuda",
            ranks=plan.ranks,
            gpus=plan.gpus,
            fabric=plan.fabric,
            quick=plan.quick,
            p2p_disabled=self._p2p_disabled,
            torch_version=told.torch_version,
            nccl_version=told.nccl_version,
            results=told.rows,
            rank_times=told.rank_times,
            expected=judgement.expected,
            usual=judgement.usual,
            late_rank=judgement.late_rank,
            passed=passed,
            verdict=verdict,
            problem=problem,
            notes=self._notes,
            stderr=self._stderr,
        )


_P2P_BROKEN = Problem(
    kind="p2p_broken",
    message="The P2P path is broken: the ranks hung with it and worked without (NCCL_P2P_DISABLE=1).",
    action="Mostly IOMMU or ACS: switch them off in the BIOS or by the kernel's command line; until then run jobs with "
    "NCCL_P2P_DISABLE=1.",
)


def _overruled(judgement: Judgement, problem: Problem | None, *, has_rows: bool) -> tuple[bool | None, str]:
    """A diagnosis says more than the figures; figures of a part are still figures."""
    if problem is None:
        return judgement.passed, judgement.verdict
    if problem.kind in {"p2p_broken", "hang"}:
        return False, f"{problem.message} {problem.action}"
    if not has_rows:
        return None, f"{problem.message} {problem.action}".strip()
    return (False if judgement.passed is False else None), f"{problem.message} So far: {judgement.verdict}"
