import pytest

from gpuwatch_agent.hardware.simulated.faults import FAULTS, NEEDS
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware, describe_simulations
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from gpuwatch_agent.hardware.simulated.spec import Overlay, parse_spec
from gpuwatch_agent.model.errors import UsageError


def test_machine_and_overlays_are_read() -> None:
    """GPUs, strength, start and end of each fault come out as written; what is left out has its default."""
    simulation = parse_spec("dgx-h100-8+hot@5+nvlink-down@2,4-6=7~30-90+xid@all=79~10")

    assert simulation.machine is MACHINES["dgx-h100-8"]
    hot, down, xid = simulation.overlays
    assert (hot.name, hot.gpus, hot.strength, hot.start_s, hot.end_s) == ("hot", (5,), 0.54, None, None)
    assert (down.gpus, down.strength, down.start_s, down.end_s) == ((2, 4, 5, 6), 7.0, 30.0, 90.0)
    assert (xid.gpus, xid.strength) == (tuple(range(8)), 79.0)


def test_a_gpu_that_returns_has_a_start_of_its_own() -> None:
    """It leaves 20 s after opening unless told otherwise, for as long as its strength says."""
    (overlay,) = parse_spec("l4+returns=7").overlays

    assert (overlay.start_s, overlay.end_s) == (20.0, 27.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("dgx-h100", ['no simulated machine "dgx-h100"', 'Did you mean "dgx-h100-8"?', "2x4090"]),
        ("", ["no simulated machine", "dgx-h100-8"]),
        ("l4+hott", ['no fault "hott"', 'Did you mean "hot"?', "nvlink-down"]),
        ("l4+", ["not a fault as gpuwatch reads it", "MACHINE"]),
        ("l4+hot@", ["not a fault as gpuwatch reads it"]),
        ("l4+hot@3", ["l4 has no GPU 3", "0 to 0"]),
        ("2x4090+hot@1-0", ["runs backwards", "0 to 1"]),
        ("2x4090+hot@some", ["not a list of GPUs", "@1,4-6"]),
        ("l4+hot=7", ['"hot"', "part of the airflow", "from 0.05 to 0.95"]),
        ("l4+hot=1.2.3", ["not a number"]),
        ("l4+power-cap=500", ["limit in watts", "from 40 to 72"]),
        ("l4+pcie-narrow=3", ["lanes", "1, 2, 4, 8"]),
        ("2x4090+pcie-narrow=8", ["lanes", "1, 2, 4."]),
        ("l4+xid=1.5", ["Xid code", "whole number"]),
        ("l4+lost=4", ["no strength", "+lost without =4"]),
        ("l4+lost~30-20", ["ends before it begins"]),
        ("dgx-h100-8+fan-dead@1", ["makes no sense on GPU 1 of dgx-h100-8", "no fans of their own"]),
        ("2x4090+nvlink-down", ["no NVLink"]),
        ("2x4090+ecc", ["no ECC"]),
        ("2x4090+row-remap", ["neither remap rows nor retire pages"]),
        ("dgx-v100-8+row-remap-failed", ["do not remap rows"]),
        ("dgx-a100-8+fabric-error", ["no NVSwitch fabric"]),
        ("l4+slow-rank", ["no job there runs in lockstep"]),
        ("2x4090+stuck", ["no job there runs in lockstep"]),
        ("h100-mig+noisy-neighbour", ["MIG instances"]),
        ("none+hot", ['"hot" needs a GPU']),
        ("l4+driver-gone@0", ["concerns the whole driver"]),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(spec: str, words: list[str]) -> None:
    """Every mistake gives a UsageError that says what is wrong and what would be right."""
    with pytest.raises(UsageError) as caught:
        SimulatedHardware(spec, clock=lambda: 0.0)

    for word in words:
        assert word in str(caught.value)


def test_everything_is_described_in_one_sentence() -> None:
    """`gpuwatch sims` has a sentence for each machine and fault, and each need of a fault is a known one."""
    simulations = describe_simulations()

    assert [info.name for info in simulations.machines] == list(MACHINES)
    assert [info.name for info in simulations.faults] == list(FAULTS)
    for info in (*simulations.machines, *simulations.faults):
        assert info.description.endswith(".")
        assert "\n" not in info.description
    assert all(fault.needs is None or fault.needs in NEEDS for fault in FAULTS.values())
    assert all(fault.of_driver or fault.apply is not None for fault in FAULTS.values())


@pytest.mark.parametrize("machine", list(MACHINES))
def test_every_fault_has_a_default_that_fits_the_machine(machine: str) -> None:
    """A fault without a strength is either accepted or refused for lack of what it needs, on every machine."""
    for name, fault in FAULTS.items():
        complaint, overlays = parsed(f"{machine}+{name}")
        if complaint:
            assert "makes no sense" in complaint or "needs a GPU" in complaint
        elif fault.strength is not None:
            complaint, again = parsed(f"{machine}+{name}={overlays[0].strength:g}")
            assert complaint == ""
            assert again[0].strength == pytest.approx(overlays[0].strength)


def parsed(spec: str) -> tuple[str, tuple[Overlay, ...]]:
    try:
        return "", parse_spec(spec).overlays
    except UsageError as error:
        return error.message, ()
