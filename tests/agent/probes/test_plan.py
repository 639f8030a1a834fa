"""What will be run is decided from the request and the machine, and what can't be is refused with a way out."""

import pytest
from msgspec import structs

from gpuwatch_agent.model.errors import GpuBusyError, ProbeError, TorchMissingError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, Mig, NvLink, NvLinkPort
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology, TopologyGpu
from gpuwatch_agent.probes.plan import (
    AllReduceRequest,
    Machine,
    Plan,
    fabric_between,
    look_at_machine,
    parse_sizes,
    plan_allreduce,
    size_in_words,
)

GIB = 1 << 30
MACHINE = Machine(has_torch=True, shared_memory_free=8 * GIB, memory_available=64 * GIB)


def idle(index: int) -> Gpu:
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA H100 80GB HBM3",
        utilization_pct=0.0,
        memory_used_bytes=GIB // 2,
        memory_total_bytes=80 * GIB,
        processes=[],
    )


def frame(*changed: Gpu, count: int = 4) -> Frame:
    rows = {gpu.index: gpu for gpu in [*map(idle, range(count)), *changed]}
    return Frame(node="n", taken_at=0.0, simulated=False, gpus=list(rows.values()))


def planned(request: AllReduceRequest, seen: Frame | None, machine: Machine = MACHINE) -> Plan:
    return plan_allreduce(request, seen, None, machine)


def test_all_gpus_unless_told_otherwise() -> None:
    """Everything there is, over NCCL, in the type that engines use."""
    plan = planned(AllReduceRequest(), frame())
    assert (plan.device, plan.ranks, plan.dtypes) == ("cuda", 4, ["bfloat16"])
    assert plan.steps[0].bytes == 1024
    assert plan.steps[-1].bytes == 4 * GIB
    assert all(later.bytes == 2 * step.bytes for step, later in zip(plan.steps, plan.steps[1:], strict=False))


def test_named_gpus_and_a_number_of_ranks() -> None:
    """--gpus keeps its order, --ranks takes the first."""
    assert [gpu.index for gpu in planned(AllReduceRequest(gpus=[3, 1]), frame()).gpus] == [3, 1]
    assert [gpu.index for gpu in planned(AllReduceRequest(ranks=2), frame()).gpus] == [0, 1]


def test_quick_is_shorter() -> None:
    """Fewer sizes, a smaller end, less time."""
    quick, full = planned(AllReduceRequest(quick=True), frame()), planned(AllReduceRequest(), frame())
    assert len(quick.steps) < len(full.steps)
    assert quick.steps[-1].bytes < full.steps[-1].bytes
    assert quick.deadline_s < full.deadline_s


def test_without_gpus_the_processor_is_measured() -> None:
    """No driver at all, or --cpu beside GPUs: two ranks over gloo."""
    for plan in (planned(AllReduceRequest(), None), planned(AllReduceRequest(on_cpu=True), frame())):
        assert (plan.device, plan.ranks, plan.gpus, plan.dtypes) == ("cpu", 2, [], ["float32"])


@pytest.mark.parametrize(
    ("request_", "seen", "words"),
    [
        (AllReduceRequest(), frame(count=1), "at least two ranks, and this would be 1"),
        (AllReduceRequest(ranks=1), None, "at least two ranks"),
        (AllReduceRequest(ranks=5), frame(), "5 ranks were asked for, and this node has 4 GPUs"),
        (AllReduceRequest(ranks=65), None, "more than 64"),
        (AllReduceRequest(gpus=[0, 9]), frame(), "There is no GPU 9 on this node. There are: 0, 1, 2, 3."),
        (AllReduceRequest(gpus=[0, 1]), None, "There is no GPU on this node."),
        (AllReduceRequest(gpus=[0, 1], on_cpu=True), frame(), "exclude each other"),
        (AllReduceRequest(sizes=(1024, 64 * GIB)), frame(), "Messages of 64 GiB do not fit: there is room for 16 GiB"),
    ],
)
def test_what_makes_no_sense_is_refused(request_: AllReduceRequest, seen: Frame | None, words: str) -> None:
    """One rank, more ranks than GPUs, GPUs that are not there, sizes beyond memory: bad usage, with a way out."""
    with pytest.raises(UsageError) as refused:
        planned(request_, seen)
    assert words in str(refused.value)


def test_torch_missing_is_one_sentence_with_the_command() -> None:
    """Who has no torch is told how to get it."""
    with pytest.raises(TorchMissingError) as refused:
        planned(AllReduceRequest(), None, structs.replace(MACHINE, has_torch=False))
    assert "pip install 'gpuwatch-node[probes]'" in str(refused.value)


BUSY = structs.replace(idle(1), processes=[Process(pid=41, name="python3", user="ada", kind="compute")])


def test_gpus_in_use_are_left_alone_unless_forced() -> None:
    """Whose process it is stands in the refusal; forced, in the notes."""
    with pytest.raises(GpuBusyError) as refused:
        planned(AllReduceRequest(), frame(BUSY))
    assert "GPU 1 is in use by python3 (PID 41, ada)" in str(refused.value)
    assert planned(AllReduceRequest(force=True), frame(BUSY)).notes == [
        "Forced while in use: GPU 1 is in use by python3 (PID 41, ada)."
    ]
    assert planned(AllReduceRequest(gpus=[0, 2]), frame(BUSY)).notes == []


def test_use_that_shows_only_in_figures_counts_too() -> None:
    """In a container the processes can't be seen, what they do can; a desktop's own process is no work."""
    for busy, words in (
        (structs.replace(idle(1), utilization_pct=97.0), "97 % busy"),
        (structs.replace(idle(1), memory_used_bytes=40 * GIB, processes=None), "40 GiB of GPU 1"),
    ):
        with pytest.raises(GpuBusyError, match=words):
            planned(AllReduceRequest(), frame(busy))
    desktop = structs.replace(idle(1), processes=[Process(pid=9, name="Xorg", kind="graphics")])
    assert planned(AllReduceRequest(), frame(desktop)).ranks == 4


def test_gpus_that_cannot_take_part_are_named() -> None:
    """Lost, stale, sliced, or without memory."""
    for gpu, words in (
        (
            structs.replace(idle(2), state="lost", problem="It is gone."),
            "GPU 2 can't be measured: it is lost. It is gone.",
        ),
        (structs.replace(idle(2), mig=Mig(enabled=True)), "GPU 2 is in MIG mode"),
        (
            structs.replace(idle(2), memory_used_bytes=80 * GIB - 1, memory_reserved_bytes=79 * GIB),
            "0 MiB of memory free",
        ),
    ):
        with pytest.raises(ProbeError) as refused:
            planned(AllReduceRequest(), frame(gpu))
        assert words in str(refused.value)


def test_little_shared_memory_is_noted() -> None:
    """Docker's 64 MiB can be too little where there is no P2P."""
    tiny = structs.replace(MACHINE, shared_memory_free=32 << 20)
    (note,) = planned(AllReduceRequest(), frame(), tiny).notes
    assert note.startswith("/dev/shm has 32 MiB free")
    assert planned(AllReduceRequest(on_cpu=True), None, tiny).notes == []


def test_the_machine_is_looked_at() -> None:
    """Real figures of where the tests run."""
    machine = look_at_machine()
    assert machine.memory_available > 0
    assert machine.shared_memory_free is None or machine.shared_memory_free >= 0


@pytest.mark.parametrize(
    ("text", "sizes"), [("1K:1G", (1024, GIB)), ("64m", (64 << 20, 64 << 20)), ("2M:2M", (2 << 20, 2 << 20))]
)
def test_sizes(text: str, sizes: tuple[int, int]) -> None:
    """FROM:TO, or one."""
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "1", "1K:", "K", "1G:1K", "0K:1M", "1K:65G", "-1K:1M", "²K"])
def test_sizes_that_are_none(text: str) -> None:
    """Refused, each."""
    with pytest.raises(ValueError, match="is not"):
        parse_sizes(text)


def test_sizes_in_words() -> None:
    """Powers of two as people say them."""
    assert [size_in_words(size) for size in (512, 1024, 1536, 1 << 20, 3 * GIB)] == [
        "512 B",
        "1 KiB",
        "1.5 KiB",
        "1 MiB",
        "3 GiB",
    ]


def wired(words: list[list[str | None]], *, switch: bool = False, p2p: str | None = None) -> Topology:
    links = NvLink(links=[NvLinkPort(index=0, peer_type="switch" if switch else "gpu")])
    table: list[list[str | None]] = [[p2p] * len(words) for _ in words]
    return Topology(
        node="n",
        taken_at=0.0,
        simulated=False,
        gpus=[TopologyGpu(index=place, uuid=f"GPU-{place}", nvlink=links) for place in range(len(words))],
        matrix=words,
        p2p_read=table,
        p2p_write=table,
    )


PAIRS: list[list[str | None]] = [
    ["X", "NV4", "SYS", "SYS"],
    ["NV4", "X", "SYS", "SYS"],
    ["SYS", "SYS", "X", "NV4"],
    ["SYS", "SYS", "NV4", "X"],
]


def test_the_fabric_is_that_between_the_gpus_that_take_part() -> None:
    """Two of a bridged pair have NVLink, all four only partly, two of different pairs PCIe, with or without P2P."""
    everybody = ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert fabric_between(everybody[:2], wired(PAIRS)) == "nvlink"
    assert fabric_between(everybody[:2], wired(PAIRS, switch=True)) == "nvswitch"
    assert fabric_between(everybody, wired(PAIRS)) == "nvlink_partial"
    assert fabric_between(everybody[1:3], wired(PAIRS)) == "pcie"
    assert fabric_between(everybody[1:3], wired(PAIRS, p2p="ok")) == "pcie_p2p"
    assert fabric_between(everybody, None) is None
    assert fabric_between(everybody[:2], wired([["X", None], [None, "X"]])) is None
