"""Frames as a busy 8-GPU node publishes them, for tests that need something to serve or remember."""

from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import CollectorCost, Cost, Frame, Trouble
from gpuwatch_agent.model.gpu import Ecc, Fabric, Gpu, Mig, NvLink, NvLinkPort, Pcie, RemappedRows, Xid
from gpuwatch_agent.model.host import Host, NumaNode
from gpuwatch_agent.model.metrics import THROTTLE_REASONS
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology, TopologyGpu


def uuid(index: int) -> str:
    return f"GPU-{index:08x}-1111-2222-3333-444444444444"


def sample_process(index: int) -> Process:
    return Process(
        pid=4000 + index,
        user="alice",
        name="VLLM::Worker_TP0",
        command="/usr/bin/python3 -m vllm.entrypoints.openai.api_server --model meta/Llama --tensor-parallel-size 8",
        memory_bytes=70 * 2**30 + index,
        sm_pct=97.0,
        container="0123456789ab",
        pod="7f3c0d9e-1111-2222-3333-444444444444",
        slurm_job="123456",
        tp_group="vllm:4000",
        tp_rank=index % 8,
        tp_size=8,
        tp_source="process title",
        split="tensor",
        kind="compute",
        started_at=1_700_000_000.0,
    )


def sample_nvlink(index: int) -> NvLink:
    return NvLink(
        active=18,
        total=18,
        tx_bytes_per_s=1.5e11 + index,
        rx_bytes_per_s=1.4e11 + index,
        links=[
            NvLinkPort(
                index=port,
                state="up",
                version="4.0",
                peer=f"00000000:{port % 4:02x}:00.0",
                peer_type="switch",
                errors={"replay": 0, "recovery": 0, "crc_flit": 0, "crc_data": 0},
            )
            for port in range(18)
        ],
    )


def sample_gpu(index: int, tick: int = 0, processes: int = 4) -> Gpu:
    return Gpu(
        index=index,
        uuid=uuid(index),
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:{0x19 + index:02X}:00.0",
        age_s=0.1,
        utilization_pct=(90.0 + tick + index) % 101,
        memory_utilization_pct=40.0,
        encoder_pct=0.0,
        decoder_pct=0.0,
        memory_used_bytes=70 * 2**30 + tick,
        memory_total_bytes=80 * 2**30,
        memory_reserved_bytes=600 * 2**20,
        bar1_used_bytes=2**20,
        bar1_total_bytes=128 * 2**30,
        power_w=612.5,
        power_instant_w=640.25,
        power_limit_w=700.0,
        power_limit_default_w=700.0,
        power_limit_min_w=200.0,
        power_limit_max_w=700.0,
        energy_j=1e9 + 612.0 * tick,
        temperature_c=61.0,
        memory_temperature_c=72.0,
        temperature_slowdown_c=87.0,
        temperature_shutdown_c=92.0,
        temperature_margin_c=26.0,
        fan_pct=None,
        fans_pct=[],
        sm_clock_mhz=1755,
        sm_clock_max_mhz=1980,
        memory_clock_mhz=2619,
        memory_clock_max_mhz=2619,
        pstate=0,
        throttle_reasons=["sw_power_cap"],
        throttle_seconds=dict.fromkeys(THROTTLE_REASONS, 0.5 + tick),
        sm_activity_pct=81.5,
        sm_occupancy_pct=33.0,
        engine_activity_pct=99.0,
        tensor_activity_pct=44.0,
        dram_activity_pct=51.0,
        pcie=Pcie(gen=5, gen_max=5, width=16, width_max=16, tx_bytes_per_s=1e9, rx_bytes_per_s=2e9, replays=3),
        nvlink=sample_nvlink(index),
        ecc=Ecc(enabled=True, corrected=2, uncorrected=0, corrected_volatile=0, uncorrected_volatile=0),
        remapped_rows=RemappedRows(corrected=0, uncorrected=0, pending=False, failed=False),
        fabric=Fabric(state="completed", status="ok", clique=0, healthy=True),
        recovery_action="none",
        xids=[Xid(code=31, count=1, last_seen=1_700_000_100.0)],
        mig=Mig(enabled=False, pending=False),
        numa_node=index // 4,
        architecture="Hopper",
        vbios_version="96.00.74.00.01",
        serial="1650522000000",
        persistence_mode=True,
        compute_mode="default",
        display_active=False,
        processes=[sample_process(index * processes + number) for number in range(processes)],
        absent={},
    )


def sample_frame(tick: int = 0, gpus: int = 8, processes: int = 4, taken_at: float | None = None) -> Frame:
    """Eight GPUs with 18 NVLinks each and 32 processes, unless told otherwise."""
    return Frame(
        node="gpu07",
        taken_at=1_760_000_000.0 + tick if taken_at is None else taken_at,
        simulated=False,
        driver_version="550.90.07",
        cuda_version="12.4",
        host=Host(
            uptime_s=86_400.0 + tick,
            cpu_count=192,
            cpu_pct=12.5,
            load_1m=10.0,
            load_5m=9.0,
            load_15m=8.0,
            memory_total_bytes=2 * 2**40,
            memory_used_bytes=2**39,
            memory_available_bytes=2**40,
            swap_total_bytes=0,
            swap_used_bytes=0,
            disk_read_bytes_per_s=1e6,
            disk_write_bytes_per_s=2e6,
            network_rx_bytes_per_s=3e6,
            network_tx_bytes_per_s=4e6,
            numa_nodes=[NumaNode(node=0, cpus="0-95", memory_total_bytes=2**40, memory_free_bytes=2**39)],
        ),
        gpus=[sample_gpu(index, tick, processes) for index in range(gpus)],
        findings=[
            Finding(
                kind="power_throttle",
                severity="info",
                gpus=[0],
                since=1_760_000_000.0,
                summary="GPU 0 is held down by its power limit.",
                evidence={"power_w": 612.5},
                action="Nothing to do while all ranks are capped alike.",
            )
        ],
        agent=Cost(
            interval_s=1.0,
            samples=tick,
            collectors=[CollectorCost(name="power", tier="fast", runs=tick, failures=0, missed_deadlines=0)],
        ),
    )


def blind_frame() -> Frame:
    """What a node without a driver publishes."""
    return Frame(
        node="gpu07",
        taken_at=1_760_000_000.0,
        simulated=False,
        gpus=[],
        trouble=Trouble(kind="library_missing", message="No NVIDIA driver found.", action="Install the driver."),
    )


def sample_topology() -> Topology:
    names = [["X" if row == column else "NV18" for column in range(8)] for row in range(8)]
    return Topology(
        node="gpu07",
        taken_at=1_760_000_000.0,
        simulated=False,
        gpus=[TopologyGpu(index=index, uuid=uuid(index), nvlink=sample_nvlink(index)) for index in range(8)],
        matrix=[list(row) for row in names],
    )


def sample_cost() -> Cost:
    """What gpuwatch says of itself, complete."""
    return Cost(
        interval_s=1.0,
        samples=9,
        sample_ms=2.5,
        cpu_pct=0.5,
        memory_bytes=40 << 20,
        sampler_cpu_pct=0.25,
        sampler_memory_bytes=24 << 20,
        collectors=[
            CollectorCost(
                name="power", tier="fast", runs=72, failures=1, missed_deadlines=0, last_ms=0.25, mean_ms=0.5
            ),
            CollectorCost(name="fans", tier="medium", runs=0, failures=0, missed_deadlines=0),
        ],
    )
