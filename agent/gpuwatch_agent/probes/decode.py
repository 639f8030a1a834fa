"""The decode probe: the same model over one rank, two, four, …, each a run of its own, side by side."""

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from gpuwatch_agent.probes.allreduce import Progress
from gpuwatch_agent.probes.child import ChildEnd, Event, Patience
from gpuwatch_agent.probes.decode_plan import DecodePlan
from gpuwatch_agent.probes.explain import HANG, explain, out_of_memory, refusal, survivors_note, too_late
from gpuwatch_agent.probes.ranks import run_ranks
from gpuwatch_agent.probes.result import GIGA, DecodeResult, DecodeRow, Problem, RunState

_WORKER = ("-m", "gpuwatch_agent.probes.workers.decode")
_WIDTHS = {"float32": 4, "bfloat16": 2}
# Sums in another order differ in the last digits; a wrong share of a matrix differs in the first.
_TOLERANCE = 1e-3


class DecodeRun:
    """One sweep from its start to its result, which can be had at any moment in between."""

    def __init__(
        self,
        plan: DecodePlan,
        *,
        node: str,
        on_progress: Callable[[Progress], None] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] | None = None,
        worker: Sequence[str] = _WORKER,
    ) -> None:
        self._plan, self._node, self._on_progress = plan, node, on_progress
        self._wall_clock, self._clock, self._worker = wall_clock, clock, worker
        self._environ = dict(os.environ if environ is None else environ)
        self._started_at = wall_clock()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._started_at))
        self.id = f"{stamp}-decode-{secrets.token_hex(2)}"
        self._heard: dict[str, Event] = {}
        self._versions: tuple[str | None, str | None] = (None, None)
        self._rows: list[DecodeRow] = []
        self._samples: list[list[float]] = []
        self._notes = list(plan.notes)
        self._stderr: str | None = None

    async def run(self) -> DecodeResult:
        """Measure each split in turn; what one can't do ends the sweep."""
        over_at = self._clock() + self._plan.deadline_s
        for place, tp in enumerate(self._plan.tps):
            self._on_progress(Progress(phase=f"tp {tp}", percent=100 * place / len(self._plan.tps)))
            self._heard = {}
            end = await run_ranks(
                tp,
                self._worker,
                self._spec(),
                run=f"{self.id}-{secrets.token_hex(4)}",
                gpus=[gpu.uuid for gpu in self._plan.gpus[:tp]],
                environ=self._environ,
                p2p_disabled=False,
                patience=Patience(deadline_s=max(over_at - self._clock(), 0.0), silence_s=60.0),
                on_event=self._hear,
            )
            if end.survivors:
                self._notes.append(survivors_note(end.survivors))
            if "result" in self._heard:
                self._take(tp, self._heard["result"])
            if "finished" not in self._heard:
                self._stderr = end.stderr[-8192:] or None
                return self._result("partial" if self._rows else "failed", self._problem(tp, end))
        return self._result("done", None)

    def cut_short(self) -> DecodeResult:
        """What there is when somebody has stopped it."""
        problem = Problem(kind="cancelled", message="Stopped before its end.", action="Run it again for the whole.")
        return self._result("cancelled", problem)

    def _spec(self) -> dict[str, object]:
        plan = self._plan
        names = ("dtype", "shape", "batch", "context", "exact", "steps", "warmup")
        return {name: getattr(plan, name) for name in names}

    def _hear(self, event: Event) -> None:
        self._heard[event["event"]] = event
        if event["event"] == "starting":
            self._versions = (event["torch"], event["nccl"])

    def _take(self, tp: int, event: Event) -> None:
        plan = self._plan
        per_token_s = event["seconds"] / event["steps"]
        tokens_per_s = plan.batch / per_token_s
        first = self._rows[0] if self._rows else None
        read = _WIDTHS[plan.dtype] * (plan.shape.weights(tp) + plan.shape.cached(tp, plan.batch, plan.context))
        sample = event["sample"]
        self._rows.append(
            DecodeRow(
                tp=tp,
                steps=event["steps"],
                tokens_per_s=tokens_per_s,
                ms_per_step_p50=event["ms_per_step_p50"],
                ms_per_step_p99=event["ms_per_step_p99"],
                allreduce_share=event["allreduce_share"],
                efficiency=1.0 if first is None else tokens_per_s * first.tp / (first.tokens_per_s * tp),
                memory_gb_per_s=read / per_token_s / GIGA,
                joules_per_token=None,
                difference=_difference(self._samples[0], sample) if plan.exact and self._samples else None,
            )
        )
        self._samples.append(sample)

    def _problem(self, tp: int, end: ChildEnd) -> Problem:
        if "out_of_memory" in self._heard:
            return out_of_memory(f"the model over {tp}")
        if end.how == "deadline":
            return too_late(self._plan.deadline_s)
        if end.how == "silent":
            return HANG
        if "refused" in self._heard:
            return refusal(self._heard["refused"]["reason"])
        return explain(end)

    def _result(self, state: RunState, problem: Problem | None) -> DecodeResult:
        plan = self._plan
        passed, verdict = _verdict(plan, self._rows, problem)
        return DecodeResult(
            id=self.id,
            node=self._node,
            started_at=self._started_at,
            finished_at=self._wall_clock(),
            state=state,
            device=plan.device,
            backend="nccl" if plan.device == "cuda" else "gloo",
            comparable=plan.device == "cuda",
            ranks=max(plan.tps),
            gpus=plan.gpus,
            model=plan.model,
            dtype=plan.dtype,
            batch=plan.batch,
            context=plan.context,
            quick=plan.quick,
            torch_version=self._versions[0],
            nccl_version=self._versions[1],
            results=self._rows,
            passed=passed,
            verdict=verdict,
            problem=problem,
            notes=self._notes,
            stderr=self._stderr,
        )


def _difference(one: list[float], other: list[float]) -> float:
    """The largest between two splits' first outcomes, of values around 1."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _verdict(plan: DecodePlan, rows: Sequence[DecodeRow], problem: Problem | None) -> tuple[bool | None, str]:
    wrong = [row for row in rows if row.difference is not None and not row.difference <= _TOLERANCE]
    if wrong:
        return False, (
            f"Over {wrong[0].tp} ranks the model computes something else than over {rows[0].tp}: memory, a link or a library "
            "corrupts data."
        )
    said = f"{problem.message} {'So far: ' if rows else problem.action}".rstrip() if problem is not None else ""
    if not rows:
        return None, said or "Nothing was measured."
    label = "CPU, not comparable: " if plan.device == "cpu" else ""
    paces = ", ".join(f"{row.tokens_per_s:,.3g} tokens/s over {row.tp}" for row in rows)
    last = rows[-1]
    scaling = (
        f"; efficiency over {last.tp} {100 * last.efficiency:.0f} %, {100 * last.allreduce_share:.0f} % of the time in all-reduce"
        if len(rows) > 1
        else ""
    )
    return None, f"{said} {label}model {plan.model}, batch {plan.batch}: {paces}{scaling}.".strip()
