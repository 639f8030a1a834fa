"""What is remembered beside the series."""

from gpuwatch_agent.detectors.tallies import HORIZON_S, Tallies
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Ecc, Gpu, GpuState, NvLink, NvLinkPort, Pcie, Xid

WALL = 1_795_176_000.0


def frame(now: float, gpu: Gpu) -> Frame:
    return Frame(node="n", taken_at=WALL + now, simulated=True, gpus=[gpu])


def counting(replays: int | None, state: GpuState = "ok") -> Gpu:
    return Gpu(index=0, uuid="G", state=state, pcie=Pcie(replays=replays))


def test_a_counters_first_value_is_where_the_count_begins() -> None:
    """A total of the past is no growth; what comes after is."""
    tallies = Tallies()
    tallies.take(frame(0, counting(150)), 0)
    tally = tallies.take(frame(10, counting(153)), 10)["G"]
    assert [(step.at, step.by) for step in tally.steps("pcie.replays", 60)] == [(10, 3)]
    assert tally.growth("pcie.replays", 60) == 3


def test_growth_is_that_of_the_time_asked_for() -> None:
    """Steps of longer ago are left out, and forgotten after an hour."""
    tallies = Tallies()
    for now, replays in ((0, 0), (10, 5), (100, 7)):
        tally = tallies.take(frame(now, counting(replays)), now)["G"]
    assert (tally.growth("pcie.replays", 60), tally.growth("pcie.replays", 95)) == (2, 7)
    assert tally.grew_s_ago("pcie.replays") == 0
    tallies.take(frame(100 + HORIZON_S + 1, counting(7)), 100 + HORIZON_S + 1)
    assert tally.grew_s_ago("pcie.replays") is None


def test_a_counter_that_starts_afresh_counts_from_nothing() -> None:
    """After a reset of the driver 150 becomes 2: two errors, not minus 148."""
    tallies = Tallies()
    for now, replays in ((0, 150), (10, 2)):
        tally = tallies.take(frame(now, counting(replays)), now)["G"]
    assert tally.growth("pcie.replays", 60) == 2
    assert tallies.take(frame(20, counting(0)), 20)["G"].growth("pcie.replays", 60) == 2


def test_absent_and_stale_values_are_no_readings() -> None:
    """None is skipped, and the counters of a GPU that does not answer are old."""
    tallies = Tallies()
    for now, gpu in enumerate((counting(5), counting(None), counting(99, "stale"), counting(6))):
        tally = tallies.take(frame(now, gpu), now)["G"]
    assert tally.growth("pcie.replays", 60) == 1


def test_xids_are_counted_by_the_agent_so_the_first_look_counts() -> None:
    """Those that came before the first frame came when they say they came; a wall clock that jumps changes nothing later."""
    tallies = Tallies()
    seen = Gpu(index=0, uuid="G", state="lost", xids=[Xid(code=79, count=1, last_seen=WALL - 30)])
    tally = tallies.take(frame(0, seen), 0)["G"]
    assert tally.grew_s_ago("xid.79") == 30
    again = Gpu(index=0, uuid="G", state="lost", xids=[Xid(code=79, count=2, last_seen=WALL + 90_000)])
    tally = tallies.take(frame(10, again), 10)["G"]
    assert (tally.grew_s_ago("xid.79"), tally.growth("xid.79", 3600)) == (0, 2)


def test_links_are_remembered_as_they_were_when_up() -> None:
    """A port that goes down forgets its peer; we do not."""
    up = NvLinkPort(index=3, state="up", peer="00000000:07:00.0", peer_type="switch", errors={"replay": 4})
    down = NvLinkPort(index=3, state="down")
    tallies = Tallies()
    for now, port in enumerate((up, down)):
        tally = tallies.take(frame(now, Gpu(index=0, uuid="G", nvlink=NvLink(links=[port]))), now)["G"]
    assert tally.ports_when_up == {3: up}
    assert tally.links_with_errors == set()


def test_the_best_link_is_one_that_stood() -> None:
    """A width shown for a moment is no yardstick; one that stood for ten seconds is."""
    tallies = Tallies()
    for now in range(30):
        gpu = Gpu(index=0, uuid="G", pcie=Pcie(gen=5 if now == 7 else 4, width=16 if now < 15 else 8))
        tally = tallies.take(frame(now, gpu), now)["G"]
    assert (tally.best_pcie_gen, tally.best_pcie_width) == (4, 16)


def test_gpus_that_never_come_back_are_forgotten() -> None:
    """A day after they were last seen."""
    tallies = Tallies()
    tallies.take(frame(0, Gpu(index=0, uuid="old", ecc=Ecc(corrected=1))), 0)
    assert set(tallies.take(frame(100_000, counting(0)), 100_000)) == {"G"}
