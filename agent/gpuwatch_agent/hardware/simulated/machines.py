"""Machines as data: boards, wiring, what runs there. A new machine is one entry in `MACHINES`."""

import random
from collections.abc import Callable

from msgspec import Struct

from gpuwatch_agent.hardware.simulated import boards, processes
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


def _tensor(name: str, gpus: tuple[int, ...], *, load: float, tokens: float, nvlink: float, heat: float = 1.0) -> Job:
    """A large model served by vLLM over NVLink."""
    return Job(
        name=name,
        split="tensor",
        gpus=gpus,
        load=load,
        swing=0.10,
        compute_share=0.92,
        comm_share=0.12,
        heat=0.715 * heat,
        sm_activity=0.78,
        occupancy=0.34,
        tensor=0.36,
        dram=0.62,
        memory_utilization=0.44,
        nvlink_bytes_per_s=nvlink,
        pcie_bytes_per_s=0.35e9,
        tokens_per_s=tokens,
        process=name,
    )


def _training(name: str, gpus: tuple[int, ...], *, tokens: float, nvlink: float, pcie: float, comm: float) -> Job:
    """Training in lockstep, with checkpoints."""
    return Job(
        name=name,
        split="data",
        gpus=gpus,
        load=0.96,
        swing=0.02,
        noise=0.02,
        pause_every_s=1_800.0,
        pause_s=24.0,
        compute_share=0.88,
        comm_share=comm,
        heat=0.92,
        sm_activity=0.86,
        occupancy=0.41,
        tensor=0.55,
        dram=0.48,
        memory_utilization=0.52,
        nvlink_bytes_per_s=nvlink,
        pcie_bytes_per_s=pcie,
        comm_over_pcie=nvlink == 0 or pcie > 1e9,
        tokens_per_s=tokens,
        process=name,
    )


def _service(name: str, gpu: int, *, load: float, part: float = 1.0, heat: float = 0.7, tokens: float) -> Job:
    """A small model on one GPU, or on a part of one."""
    return Job(
        name=name,
        split="service",
        gpus=(gpu,),
        shares=(part,),
        load=load,
        swing=0.18,
        wave_s=900.0,
        noise=0.06,
        saturates_at=1.0,
        compute_share=0.7,
        heat=heat,
        sm_activity=0.7,
        occupancy=0.3,
        tensor=0.28,
        dram=0.5,
        memory_utilization=0.4,
        pcie_bytes_per_s=0.06e9,
        tokens_per_s=tokens,
        process=name,
    )


def _embedding(gpu: int) -> Job:
    """A light neighbour of the large model."""
    return Job(
        name=f"embed-{gpu}",
        split="service",
        gpus=(gpu,),
        shares=(0.05,),
        load=0.25,
        swing=0.1,
        noise=0.08,
        saturates_at=1.0,
        compute_share=0.7,
        heat=0.3,
        sm_activity=0.5,
        occupancy=0.3,
        tensor=0.2,
        dram=0.3,
        memory_utilization=0.2,
        pcie_bytes_per_s=0.02e9,
        tokens_per_s=900.0,
        process="embed",
    )


_ROW = tuple(range(8))


def _h100_processes(chance: random.Random) -> list[SimulatedProcess]:
    chat, embed, rerank = (processes.pod(chance) for _ in range(3))
    found = [
        processes.init(),
        *processes.vllm(
            chat,
            pid=40826,
            job="chat",
            gpus=_ROW,
            model="meta-llama/Llama-3.1-70B-Instruct",
            memory_gib=66.2,
        ),
        processes.shim(52110),
        processes.shim(52740),
    ]
    for gpu in _ROW:
        # Small neighbours, alike on all GPUs: a healthy node has them, and they are no reason to worry.
        for base, job, place, program, size in (
            (52131, "embed", embed, "text-embeddings-router", 2.4),
            (52763, "rerank", rerank, "text-embeddings-rerank", 3.0),
        ):
            found.append(
                processes.server(
                    place,
                    pid=base + 11 * gpu,
                    parent=52110 if job == "embed" else 52740,
                    job=job,
                    command=(f"/usr/local/bin/{program}", "--port", str(8080 + gpu), "--dtype", "float16"),
                    memory_gib={gpu: size},
                    user="serve",
                    environ={"CUDA_VISIBLE_DEVICES": str(gpu)},
                    cpus=0.05,
                )
            )
    return found


def _slurm_processes(chance: random.Random, *, gpus: tuple[int, ...], memory_gib: float) -> list[SimulatedProcess]:
    del chance  # a Slurm job's place holds nothing of chance
    job = "417733"
    return [
        processes.init(),
        *processes.torchrun(
            processes.slurm(int(job)),
            pid=218_401,
            job="pretrain",
            gpus=gpus,
            script=("train.py", "--config", "configs/7b.yaml"),
            memory_gib=memory_gib,
            user="ada",
            slurm_job=job,
        ),
    ]


def _bridged_processes(chance: random.Random) -> list[SimulatedProcess]:
    del chance  # run from a login, not from a container
    return [
        processes.init(),
        *processes.torchrun(
            processes.login(),
            pid=91_200,
            job="finetune",
            gpus=(0, 1, 2, 3),
            script=("finetune_lora.py", "--model", "Qwen/Qwen2.5-14B"),
            memory_gib=19.6,
            user="lin",
        ),
    ]


def _llama_cpp_processes(chance: random.Random) -> list[SimulatedProcess]:
    return [
        processes.init(),
        processes.server(
            processes.docker(chance),
            pid=31_844,
            job="llama",
            command=("/app/llama-server", "-m", "/models/llama-3.3-70b-q4_k_m.gguf", "-ngl", "99", "-ts", "0.55,0.45"),
            memory_gib={0: 21.3, 1: 18.9},
            user="root",
            cpus=0.9,
        ),
        SimulatedProcess(
            pid=2_412,
            ppid=1,
            user="root",
            name="Xorg",
            command=("/usr/lib/xorg/Xorg", "vt1"),
            environ={},
            cgroup="0::/system.slice/gdm.service",
            started_s=900_000.0,
            cpus=0.01,
            memory={0: 96 << 20},
            kind="graphics",
        ),
    ]


def _l4_processes(chance: random.Random) -> list[SimulatedProcess]:
    return [
        processes.init(),
        processes.shim(8_300),
        processes.server(
            processes.pod(chance, "besteffort"),
            pid=8_342,
            parent=8_300,
            job="whisper",
            command=("/usr/bin/python3", "-m", "whisper_service", "--model", "large-v3"),
            memory_gib={0: 9.7},
            user="nobody",
        ),
    ]


def _mig_processes(chance: random.Random) -> list[SimulatedProcess]:
    found = [processes.init()]
    for pid, job, instance, memory in ((60_510, "notebook", 2, 21.0), (61_770, "extract", 5, 12.4)):
        found.append(processes.shim(pid - 21))
        found.append(
            processes.server(
                processes.pod(chance),
                pid=pid,
                parent=pid - 21,
                job=job,
                command=("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", f"acme/{job}-8b"),
                memory_gib={0: memory},
                user="tenant",
                gpu_instance=instance,
            )
        )
    return found


def _nobody(chance: random.Random) -> list[SimulatedProcess]:
    del chance  # there is nothing to choose
    return [processes.init()]


def _dgx2_processes(chance: random.Random) -> list[SimulatedProcess]:
    return _slurm_processes(chance, gpus=tuple(range(16)), memory_gib=27.5)


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
            _tensor("chat", _ROW, load=0.9, tokens=5_400.0, nvlink=21e9),
            *(_embedding(gpu) for gpu in _ROW),
        ),
        processes=_h100_processes,
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
        jobs=(_tensor("chat", _ROW, load=0.9, tokens=2_900.0, nvlink=34e9),),
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
            _tensor("chat", (0, 1, 2, 3), load=0.86, tokens=1_700.0, nvlink=14e9, heat=0.95),
            _tensor("code", (4, 5, 6, 7), load=0.80, tokens=2_300.0, nvlink=12e9, heat=0.95),
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
        jobs=(_training("pretrain", _ROW, tokens=19_000.0, nvlink=11e9, pcie=0.4e9, comm=0.16),),
        processes=lambda chance: _slurm_processes(chance, gpus=_ROW, memory_gib=26.1),
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
        jobs=(_training("pretrain", tuple(range(16)), tokens=41_000.0, nvlink=16e9, pcie=0.4e9, comm=0.14),),
        processes=_dgx2_processes,
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
        processes=_llama_cpp_processes,
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
        jobs=(_training("finetune", (0, 1, 2, 3), tokens=6_100.0, nvlink=2.4e9, pcie=2.6e9, comm=0.22),),
        processes=_bridged_processes,
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
        jobs=(_service("whisper", 0, load=0.48, heat=0.8, tokens=420.0),),
        processes=_l4_processes,
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
            _service("notebook", 0, load=0.62, part=3 / 7, tokens=700.0),
            _service("extract", 0, load=0.81, part=2 / 7, tokens=510.0),
        ),
        processes=_mig_processes,
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
        processes=_nobody,
    ),
}
