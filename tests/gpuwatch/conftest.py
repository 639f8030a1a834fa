"""Frames and topologies as they come from real nodes, good days and bad."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Cost, Frame, Trouble
from gpuwatch_agent.model.gpu import Ecc, Gpu, Mig, MigInstance, NvLink, NvLinkPort, Pcie, RemappedRows, Xid
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology, TopologyGpu

GIB = 1024**3
NOW = 1_763_674_267.0  # 21:31:07 UTC
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(autouse=True)
def terminal_of_nobody() -> Iterator[None]:
    """What a test told the dashboard of its terminal holds for that test alone."""
    yield
    if "gpuwatch.tui.palette" in sys.modules:
        from gpuwatch.tui.canvas import Canvas
        from gpuwatch.tui.palette import use_few_colours

        use_few_colours(False)
        Canvas.ascii_only = False


HOST = Host(
    uptime_s=12 * 86400 + 4 * 3600,
    cpu_count=112,
    cpu_pct=9.2,
    load_1m=14.2,
    memory_total_bytes=2048 * GIB,
    memory_used_bytes=212 * GIB,
    disk_read_bytes_per_s=0.0,
    disk_write_bytes_per_s=1e8,
    network_rx_bytes_per_s=3e8,
    network_tx_bytes_per_s=2.1e9,
)


def h100(index: int, **changes: Any) -> Gpu:
    """A busy board of a healthy tensor-parallel group."""
    worker = Process(
        pid=41210 + index,
        user="serve",
        name=f"VLLM::Worker_TP{index}",
        command=f"VLLM::Worker_TP{index}",
        memory_bytes=70 * GIB,
        sm_pct=99.0,
        pod="chat-7f9c",
        tp_rank=index,
        tp_size=8,
    )
    values: dict[str, Any] = {
        "index": index,
        "uuid": f"GPU-{index}",
        "name": H100,
        "utilization_pct": 100.0,
        "memory_used_bytes": 71 * GIB + index * GIB // 3,
        "memory_total_bytes": 81559 * 1024**2,
        "power_w": 612.0 - index * 7,
        "power_limit_w": 700.0,
        "power_limit_default_w": 700.0,
        "temperature_c": 53.0 + index,
        "temperature_margin_c": 34.0 - index,
        "memory_temperature_c": 66.0,
        "sm_clock_mhz": 1980,
        "pstate": 0,
        "throttle_reasons": ["sw_power_cap"] if index == 7 else [],
        "sm_activity_pct": 58.0,
        "tensor_activity_pct": 31.0,
        "dram_activity_pct": 34.0,
        "pcie": Pcie(gen=5, gen_max=5, width=16, width_max=16, tx_bytes_per_s=1.2e8, rx_bytes_per_s=3e8),
        "nvlink": NvLink(active=18, total=18, tx_bytes_per_s=41e9, rx_bytes_per_s=40.3e9),
        "ecc": Ecc(enabled=True, corrected=0, uncorrected=0),
        "processes": [worker],
    }
    return Gpu(**{**values, **changes})


def a100(index: int, **changes: Any) -> Gpu:
    """An older board: degrees instead of a margin, nothing measured by GPM."""
    return h100(
        index,
        **{
            "name": "NVIDIA A100-SXM4-40GB",
            "memory_total_bytes": 40 * GIB,
            "memory_used_bytes": 20 * GIB,
            "temperature_margin_c": None,
            "temperature_slowdown_c": 89.0,
            "sm_clock_mhz": 1410,
            "sm_activity_pct": None,
            "tensor_activity_pct": None,
            "dram_activity_pct": None,
            "nvlink": NvLink(active=12, total=12),
            "pcie": Pcie(gen=4, gen_max=4, width=16, width_max=16),
            **changes,
        },
    )


def node(gpus: list[Gpu], **changes: Any) -> Frame:
    values: dict[str, Any] = {
        "node": "node07",
        "taken_at": NOW,
        "simulated": False,
        "driver_version": "570.124.06",
        "cuda_version": "12.8",
        "host": HOST,
        "gpus": gpus,
    }
    return Frame(**{**values, **changes})


def broken() -> Frame:
    """Heat, a missing NVLink, a narrow PCIe link, a lowered limit, bad memory and a grave Xid at once."""
    gpus = [h100(index) for index in range(8)]
    gpus[1] = h100(1, xids=[Xid(code=13, count=2, last_seen=NOW), Xid(code=48, count=1, last_seen=NOW)])
    down = [NvLinkPort(index=port, state="down" if port == 11 else "up") for port in range(18)]
    gpus[3] = h100(3, nvlink=NvLink(active=17, total=18, links=down))
    gpus[4] = h100(4, pcie=Pcie(gen=5, gen_max=5, width=8, width_max=16), power_limit_w=500.0)
    gpus[5] = h100(
        5,
        temperature_c=88.0,
        temperature_margin_c=-1.0,
        sm_clock_mhz=1065,
        throttle_reasons=["hw_slowdown", "hw_thermal"],
    )
    gpus[6] = h100(6, remapped_rows=RemappedRows(pending=True), ecc=Ecc(uncorrected=3, uncorrected_volatile=3))
    gpus[7] = h100(
        7, power_w=None, processes=None, absent={"power_w": Absence.NO_PERMISSION, "processes": Absence.NO_ANSWER}
    )
    finding = Finding(
        kind="thermal_throttle",
        severity="warning",
        gpus=[5],
        since=NOW - 147,
        summary="GPU 5 holds the other 7 back: hot (88 of 87 °C), 1,065 of 1,980 MHz.",
        action="Check the airflow of slot 5.",
    )
    lesser = Finding(
        kind="pcie_degraded",
        severity="warning",
        gpus=[4],
        since=NOW - 60,
        summary="GPU 4 runs its PCIe link with 8 of 16 lanes.",
        action="Reseat the board.",
    )
    note = Finding(
        kind="power_throttle",
        severity="info",
        gpus=[7],
        since=NOW - 5,
        summary="GPU 7 is held down by its power limit.",
        action="Nothing.",
    )
    cost = Cost(
        interval_s=1.0,
        samples=9,
        cpu_pct=0.4,
        memory_bytes=40 * 1024**2,
        sampler_cpu_pct=0.2,
        sampler_memory_bytes=24 * 1024**2,
    )
    return node(gpus, findings=[finding, lesser, note], agent=cost)


def lost_and_stale() -> Frame:
    gpus = [a100(index) for index in range(4)]
    gpus[1] = a100(
        1,
        state="lost",
        age_s=134.0,
        problem="The GPU is lost: it does not answer on the PCIe bus. Look for Xid 79 in `dmesg`; a reboot or power cycle "
        "brings it back, if its seating, power and cooling are good.",
    )
    gpus[2] = a100(2, state="stale", age_s=8.2)
    gpus[3] = Gpu(index=3, uuid="GPU-3", state="lost")
    return node(gpus, simulated=True)


def sliced() -> Frame:
    """One board in MIG mode beside one that is whole."""
    slices = [
        MigInstance(
            index=index,
            name=f"MIG {name}",
            gpu_instance=7 + index,
            memory_used_bytes=used * GIB,
            memory_total_bytes=total * GIB,
            sm_activity_pct=activity,
        )
        for index, (name, used, total, activity) in enumerate(
            [("3g.40gb", 31, 40, 71.0), ("2g.20gb", 4, 20, 3.0), ("1g.10gb", 0, 10, None)]
        )
    ]
    tenants = [
        Process(
            pid=900,
            user="ann",
            name="python",
            command="/usr/bin/python3 train.py",
            memory_bytes=30 * GIB,
            gpu_instance=7,
        ),
        Process(pid=901, memory_bytes=4 * GIB, gpu_instance=8, visible=False),
    ]
    parent = h100(
        0, utilization_pct=None, mig=Mig(enabled=True, instances=slices), processes=tenants,
        absent={"utilization_pct": Absence.NOT_SUPPORTED},
    )  # fmt: skip
    return node([parent, h100(1, processes=[], utilization_pct=0.0)])


def crowded() -> Frame:
    """Sixteen boards of two kinds, one process on several of them, names that play tricks on terminals."""
    gpus = [h100(index) if index < 8 else a100(index) for index in range(16)]
    split = Process(
        pid=77, user="bob", command="/opt/llama/llama-server -m model.gguf --port 8080", memory_bytes=GIB, split="layer"
    )
    tricks = Process(
        pid=78, user="日本語ユーザー", command="\x1b[31mred\x07 \u202eabc\n訓練 e\u0301\u200bX", memory_bytes=5 * GIB
    )
    for index in (8, 9, 10, 14):
        gpus[index] = a100(index, processes=[split, *([tricks] if index == 9 else [])])
    return node(gpus)


FRAMES: dict[str, Callable[[], Frame]] = {
    "healthy": lambda: node([h100(index) for index in range(8)]),
    "broken": broken,
    "lost_and_stale": lost_and_stale,
    "mig": sliced,
    "no_gpu": lambda: node([]),
    "no_driver": lambda: node(
        [],
        driver_version=None,
        cuda_version=None,
        trouble=Trouble(
            kind="driver_not_loaded",
            message="The NVIDIA driver is installed but not loaded.",
            action="Try `sudo modprobe nvidia`.",
        ),
    ),
    "one_gpu": lambda: node([h100(0, processes=[])]),
    "sixteen": crowded,
}


def wired(count: int, odd: int | None = None, word: str = "NV18") -> Topology:
    """A node where every pair is joined alike, but for one GPU."""

    def cell(row: int, column: int) -> str:
        if row == column:
            return "X"
        return "NV17" if odd in {row, column} else word

    def gpu(index: int) -> TopologyGpu:
        links = [
            NvLinkPort(index=3, state="up", errors={"replays": 12 if index == 1 else 0}),
            NvLinkPort(index=11, state="down" if index == odd else "up", peer="0000:05:00.0"),
        ]
        return TopologyGpu(
            index=index,
            uuid=f"GPU-{index}",
            name=H100,
            numa_node=index * 2 // count,
            cpu_affinity="0-55,112-167" if index * 2 < count else "56-111,168-223",
            pcie=Pcie(gen=5, gen_max=5, width=8 if index == odd else 16, width_max=16),
            nvlink=NvLink(active=17 if index == odd else 18, total=18, links=links) if word.startswith("NV") else None,
        )

    return Topology(
        node="node07",
        taken_at=NOW,
        simulated=odd is not None,
        gpus=[gpu(index) for index in range(count)],
        matrix=[[cell(row, column) for column in range(count)] for row in range(count)],
    )


TOPOLOGIES: dict[str, Callable[[], Topology]] = {
    "eight": lambda: wired(8),
    "eight_one_odd": lambda: wired(8, odd=5),
    "sixteen": lambda: wired(16),
    "pcie_pair": lambda: wired(2, word="PHB"),
    "one": lambda: wired(1),
    "none": lambda: wired(0),
}


@pytest.fixture(params=sorted(FRAMES))
def named_frame(request: pytest.FixtureRequest) -> tuple[str, Frame]:
    """Each of the sample frames with its name."""
    return request.param, FRAMES[request.param]()


@pytest.fixture
def frames() -> dict[str, Frame]:
    """All sample frames by name."""
    return {name: make() for name, make in FRAMES.items()}


@pytest.fixture(params=sorted(TOPOLOGIES))
def named_topology(request: pytest.FixtureRequest) -> tuple[str, Topology]:
    """Each of the sample topologies with its name."""
    return request.param, TOPOLOGIES[request.param]()


@pytest.fixture
def topologies() -> dict[str, Topology]:
    """All sample topologies by name."""
    return {name: make() for name, make in TOPOLOGIES.items()}


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day on the screen are the same wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares with the file of that name; GPUWATCH_REWRITE_GOLDEN=1 writes it anew instead."""

    def compare(name: str, text: str) -> None:
        file = Path(__file__).parent / "golden" / name
        if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), (
            f"{name} differs; if that is meant, run `make golden` and look at it"
        )

    return compare
