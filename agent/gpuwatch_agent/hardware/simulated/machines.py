"""Machines as data: boards, wiring, what runs there. A new machine is one entry in `MACHINES`."""

import random
from collections.abc import Callable

from msgspec import Struct

from gpuwatch_agent.hardware.simulated import boards, jobs, processes, tenants
from gpuwatch_agent.hardware.simulated.boards import Board
from gpuwatch_agent.hardware.simulated.jobs import Job
from gpuwatch_agent.hardware.simulated.processes import SimulatedProcess
from gpuwatch_agent.hardware.simulated.wiring import HYBRID_CUBE_MESH, Links, bridged, switched


class Slice(Struct, frozen=True, kw_only=True, gc=False):
    """One MIG instance; `part` is its part of the chip's SMs."""

    name: str
    gpu_instance: int
    sm_count: int
    part: float
    memory_bytes: int
    job: str | None = None


class Machine(Struct, frozen=True, kw_only=True):
    """One machine as it stands in the rack when nothing is wrong with it."""

    description: str
    board: Board
    bus: tuple[str, ...] = ()
    """PCI bus of each GPU, as in 0000:1B:00.0."""
    numa: tuple[int, ...] = ()
    pcie_switch: tuple[int, ...] = ()
    """GPUs with equal numbers sit under one PCIe switch."""
    near: str = "NODE"
    """How two GPUs of one NUMA node are joined when they do not share a switch."""
    cpus: tuple[str, ...] = ()
    """CPU list of each NUMA node."""
    pcie_width: int = 16
    p2p: str = "ok"
    """What the driver says about peer access between GPUs without NVLink."""
    links: Links = ()
    inlet_c: tuple[float, ...] = ()
    """Air temperature at each GPU: those behind others get what these have warmed."""
    driver_version: str
    cuda_version: str
    uptime_s: float = 1_051_200.0
    persistence_mode: bool = True
    display_gpu: int | None = None
    jobs: tuple[Job, ...] = ()
    processes: Callable[[random.Random], list[SimulatedProcess]]
    slices: tuple[Slice, ...] = ()
    """MIG instances, on every GPU of the machine."""

    @property
    def gpus(self) -> int:
        return len(self.bus)

    def ancestor(self, one: int, other: int) -> str:
        """The path between two GPUs over PCIe, in the words of `nvidia-smi topo -m`."""
        if self.numa[one] != self.numa[other]:
            return "SYS"
        if self.pcie_switch and self.pcie_switch[one] == self.pcie_switch[other]:
            return "PXB"
        return self.near

    def joined(self, one: int, other: int) -> bool:
        """Whether NVLink joins the two, directly or by a switch."""
        if not self.links:
            return False
        mine, theirs = self.links[one], {port.switch for port in self.links[other]}
        return any(port.gpu == other or (port.switch is not None and port.switch in theirs) for port in mine)

    def driver_major(self) -> int:
        return int(self.driver_version.split(".", 1)[0])


_ROW = tuple(range(8))
_H100_BUS = ("1B", "43", "52", "61", "9D", "C3", "D1", "DF")
_INLETS_8 = (29.0, 30.0, 29.5, 30.5, 31.0, 32.0, 31.5, 32.5)
_TWO_SOCKETS = (0, 0, 0, 0, 1, 1, 1, 1)
_H100_SWITCHES = (("00000000:07:00.0", 5), ("00000000:08:00.0", 4), ("00000000:09:00.0", 4), ("00000000:0A:00.0", 5))

MACHINES: dict[str, Machine] = {
    "dgx-h100-8": Machine(
        description="8 H100 80GB over NVSwitch, serving a 70B model with tensor parallelism 8 in Kubernetes.",
        board=boards.H100,
        bus=_H100_BUS,
        numa=_TWO_SOCKETS,
        pcie_switch=(0, 1, 2, 3, 4, 5, 6, 7),
        cpus=("0-55,112-167", "56-111,168-223"),
        links=switched(8, _H100_SWITCHES),
        inlet_c=_INLETS_8,
        driver_version="570.124.06",
        cuda_version="12.8",
        jobs=(
            jobs.serving("chat", _ROW, load=0.9, tokens=5_400.0, nvlink=21e9),
            *(jobs.embedding(gpu) for gpu in _ROW),
        ),
        processes=tenants.on_h100,
    ),
    "h200-8": Machine(
        description="8 H200 over NVSwitch, serving a 405B model with tensor parallelism 8.",
        board=boards.H200,
        bus=_H100_BUS,
        numa=_TWO_SOCKETS,
        pcie_switch=(0, 1, 2, 3, 4, 5, 6, 7),
        cpus=("0-47,96-143", "48-95,144-191"),
        links=switched(8, _H100_SWITCHES),
        inlet_c=_INLETS_8,
        driver_version="580.105.08",
        cuda_version="13.0",
        jobs=(jobs.serving("chat", _ROW, load=0.9, tokens=2_900.0, nvlink=34e9),),
        processes=lambda chance: [
            processes.init(),
            *processes.vllm(
                processes.pod(chance),
                pid=40826,
                job="chat",
                gpus=_ROW,
                model="meta-llama/Llama-3.1-405B-Instruct-FP8",
                memory_gib=124.8,
            ),
        ],
    ),
    "dgx-a100-8": Machine(
        description="8 A100 80GB over NVSwitch, two vLLM groups with tensor parallelism 4 each in Kubernetes.",
        board=boards.A100,
        bus=("07", "0F", "47", "4E", "87", "90", "B7", "BD"),
        numa=(3, 3, 1, 1, 7, 7, 5, 5),
        pcie_switch=(0, 0, 1, 1, 2, 2, 3, 3),
        cpus=tuple(f"{16 * node}-{16 * node + 15},{128 + 16 * node}-{143 + 16 * node}" for node in range(8)),
        links=switched(8, tuple((f"00000000:C{unit}:00.0", 2) for unit in range(4, 10))),
        inlet_c=_INLETS_8,
        driver_version="535.183.01",
        cuda_version="12.2",
        jobs=(
            jobs.serving("chat", (0, 1, 2, 3), load=0.86, tokens=1_700.0, nvlink=14e9, heat=0.95),
            jobs.serving("code", (4, 5, 6, 7), load=0.80, tokens=2_300.0, nvlink=12e9, heat=0.95),
        ),
        processes=lambda chance: [
            processes.init(),
            *processes.vllm(
                processes.pod(chance),
                pid=33_020,
                job="chat",
                gpus=(0, 1, 2, 3),
                model="meta-llama/Llama-3.1-70B-Instruct",
                memory_gib=71.0,
            ),
            *processes.vllm(
                processes.pod(chance),
                pid=45_310,
                job="code",
                gpus=(4, 5, 6, 7),
                model="Qwen/Qwen2.5-Coder-32B-Instruct",
                memory_gib=70.2,
                port=8001,
            ),
        ],
    ),
    "dgx-v100-8": Machine(
        description="8 V100 32GB in the hybrid cube mesh of a DGX-1, a training job under Slurm.",
        board=boards.V100,
        bus=("06", "07", "0A", "0B", "85", "86", "89", "8A"),
        numa=_TWO_SOCKETS,
        pcie_switch=(0, 0, 1, 1, 2, 2, 3, 3),
        cpus=("0-19,40-59", "20-39,60-79"),
        links=bridged(8, HYBRID_CUBE_MESH),
        inlet_c=(28.0, 28.5, 29.0, 29.5, 32.0, 32.5, 33.0, 33.5),
        driver_version="535.183.01",
        cuda_version="12.2",
        jobs=(jobs.training("pretrain", _ROW, tokens=19_000.0, nvlink=11e9, pcie=0.4e9, comm=0.16),),
        processes=lambda chance: tenants.on_slurm(chance, gpus=_ROW, memory_gib=26.1),
    ),
    "dgx2-v100-16": Machine(
        description="16 V100 32GB over NVSwitch (DGX-2), a training job under Slurm.",
        board=boards.V100,
        bus=("34", "36", "39", "3B", "57", "59", "5C", "5E", "B7", "B9", "BC", "BE", "E0", "E2", "E5", "E7"),
        numa=(0,) * 8 + (1,) * 8,
        pcie_switch=(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
        cpus=("0-23,48-71", "24-47,72-95"),
        links=switched(16, tuple((f"00000000:{bus}:00.0", 1) for bus in ("3D", "3F", "61", "63", "C1", "C3"))),
        inlet_c=tuple(27.0 + (gpu % 8) * 0.6 for gpu in range(16)),
        driver_version="535.183.01",
        cuda_version="12.2",
        jobs=(jobs.training("pretrain", tuple(range(16)), tokens=41_000.0, nvlink=16e9, pcie=0.4e9, comm=0.14),),
        processes=tenants.on_dgx2,
    ),
    "2x4090": Machine(
        description="2 RTX 4090 without NVLink or peer access, llama.cpp with its layers split over both.",
        board=boards.RTX_4090,
        bus=("01", "02"),
        numa=(0, 0),
        near="PHB",
        cpus=("0-31",),
        pcie_width=8,
        p2p="chipset not supported",
        inlet_c=(29.0, 33.0),
        driver_version="560.35.03",
        cuda_version="12.6",
        persistence_mode=False,
        display_gpu=0,
        jobs=(
            Job(
                name="llama",
                split="layer",
                gpus=(0, 1),
                shares=(0.55, 0.45),
                load=0.82,
                swing=0.1,
                wave_s=1_200.0,
                saturates_at=0.6,
                compute_share=0.35,
                heat=0.62,
                sm_activity=0.72,
                occupancy=0.35,
                tensor=0.2,
                dram=0.85,
                memory_utilization=0.8,
                pcie_bytes_per_s=0.02e9,
                tokens_per_s=18.0,
                process="llama",
            ),
        ),
        processes=tenants.on_llama_cpp,
    ),
    "4x3090-bridged": Machine(
        description="4 RTX 3090 in two NVLink pairs on x8 slots, a fine-tuning job by torchrun.",
        board=boards.RTX_3090,
        bus=("21", "22", "41", "42"),
        numa=(0, 0, 0, 0),
        near="PHB",
        cpus=("0-63",),
        pcie_width=8,
        p2p="chipset not supported",
        links=bridged(4, ((0, 1, 4), (2, 3, 4))),
        inlet_c=(29.0, 31.0, 32.5, 30.0),
        driver_version="550.90.07",
        cuda_version="12.4",
        jobs=(jobs.training("finetune", (0, 1, 2, 3), tokens=6_100.0, nvlink=2.4e9, pcie=2.6e9, comm=0.22),),
        processes=tenants.on_bridged,
    ),
    "l4": Machine(
        description="One L4 with a small speech service in a pod.",
        board=boards.L4,
        bus=("31",),
        numa=(0,),
        cpus=("0-15",),
        inlet_c=(28.0,),
        driver_version="550.90.07",
        cuda_version="12.4",
        jobs=(jobs.service("whisper", 0, load=0.48, heat=0.8, tokens=420.0),),
        processes=tenants.on_l4,
    ),
    "h100-mig": Machine(
        description="One H100 cut into three MIG instances, two of them in use by two pods.",
        board=boards.H100,
        bus=("19",),
        numa=(0,),
        cpus=("0-47",),
        inlet_c=(29.0,),
        driver_version="570.124.06",
        cuda_version="12.8",
        jobs=(
            jobs.service("notebook", 0, load=0.62, part=3 / 7, tokens=700.0),
            jobs.service("extract", 0, load=0.81, part=2 / 7, tokens=510.0),
        ),
        processes=tenants.on_mig,
        slices=(
            Slice(name="3g.40gb", gpu_instance=2, sm_count=60, part=3 / 7, memory_bytes=40448 << 20, job="notebook"),
            Slice(name="2g.20gb", gpu_instance=5, sm_count=32, part=2 / 7, memory_bytes=20096 << 20, job="extract"),
            Slice(name="1g.10gb", gpu_instance=13, sm_count=16, part=1 / 7, memory_bytes=9984 << 20),
        ),
    ),
    "none": Machine(
        description="A machine with the driver installed and no GPU in it.",
        board=boards.L4,
        driver_version="570.124.06",
        cuda_version="12.8",
        processes=tenants.nobody,
    ),
}
