from collections.abc import Callable

from gpuwatch_agent.hardware.base import XidEvent
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.gpu import Gpu


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Ledger, Clock]:
    clock = Clock()
    wall: Callable[[], float] = lambda: 1.7e9 + clock.now  # noqa: E731  # one line says it
    return Ledger(clock, wall), clock


def row(index: int, **fields: object) -> Gpu:
    return Gpu(index=index, uuid=f"GPU-{index}", pci_bus_id=f"00000000:{index:02X}:00.0", age_s=0.0, **fields)  # type: ignore[arg-type]  # a test's shorthand


def frame(*gpus: Gpu) -> Frame:
    return Frame(node="n", taken_at=1.0, simulated=False, gpus=list(gpus))


def test_a_gpu_that_vanishes_keeps_its_row_as_lost() -> None:
    """A driver reload that finds seven of eight GPUs must not make the eighth disappear from sight."""
    ledger, clock = make()
    ledger.complete(frame(row(0), row(1, power_w=300.0)))
    clock.now += 30
    seen = ledger.complete(frame(row(0)))
    assert [(gpu.index, gpu.state) for gpu in seen.gpus] == [(0, "ok"), (1, "lost")]
    assert seen.gpus[1].power_w == 300.0
    assert seen.gpus[1].age_s == 30.0
    assert seen.gpus[1].problem is not None
    assert "no longer lists" in seen.gpus[1].problem


def test_a_gpu_that_comes_back_is_ok_again() -> None:
    """Lost is not for ever."""
    ledger, _ = make()
    ledger.complete(frame(row(0), row(1)))
    ledger.complete(frame(row(0)))
    assert [gpu.state for gpu in ledger.complete(frame(row(0), row(1))).gpus] == ["ok", "ok"]


def test_a_gpu_that_cannot_be_opened_takes_the_row_of_its_index() -> None:
    """After a restart the driver may not even give a lost GPU's UUID: its old row says what is known."""
    ledger, _ = make()
    ledger.complete(frame(row(0), row(1, name="NVIDIA H100")))
    unopened = Gpu(index=1, uuid="unopened:1", state="lost", problem="It is lost.")
    seen = ledger.complete(frame(row(0), unopened))
    assert [(gpu.uuid, gpu.state, gpu.name) for gpu in seen.gpus] == [
        ("GPU-0", "ok", None),
        ("GPU-1", "lost", "NVIDIA H100"),
    ]


def test_a_gpu_that_hangs_before_it_says_who_it_is_is_stale_not_lost() -> None:
    """A new sampler that waits for its first word in vain does not know that it is lost."""
    ledger, clock = make()
    ledger.complete(frame(row(0), row(1, power_w=300.0)))
    clock.now += 40
    unopened = Gpu(index=1, uuid="unopened:1", state="stale", problem="It has not answered.")
    seen = ledger.complete(frame(row(0), unopened)).gpus[1]
    assert (seen.uuid, seen.state, seen.power_w, seen.age_s) == ("GPU-1", "stale", 300.0, 40.0)


def test_a_gpu_is_not_taken_for_one_that_is_in_the_frame_under_another_index() -> None:
    """After indices have shifted, the row of an unopened GPU must not double that of one that moved."""
    ledger, _ = make()
    ledger.complete(frame(row(0), row(1), row(2)))
    moved = Gpu(index=1, uuid="GPU-2", age_s=0.0)
    unopened = Gpu(index=2, uuid="unopened:2", state="lost", problem="It is lost.")
    seen = ledger.complete(frame(row(0), moved, unopened)).gpus
    assert sorted(gpu.uuid for gpu in seen) == ["GPU-0", "GPU-1", "GPU-2", "unopened:2"]


def test_silence_turns_rows_stale_with_their_age() -> None:
    """While nobody samples, values are shown with their age and the reason, never as fresh."""
    ledger, clock = make()
    ledger.complete(frame(row(0, power_w=70.0)))
    clock.now += 12
    aged = ledger.aged(Trouble(kind="k", message="The driver is gone.", action="Load it."), "n")
    assert (aged.gpus[0].state, aged.gpus[0].age_s, aged.gpus[0].power_w) == ("stale", 12.0, 70.0)
    assert aged.gpus[0].problem == "The driver is gone. Load it."
    assert aged.trouble is not None
    assert aged.taken_at == 1.7e9 + 1012


def test_before_the_first_sample_there_are_no_rows_but_the_trouble() -> None:
    """No driver at all: an empty list and a sentence, not an invented GPU."""
    ledger, _ = make()
    aged = ledger.aged(Trouble(kind="k", message="No driver.", action="Install it."), "node07")
    assert (aged.node, aged.gpus, aged.simulated) == ("node07", [], False)
    assert ledger.aged(None, "node07", simulated=True).simulated


def test_xids_are_counted_per_code_on_the_gpu_they_name() -> None:
    """NVML names a GPU by UUID, the kernel by bus id: both find it, and survive a sampler's restart."""
    ledger, _ = make()
    ledger.watch_xids(None)
    ledger.note_xid(XidEvent(gpu="GPU-1", code=48, at=5.0, source="nvml"))
    ledger.note_xid(XidEvent(gpu="0000:01:00", code=79, at=6.0, source="kmsg", detail="has fallen off the bus"))
    ledger.note_xid(XidEvent(gpu="GPU-1", code=48, at=7.0, source="nvml"))
    seen = ledger.complete(frame(row(0), row(1)))
    assert seen.gpus[0].xids == []
    assert [(x.code, x.count, x.last_seen) for x in seen.gpus[1].xids or ()] == [(48, 2, 7.0), (79, 1, 6.0)]


def test_without_a_watch_xids_are_unknown_not_none_seen() -> None:
    """Nobody looked: that is not the same as no Xid."""
    ledger, _ = make()
    ledger.watch_xids("no permission")
    assert ledger.complete(frame(row(0))).gpus[0].xids is None


def test_a_gpu_the_new_sampler_has_not_reached_keeps_its_last_values() -> None:
    """A replacement sampler that hangs on one GPU must not blank what the old one knew."""
    ledger, clock = make()
    ledger.complete(frame(row(0, power_w=70.0)))
    clock.now += 40
    silent = Gpu(index=0, uuid="GPU-0", state="stale", problem="hangs")
    seen = ledger.complete(frame(silent))
    assert (seen.gpus[0].power_w, seen.gpus[0].state, seen.gpus[0].age_s) == (70.0, "stale", 40.0)
