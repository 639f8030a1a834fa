"""The exam of the findings, in small: it is fair, it repeats itself, and it is passed."""

import ast
from pathlib import Path

import pytest
from msgspec import structs

from evaluation.corpus import FAMILIES, build
from evaluation.exam import Answer, Said, Statement, sit
from evaluation.labels import NO_CAUSE, Truth
from evaluation.machines import Rack
from evaluation.main import sit_all
from evaluation.other_runs import add_run, kept
from evaluation.report import Conditions, document, most_events
from evaluation.scoring import right_cause, score
from evaluation.seeds import in_words, was_looked_at
from evaluation.sensors import Sensors
from evaluation.simulated_world import NOON, SimulatedWorld
from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from gpuwatch_agent.hardware.simulated.spec import Simulation
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.sampling.rig import Rig

SEED = 7_001
NOT_IN_SMALL = (
    "idle-allocation", "row-remap-failed", "pcie-errors", "nvlink-errors", "fabric-error", "xid", "memory-imbalance",
    "boot", "corrected errors", "a replay now and then", "little more memory", "no permission",
)  # fmt: skip
"""Families whose finding is what a counter or a state says: their detectors' own tests play them on simulated machines."""
EXAM = Path(__file__).parents[1] / "bench" / "evaluation"
EXAMINERS = {"exam", "naive", "judge_cost"}
"""The only ones that may know detectors: they run them."""


def said(at_s: float, gpus: list[int], severity: str = "warning", kind: str = "tp_imbalance") -> Said:
    statement = Statement(at_s=at_s, gpus=gpus, severity=severity, cause=None, summary="")  # type: ignore[arg-type]  # one of three words
    return Said(kind=kind, key="k", at_s=at_s, until_s=at_s + 60, statements=[statement])


def answer(*heard: Said, truths: tuple[Truth, ...] = ()) -> Answer:
    return Answer(
        name="n",
        seed="n#1",
        healthy=not truths,
        gpus=4,
        seconds=900,
        truths=list(truths),
        said=list(heard),
        naive=[],
        errors={},
        judge_s=0.0,
    )


LATE = Truth(
    kind="tp_imbalance",
    gpus=frozenset({2}),
    group=frozenset(range(4)),
    starts_s=90.0,
    onset_s=100.0,
    ends_s=300.0,
    fault="slow",
)


def test_what_is_told_in_time_is_found() -> None:
    """The delay counts from the onset, and a wrong culprit is found but wrong."""
    row = score([answer(said(130.0, [2]), truths=(LATE,))]).of("tp_imbalance")
    assert (row.recall, row.precision, row.delays_s, row.culprits) == (1.0, 1.0, [30.0], 1)
    assert score([answer(said(130.0, [1]), truths=(LATE,))]).of("tp_imbalance").culprits == 0


def test_what_is_told_too_early_or_too_late_is_invented() -> None:
    """Before the fault and long after it there is nothing to tell."""
    for at_s in (50.0, 500.0):
        row = score([answer(said(at_s, [2]), truths=(LATE,))]).of("tp_imbalance")
        assert (row.found, row.right, row.invented) == (0, 0, 1)


def test_a_finding_that_changes_its_mind_is_right_and_wrong() -> None:
    """Raised for nothing and right later: one truth found, one alarm invented."""
    one = said(20.0, [0])
    one.statements.append(structs.replace(one.statements[0], at_s=120.0, gpus=[2]))
    row = score([answer(structs_until(one, 200.0), truths=(LATE,))]).of("tp_imbalance")
    assert (row.found, row.right, row.invented, row.delays_s) == (1, 1, 1, [20.0])


def structs_until(one: Said, until_s: float) -> Said:
    one.until_s = until_s
    return one


def test_infos_are_no_alarms_and_do_not_find_what_deserves_a_warning() -> None:
    """An info pages nobody: it costs no precision and earns no recall."""
    row = score([answer(said(130.0, [2], "info"), truths=(LATE,))]).of("tp_imbalance")
    assert (row.found, row.right, row.invented) == (0, 0, 0)
    assert score([answer(said(130.0, [2], "info"))]).stray_infos == 1


def test_false_alarms_are_counted_by_healthy_hours() -> None:
    """Four GPUs for a quarter of an hour are one GPU-hour."""
    result = score([answer(said(10.0, [0]))])
    assert (result.healthy_gpu_hours, result.of("tp_imbalance").false_when_healthy) == (1.0, 1)


def test_causes_are_recognised_by_their_words() -> None:
    """Where nothing can be seen, silence is right and a guess is wrong."""
    assert right_cause("It is too hot.", "", ("hot",))
    assert not right_cause("Its link is narrow.", "It is hot.", ("hot",))
    assert right_cause(None, "", (NO_CAUSE,))
    assert not right_cause("It is too hot.", "", (NO_CAUSE,))


def test_the_generator_knows_no_detector() -> None:
    """Whoever sets the questions has not seen the answers: no import of detectors, and so no shared threshold."""
    for file in EXAM.glob("*.py"):
        imported = [
            node.module or ""
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module is not None
        ]
        knows = any(module.startswith("gpuwatch_agent.detectors") for module in imported)
        assert knows == (file.stem in EXAMINERS), file.name


def test_an_episode_is_always_the_same() -> None:
    """A seed in the report plays the same again."""
    name = "ranks/heat"
    assert [sit(build(name, 5)).truths for _ in range(2)] == [sit(build(name, 5)).truths] * 2
    first, second = (list(build(name, 5).world.play()) for _ in range(2))
    assert first == second
    assert list(build(name, 6).world.play()) != first


def without_xids(gpu: Gpu) -> Gpu:
    """The ledger adds them to what the sampler reads."""
    return structs.replace(gpu, xids=None, absent={path: why for path, why in gpu.absent.items() if path != "xids"})


def test_machines_are_read_as_the_sampler_reads_them() -> None:
    """Without its threads, the frames are the sampler's own."""
    machine = MACHINES["dgx-a100-8"]
    rack = Rack(machine=machine, groups=((0, 1, 2, 3), (4, 5, 6, 7)), declared={})
    perfect = Sensors(noise=0.0, gains=(1.0,) * 8, offsets=(0.0,) * 8)
    ours = [frame for _, frame in SimulatedWorld(rack, None, perfect, 3, 12).play()]
    now = NOON

    def clock() -> float:
        return now

    rig = Rig(
        SimulatedHardware(Simulation(name="exam", machine=machine), clock=clock, seed=3),
        Config(),
        clock=clock,
        wall_clock=clock,
    )
    rig.open()
    try:
        for second, frame in enumerate(ours):
            now = NOON + second
            theirs = rig.read(tuple(Tier) if second % 10 == 0 else (Tier.FAST, *((Tier.MEDIUM,) * (second % 2 == 0))))
            assert [without_xids(gpu) for gpu in frame.gpus] == [without_xids(gpu) for gpu in theirs.gpus]
    finally:
        rig.close()


@pytest.mark.timeout(240)
def test_the_findings_pass_the_exam_in_small() -> None:
    """One episode of each family that asks for judgement; the bars are a little below the long exam's: few questions."""
    planned = [(name, SEED) for name, _, _ in FAMILIES if not any(word in name for word in NOT_IN_SMALL)]
    answers = sit_all(planned, 2)
    assert [one.errors for one in answers if one.errors] == []
    ours, naive = score(answers).total(), score(answers, naive=True).total()
    assert (ours.recall or 0.0) >= 0.92
    assert (ours.precision or 0.0) >= 0.9
    assert ours.culprits >= 0.9 * ours.found
    assert ours.causes >= 0.85 * ours.causes_asked
    assert (naive.recall or 0.0) < 0.3


def test_one_finding_may_name_all_that_have_it() -> None:
    """A hot node: each GPU throttles by a truth of its own, and one finding tells of them all; a GPU without one is wrong."""
    hot = [
        Truth(kind="thermal_throttle", gpus=frozenset({gpu}), starts_s=90.0, onset_s=100.0, fault="hot")
        for gpu in range(3)
    ]
    told = said(110.0, [0, 1, 2], kind="thermal_throttle")
    assert score([answer(told, truths=tuple(hot))]).of("thermal_throttle").culprits == 3
    assert score([answer(told, truths=tuple(hot[:2]))]).of("thermal_throttle").culprits == 0


def test_the_page_says_which_seeds_were_looked_at() -> None:
    """Figures on a seed that the detectors were made on, or near it, never stand there without that being said."""
    assert was_looked_at(271_828)
    assert was_looked_at(271_900)
    assert not was_looked_at(1)
    for seed, word in ((271_828, "flatter"), (1, "Nobody had looked")):
        held = Conditions(date="2026-01-01", seed=seed, command="evaluate", revision="abc", minutes=1.0)
        assert word in document([answer(truths=(LATE,))], [], held, "# Preface")
    assert "271828" in in_words(1)


def test_few_hours_prove_little() -> None:
    """The rule of three for no event at all, and more for each that was seen: 95 % of Poisson."""
    assert [round(most_events(seen), 2) for seen in (0, 1, 3)] == [3.0, 4.74, 7.75]


def test_other_runs_outlive_the_main_one(tmp_path: Path) -> None:
    """A run is written in the place of its older one, and what stands beside is kept when the figures are new."""
    page = tmp_path / "evaluation.md"
    held = Conditions(date="2026-01-01", seed=1, command="evaluate", revision="abc", minutes=1.0)
    page.write_text(document([answer(truths=(LATE,))], [], held, "# Preface"))
    for seconds in (130.0, 140.0):
        add_run(page, "Another seed", [answer(said(seconds, [2]), truths=(LATE,))], [], held)
    add_run(page, "Healthy load", [answer()], [], held)
    once = page.read_text()
    assert once.count("### Another seed") == 1
    assert "40 s" in once
    page.write_text(document([answer(truths=(LATE,))], [], held, "# Preface", kept(once)))
    assert page.read_text() == once
