"""Who holds a group back, why and at what cost; and who does not, though it looks like it."""

import random

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Pcie
from gpuwatch_agent.model.process import Process
from support.ranks import held_down, late, ranks, spinning, with_bytes, worker
from support.windows import START, Change, Story

DETECTORS = [TpImbalanceDetector()]


def story(gpus: list[Gpu], **more: dict[str, list[int]]) -> Story:
    return Story(gpus, DETECTORS, None, more.get("groups"))


def the_one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_the_rank_that_waits_least_is_the_late_one(count: int, activity: bool) -> None:
    """At 100 % utilisation everywhere, with and without GPM, in groups of all sizes; found within 40 s."""
    told = story(ranks(count, activity=activity))
    assert told.passes(180) == []
    finding = the_one(told.passes(40, late(1)))
    assert finding.gpus == [1]
    assert finding.severity in {"warning", "critical"}
    assert finding.cause is None
    assert finding.evidence["cause_kind"] == "unknown"
    assert finding.evidence["pace_estimated"] == pytest.approx(0.77, abs=0.06)
    assert "cause unknown" in finding.summary


@pytest.mark.parametrize("activity", [True, False])
def test_it_is_found_when_it_was_there_before_the_agent(activity: bool) -> None:
    """Without any past the siblings are the yardstick; the fault does not become one, however long it lasts."""
    told = story(ranks(8, activity=activity))
    assert the_one(told.passes(40, late(6, pace=0.7))).gpus == [6]
    assert the_one(told.passes(400, late(6, pace=0.7))).gpus == [6]


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize(
    ("counter", "fields", "cause"),
    [
        ("sw_thermal", {"temperature_c": 88.0, "throttle_reasons": ["sw_thermal"]}, "thermal_throttle"),
        ("hw_power_brake", {"throttle_reasons": ["hw_slowdown", "hw_power_brake"]}, "power_brake"),
        ("sw_power_cap", {"power_limit_w": 400.0, "throttle_reasons": ["sw_power_cap"]}, "power_limit"),
    ],
)
def test_a_rank_that_is_held_down_is_named_with_its_cause(
    counter: str,
    fields: dict[str, object],
    cause: str,
    activity: bool,
) -> None:
    """Its power is as low as the waiting ones', so its clock and what the driver counts tell."""
    told = story(ranks(8, activity=activity))
    told.passes(180)
    finding = the_one(told.passes(45, held_down(5, clock=0.55, power_w=400, counter=counter, **fields)))
    assert (finding.gpus, finding.severity, finding.evidence["cause_kind"]) == ([5], "critical", cause)
    assert finding.cause is not None
    assert "GPU 5 holds the other 7 back" in finding.summary


def test_a_stranger_on_the_gpu_is_the_cause_and_services_alike_on_all_are_not() -> None:
    """Each GPU carries a small service; one carries somebody's training beside it."""
    told = story(
        [
            structs.replace(
                gpu,
                processes=[
                    *(gpu.processes or []),
                    Process(pid=50 + gpu.index, user="serve", command=f"embed --port {8000 + gpu.index}", sm_pct=2.0),
                ],
            )
            for gpu in ranks(8)
        ]
    )
    told.passes(180)
    intruder = Process(pid=4711, user="mallory", name="python3", command="python3 finetune.py", sm_pct=30.0)

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(2, pace=0.7)(gpu, second)
        return structs.replace(gpu, processes=[*(gpu.processes or []), intruder]) if gpu.index == 2 else gpu

    finding = the_one(told.passes(45, change))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([2], "noisy_neighbour")
    assert "PID 4711 of user mallory" in finding.summary


def test_a_slow_host_makes_the_low_utilisation_the_late_one() -> None:
    """The picture is upside down: who spins waits, who runs out of work is late."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(3, pace=0.6)(gpu, second)
        return structs.replace(gpu, utilization_pct=60.0, power_w=420.0) if gpu.index == 3 else gpu

    told = story(ranks(4))
    told.passes(180)
    finding = the_one(told.passes(45, change))
    assert (finding.gpus, finding.evidence["cause_kind"], finding.severity) == ([3], "slow_host", "critical")


def test_a_slow_host_is_found_below_full_load() -> None:
    """Requests come for three quarters of the time; who is idle for most of it, unlike all others, feeds its GPU too slowly."""

    def change(gpu: Gpu, second: int) -> Gpu:
        own = (
            {"utilization_pct": 33.0, "power_w": 330.0}
            if gpu.index == 1
            else {"utilization_pct": 77.0, "power_w": 390.0}
        )
        return structs.replace(with_bytes(gpu, 0.5), **own)

    told = story(ranks(5, activity=False))
    finding = the_one(told.passes(45, change))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "slow_host")
    assert "busy 33 % of the time, the others 77 %" in finding.summary


def test_a_utilisation_that_its_power_denies_is_no_slow_host() -> None:
    """The sensor stands still at zero while the board draws what its siblings draw."""
    told = story(ranks(6, activity=False))
    stuck = told.passes(120, lambda gpu, _: structs.replace(gpu, utilization_pct=0.0) if gpu.index == 0 else gpu)
    assert stuck == []


def test_a_small_delay_is_found_though_the_agent_has_just_started() -> None:
    """Siblings alone can't tell it from silicon; a first yardstick is there in time."""
    told = story(ranks(4, activity=False))
    told.passes(45)
    assert the_one(told.passes(50, late(2, pace=0.86))).gpus == [2]


def test_a_board_that_draws_a_tenth_more_has_drawn_its_lot() -> None:
    """Silicon and its sensor: without a past nothing else is known of it."""
    told = story(ranks(5, activity=False))
    assert told.passes(200, lambda gpu, _: structs.replace(gpu, power_w=444.0 if gpu.index == 1 else 400.0)) == []


def test_a_board_that_got_warm_leaks_and_is_not_late() -> None:
    """Its fan fails: it draws a little more at the same work, and demand falls at the same time."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = with_bytes(gpu, 0.9)
        warm = {"temperature_c": 84.0, "power_w": 578.0} if gpu.index == 2 else {"power_w": 560.0}
        return structs.replace(gpu, **warm)

    told = story(ranks(4, activity=False))
    told.passes(180)
    assert told.passes(120, change) == []


def test_that_one_was_late_is_no_sign_against_another() -> None:
    """What stands is kept on weaker signs; the same weak signs do not name who was not named."""

    def slightly(gpu: Gpu, second: int) -> Gpu:
        return gpu if gpu.index == 1 else structs.replace(gpu, power_w=592.0)

    told = story(ranks(4, activity=False))
    told.passes(180)
    assert the_one(told.passes(45, late(0))).gpus == [0]
    assert {tuple(gpu) for _ in range(60) for gpu in [one.gpus for one in told.passes(1, slightly)]} <= {(0,)}


def over_pcie(count: int) -> list[Gpu]:
    link = Pcie(gen=4, gen_max=4, width=16, width_max=16, tx_bytes_per_s=8e9)
    return [structs.replace(gpu, nvlink=None, pcie=link) for gpu in ranks(count, activity=False)]


@pytest.mark.parametrize("healthy_s", [180, 0])
def test_a_link_that_trained_narrow_slows_all_alike_and_is_found(healthy_s: int) -> None:
    """No rank stands out, the link does; its cost comes from bytes against before, or from what the link can carry."""

    def change(gpu: Gpu, second: int) -> Gpu:
        link = Pcie(gen=4, gen_max=4, width=4 if gpu.index == 1 else 16, width_max=16, tx_bytes_per_s=5e9)
        return structs.replace(gpu, power_w=500.0, pcie=link)

    told = story(over_pcie(4))
    told.passes(healthy_s)
    finding = the_one(told.passes(45, change))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "pcie_link")
    assert finding.evidence["pace_estimated"] == pytest.approx(0.5, abs=0.2)


def test_a_narrow_slot_that_costs_nothing_is_not_told_when_demand_falls() -> None:
    """It was always narrow: falling bytes say nothing about it."""
    gpus = over_pcie(4)
    slot = Pcie(gen=4, gen_max=4, width=8, width_max=16, tx_bytes_per_s=0.5e9)
    wide = Pcie(gen=4, gen_max=4, width=16, width_max=16, tx_bytes_per_s=0.5e9)
    told = story([structs.replace(gpu, pcie=slot if gpu.index == 0 else wide) for gpu in gpus])
    assert told.passes(200) == []

    def less(gpu: Gpu, second: int) -> Gpu:
        assert gpu.pcie is not None
        return structs.replace(gpu, power_w=480.0, pcie=structs.replace(gpu.pcie, tx_bytes_per_s=0.3e9))

    assert told.passes(90, less) == []


def test_errors_in_memory_are_the_cause_where_nothing_else_is() -> None:
    """A storm of corrected errors on the late rank."""
    from gpuwatch_agent.model.gpu import Ecc

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(
            late(0)(gpu, second), ecc=Ecc(enabled=True, corrected=40 * second if gpu.index == 0 else 0)
        )

    told = story(ranks(4))
    told.passes(150, lambda gpu, _: structs.replace(gpu, ecc=Ecc(enabled=True, corrected=0)))
    assert the_one(told.passes(45, change)).evidence["cause_kind"] == "memory_errors"


def noisy(seed: int) -> Change:
    """Unequal silicon, noise, waves of demand, bursts."""
    boards = random.Random(seed)
    silicon = [boards.gauss(1.0, 0.015) for _ in range(16)]

    def change(gpu: Gpu, second: int) -> Gpu:
        # The same second is the same, in whichever order tests run.
        chance = random.Random(f"{seed}/{gpu.index}/{second}")
        demand = 0.8 + 0.15 * ((second // 40) % 2) - (0.3 if second % 97 < 20 else 0.0)
        power_w = (200 + 400 * demand) * silicon[gpu.index] * chance.gauss(1.0, 0.015)
        activity = None if gpu.sm_activity_pct is None else 62 * demand * chance.gauss(1.0, 0.02)
        return structs.replace(with_bytes(gpu, demand), power_w=power_w, sm_activity_pct=activity)

    return change


def loading(gpu: Gpu, second: int) -> Gpu:
    """A model comes in, on one rank faster than on the others."""
    used = min(61, 1 + second // (1 + gpu.index % 3)) << 30
    return structs.replace(gpu, utilization_pct=100.0 if gpu.index == 0 else 60.0, memory_used_bytes=used)


def young(gpu: Gpu, second: int) -> Gpu:
    """The first minute: kernels are compiled, each rank at its own pace."""
    (process,) = gpu.processes or [worker(0)]
    return structs.replace(late(1)(gpu, second), processes=[structs.replace(process, started_at=START - 5)])


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        (lambda gpu, _: gpu, 300),
        (noisy(1), 300),
        (noisy(2), 300),
        (spinning, 200),
        (loading, 60),
        (young, 50),
        (lambda gpu, _: structs.replace(gpu, utilization_pct=0.0, power_w=70.0, sm_activity_pct=None), 100),
    ],
)
@pytest.mark.parametrize("count", [2, 8])
def test_what_only_looks_like_it_is_not_told(count: int, change: Change, seconds: int, activity: bool) -> None:
    """Health with noise, waves and bursts; spinning without requests; loading; the first minute; idle."""
    assert story(ranks(count, activity=activity)).passes(seconds, change) == []


def test_layer_splits_pipelines_and_replicas_are_no_lockstep() -> None:
    """Their ranks work by turns, or each at its own traffic."""
    for split in ("layer", "pipeline", "unknown"):
        assert story(ranks(4, split=split)).passes(60, late(1)) == []
    independent = [structs.replace(gpu, processes=[worker(0, group=f"own@{gpu.index}")]) for gpu in ranks(4)]
    assert story(independent).passes(60, late(1)) == []


def test_replicas_that_were_taken_for_a_group_are_told_by_their_bytes() -> None:
    """Ranks in step move the same bytes; these do not."""

    def change(gpu: Gpu, second: int) -> Gpu:
        share = (1.0, 0.1, 0.9, 0.15)[gpu.index]
        return structs.replace(with_bytes(gpu, share), power_w=200 + 400 * share, sm_activity_pct=62 * share)

    assert story(ranks(4, split="data")).passes(90, change) == []


def test_a_board_of_another_model_is_told_as_information() -> None:
    """How the machine was built is nothing to wake up for."""
    gpus = ranks(4)
    gpus[2] = structs.replace(gpus[2], name="NVIDIA A100-SXM4-80GB")
    finding = the_one(story(gpus).passes(60, late(2, pace=0.7)))
    assert (finding.severity, finding.evidence["cause_kind"]) == ("info", "slower_board")


def test_boards_of_unlike_power_are_not_compared_without_a_past() -> None:
    """350 W on one model and 600 W on the other is what they draw."""
    gpus = [
        structs.replace(gpu, name="NVIDIA A100", power_w=350.0, sm_clock_mhz=1410, power_limit_default_w=400.0)
        if gpu.index == 1
        else gpu
        for gpu in ranks(2, activity=False)
    ]
    assert story(gpus).passes(90) == []


def test_a_rank_that_always_drew_more_is_no_fault() -> None:
    """Until there is a past it may be told as information; then its past says that it is like that."""
    gpus = [structs.replace(gpu, power_w=640.0) if gpu.index == 1 else gpu for gpu in ranks(8, activity=False)]
    told = story(gpus)
    assert {finding.severity for finding in told.passes(100)} <= {"info"}
    assert told.passes(200) == []


def test_a_lower_clock_that_costs_nothing_is_not_told() -> None:
    """Memory decides the pace of decoding: bytes go on as before, though a clock is down."""

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, sm_clock_mhz=1650, power_w=560.0) if gpu.index == 1 else gpu

    told = story(ranks(4, activity=False))
    told.passes(180)
    assert told.passes(90, change) == []


@pytest.mark.parametrize("activity", [True, False])
def test_gaps_blind_nobody_and_invent_nothing(activity: bool) -> None:
    """A tenth of every rank's readings is missing: health stays silent, the fault is found."""
    chance = random.Random(3)

    def with_gaps(change: Change) -> Change:
        def gappy(gpu: Gpu, second: int) -> Gpu:
            gpu = change(gpu, second)
            for name in ("power_w", "utilization_pct", "sm_activity_pct", "sm_clock_mhz"):
                if chance.random() < 0.1:
                    gpu = structs.replace(gpu, **{name: None})
            return gpu

        return gappy

    told = story(ranks(8, activity=activity))
    assert told.passes(200, with_gaps(noisy(5))) == []
    assert the_one(told.passes(60, with_gaps(late(4, pace=0.65)))).gpus == [4]


def test_a_gpu_that_leaves_and_comes_back_invents_nothing() -> None:
    """A lost or stale rank is no evidence."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gone = gpu.index == 3 and 20 <= second < 60
        return structs.replace(gpu, state="lost" if second < 40 else "stale") if gone else gpu

    assert story(ranks(4)).passes(120, change) == []


def test_what_is_said_stays_while_it_hovers_and_ends_when_it_is_over() -> None:
    """Hysteresis: a loss just under the threshold keeps it, health ends it."""
    told = story(ranks(8))
    told.passes(180)
    assert the_one(told.passes(45, late(1, pace=0.85))).severity == "warning"
    assert the_one(told.passes(100, late(1, pace=0.945))).gpus == [1]
    told.passes(70)
    assert told.frame.findings == []


def test_thresholds_are_settings() -> None:
    """Who wants to hear of a fifth at most, hears of no tenth."""
    gpus = ranks(4)
    told = Story(gpus, DETECTORS, {"tp_imbalance": {"info_loss_pct": 30.0, "warning_loss_pct": 40.0}})
    told.passes(180)
    assert told.passes(60, late(1, pace=0.8)) == []


def test_declared_groups_are_judged_and_unknown_gpus_in_them_do_no_harm() -> None:
    """A group by configuration, of which one GPU is not there."""
    gpus = [structs.replace(gpu, processes=None) for gpu in ranks(4)]
    told = story(gpus, groups={"mine": [0, 1, 2, 9]})
    finding = the_one(told.passes(60, late(2, pace=0.7)))
    assert (finding.key, finding.gpus) == ("mine", [2])
