import asyncio
from collections.abc import Sequence

from msgspec import structs

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.drawing.probe_lines import outcome_before, question_lines, value_in_words
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch_agent.model.probe import ProbeFigure, ProbeOutcome
from support.dashboard_story import NOON, story


def allreduce(name: str, ended_s_ago: float, bandwidth: float, *, passed: bool, gpus: int = 8) -> ProbeOutcome:
    """One run over some GPUs."""
    return ProbeOutcome(
        id=name,
        kind="allreduce",
        started_at=NOON - ended_s_ago - 40,
        finished_at=NOON - ended_s_ago,
        gpus=list(range(gpus)),
        ranks=gpus,
        backend="nccl",
        passed=passed,
        verdict=f"{name}: {'as expected' if passed else 'slower than its links allow'}.",
        figures=[
            ProbeFigure(name="allreduce_bus_bandwidth_bytes_per_s", value=bandwidth),
            ProbeFigure(name="allreduce_latency_s", value=14e-6),
        ],
    )


OLD, OTHER, NEW = (
    allreduce("first", 9000, 478e9, passed=True),
    allreduce("two only", 4000, 240e9, passed=True, gpus=2),
    allreduce("now", 120, 402e9, passed=False),
)


def shown(probes: Sequence[ProbeOutcome], spec: str = "dgx-h100-8", keys: Sequence[str] = ()) -> str:
    """The view's lines with these outcomes, after some keys."""

    async def scene() -> str:
        frames = [structs.replace(frame, probes=list(probes)) for frame in story(spec, 5).frames]
        app = GpuwatchApp(RecordedFeed(frames, kind="embedded"), wall_clock=lambda: frames[-1].taken_at)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            await app.action_show_view("probes")
            while not app.view._lines:
                await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            return app.view.as_text()

    return asyncio.run(scene())


def test_nothing_measured_is_said_and_what_could_be_asked() -> None:
    """No figures out of nowhere: the questions, and that none was put."""
    text = shown([])
    assert "No probe has run on this node." in text
    for name in ("all-reduce", "pairs", "decode", "memory, matmul", "tokens"):
        assert f" {name} " in text


def test_one_gpu_has_nobody_to_talk_to() -> None:
    """What this node can't answer is said with the reason."""
    lines = ["".join(span.text for span in line) for line in question_lines(story("l4", 5).frames[-1].gpus, 200)]
    assert lines[0].endswith("Not here: it takes two GPUs, and one answers.")
    assert lines[2].endswith("On 1 GPU.")


def test_the_newest_is_first_and_told_beside_the_time_before() -> None:
    """Compared with the last run on the same GPUs, worse marked with a sign."""
    text = shown([OLD, OTHER, NEW])
    rows = [line for line in text.splitlines() if " all-reduce  " in line and "ago" in line]
    assert [row.split(" GB/s")[0].split()[-1] for row in rows] == ["402", "240", "478"]
    assert "✖ now: slower than its links allow." in text
    assert "-16 % ▲" in text
    assert "as before" in text


def test_the_cursor_tells_another() -> None:
    """One without a forerunner is told without a comparison."""
    text = shown([OLD, OTHER, NEW], keys=["down"])
    assert "● two only: as expected." in text
    assert "before" not in text.partition("the chosen one")[2].partition("what probes")[0]


def test_only_the_same_kind_on_the_same_gpus_compares() -> None:
    """And only one that had ended before."""
    assert outcome_before(NEW, [NEW, OTHER, OLD]) is OLD
    assert outcome_before(OTHER, [NEW, OTHER, OLD]) is None
    assert outcome_before(OLD, [NEW, OTHER, OLD]) is None


def test_figures_have_units() -> None:
    """Each kind of figure in the unit people use for it."""
    figures = [
        ProbeFigure(name="allreduce_bus_bandwidth_bytes_per_s", value=478e9),
        ProbeFigure(name="allreduce_latency_s", value=14.2e-6),
        ProbeFigure(name="decode_tokens_per_s", value=92.13),
        ProbeFigure(name="decode_scaling_ratio", value=0.71),
        ProbeFigure(name="matmul_flops", value=7.4e14),
    ]
    told = [value_in_words(figure) for figure in figures]
    assert told == ["478 GB/s", "14.2 µs", "92.1 tok/s", "71 % of ideal", "740 TFLOP/s"]
