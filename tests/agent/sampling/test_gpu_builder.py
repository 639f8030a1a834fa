from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.hardware.base import Identity
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.sampling.gpu_builder import build_gpu

IDENTITY = Identity(index=2, uuid="GPU-2", name="NVIDIA H100", absent={"serial": Absence.NOT_SUPPORTED})


def test_parts_are_put_together_from_several_collectors() -> None:
    """PCIe traffic, link and health come from three collectors and make one `pcie`."""
    gpu = build_gpu(
        IDENTITY,
        [
            Collected(values={"pcie.tx_bytes_per_s": 5.0}),
            Collected(values={"pcie.gen": 5, "pcie.width": 16}),
            Collected(values={"pcie.replays": 150}),
        ],
    )
    assert gpu.pcie is not None
    assert (gpu.pcie.gen, gpu.pcie.width, gpu.pcie.tx_bytes_per_s, gpu.pcie.replays) == (5, 16, 5.0, 150)


def test_a_value_from_a_later_collector_takes_the_reason_away() -> None:
    """The profiler's PCIe rate stands, though the byte counters had none."""
    gpu = build_gpu(
        IDENTITY,
        [
            Collected(absent={"pcie.tx_bytes_per_s": Absence.IMPLAUSIBLE}),
            Collected(values={"pcie.tx_bytes_per_s": 9.0}),
        ],
    )
    assert gpu.pcie is not None
    assert gpu.pcie.tx_bytes_per_s == 9.0
    assert "pcie.tx_bytes_per_s" not in gpu.absent


def test_what_nobody_gave_stays_absent_with_its_reason() -> None:
    """No field is filled in: absent is None, and the reason is there."""
    gpu = build_gpu(IDENTITY, [Collected(absent={"fan_pct": Absence.NOT_SUPPORTED})])
    assert gpu.fan_pct is None
    assert gpu.power_w is None
    assert gpu.pcie is None
    assert gpu.absent == {
        "serial": Absence.NOT_SUPPORTED,
        "fan_pct": Absence.NOT_SUPPORTED,
        "xids": Absence.NOT_WATCHED,
    }
