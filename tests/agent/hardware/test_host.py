import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpuwatch_agent.hardware.host import HostReader, node_name
from gpuwatch_agent.model.host import Host, NumaNode


class Machine:
    """A /proc and a /sys of files, and the clock that goes with them."""

    def __init__(self, root: Path) -> None:
        self.now_s = 100.0
        self.proc, self.sys = root / "proc", root / "sys"
        (self.proc / "net").mkdir(parents=True)
        (self.sys / "block").mkdir(parents=True)
        (self.sys / "class/net").mkdir(parents=True)
        self.cpu(user=100, idle=900)
        self.disks({"sda": (0, 0)})
        self.cards({"eth0": (0, 0)})
        (self.proc / "uptime").write_text("3600.50 7200.00\n")
        (self.proc / "meminfo").write_text(
            "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nHugePages_Total: 0\n"
        )

    def reader(self) -> HostReader:
        return HostReader(lambda: self.now_s, proc=self.proc, sys=self.sys)

    def cpu(self, **ticks: int) -> None:
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
        (self.proc / "stat").write_text("cpu  " + " ".join(str(ticks.get(name, 0)) for name in names) + "\nbtime 1\n")

    def disks(self, sectors: Mapping[str, tuple[int, int]]) -> None:
        lines = [
            f"8 0 {name} 1 0 {read} 0 1 0 {written} 0 0 0 0 0 0 0 0\n" for name, (read, written) in sectors.items()
        ]
        (self.proc / "diskstats").write_text("".join(lines))

    def cards(self, octets: Mapping[str, tuple[int, int]]) -> None:
        lines = [f"{name}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n" for name, (rx, tx) in octets.items()]
        (self.proc / "net/dev").write_text("Inter-| Receive\n face |bytes\n" + "".join(lines))

    def plug(self, *paths: str) -> None:
        for path in paths:
            (self.sys / path / "device").mkdir(parents=True)


def raise_not_implemented(**options: bool) -> None:
    raise NotImplementedError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(machine.proc))
    return machine


def test_a_first_reading_has_no_rates(machine: Machine) -> None:
    """What needs two readings is absent in the first one, and the rest is there."""
    host = machine.reader().read()
    assert (host.cpu_pct, host.disk_read_bytes_per_s, host.network_rx_bytes_per_s) == (None, None, None)
    assert (host.memory_total_bytes, host.memory_used_bytes, host.memory_available_bytes) == (1024000, 409600, 614400)
    assert (host.swap_total_bytes, host.swap_used_bytes) == (51200, 30720)
    assert host.uptime_s == 3600.5
    assert host.load_1m is not None


def test_cpu_is_the_share_that_was_not_idle(machine: Machine) -> None:
    """Waiting for disks is idle, and guests are counted once."""
    reader = machine.reader()
    reader.read()
    machine.cpu(user=150, idle=925, iowait=25, guest=40)
    assert reader.read().cpu_pct == pytest.approx(50.0)


def test_cpu_counters_that_go_back_give_nothing_once(machine: Machine) -> None:
    """After a CPU was taken away the share is absent once, then right again."""
    reader = machine.reader()
    reader.read()
    machine.cpu(user=50, idle=400)
    assert reader.read().cpu_pct is None
    machine.cpu(user=60, idle=430)
    assert reader.read().cpu_pct == pytest.approx(25.0)


def test_a_step_back_of_iowait_is_no_negative_share(machine: Machine) -> None:
    """The kernel's iowait is known to shrink a little; the share stays within 0 and 100."""
    reader = machine.reader()
    machine.cpu(user=100, idle=900, iowait=50)
    reader.read()
    machine.cpu(user=120, idle=900, iowait=40)
    assert reader.read().cpu_pct == 100.0


def test_rates_go_by_the_clock(machine: Machine) -> None:
    """Bytes per second are the difference over the time that the given clock says has passed."""
    machine.plug("block/sda", "class/net/eth0")
    reader = machine.reader()
    reader.read()
    machine.disks({"sda": (4, 8)})
    machine.cards({"eth0": (1000, 300)})
    machine.now_s += 2
    host = reader.read()
    assert (host.disk_read_bytes_per_s, host.disk_write_bytes_per_s) == (1024, 2048)
    assert (host.network_rx_bytes_per_s, host.network_tx_bytes_per_s) == (500, 150)


def test_nothing_is_counted_twice(machine: Machine) -> None:
    """Partitions, mappers, loops and RAM disks, bridges, veths and bonds carry what disks and cards carry already."""
    disks = ["nvme0n1", "nvme0n1p1", "dm-0", "md0", "loop0", "zram0"]
    cards = ["lo", "eth0", "ib0", "docker0", "veth1a2b", "bond0", "br-7"]
    machine.plug("block/nvme0n1", "class/net/eth0", "class/net/ib0")
    machine.disks(dict.fromkeys(disks, (0, 0)))
    machine.cards(dict.fromkeys(cards, (0, 0)))
    reader = machine.reader()
    reader.read()
    machine.disks(dict.fromkeys(disks, (2, 2)))
    machine.cards(dict.fromkeys(cards, (100, 100)))
    machine.now_s += 1
    host = reader.read()
    assert (host.disk_read_bytes_per_s, host.network_rx_bytes_per_s) == (1024, 200)


def test_in_a_container_the_virtual_card_counts(machine: Machine) -> None:
    """Where no card is real, all that is not loopback, a bridge or a tunnel is the way out."""
    machine.cards({"lo": (0, 0), "eth0": (0, 0), "docker0": (0, 0)})
    reader = machine.reader()
    reader.read()
    machine.cards({"lo": (9, 9), "eth0": (100, 50), "docker0": (7, 7)})
    machine.now_s += 1
    host = reader.read()
    assert (host.network_rx_bytes_per_s, host.network_tx_bytes_per_s) == (100, 50)


def test_without_sys_disks_are_told_by_name(machine: Machine) -> None:
    """A container may hide /sys/block: whole disks are known by their names then."""
    (machine.sys / "block").rmdir()
    names = ["sda", "sda1", "nvme0n1", "nvme0n1p2", "mmcblk0", "mmcblk0p1", "dm-0", "loop3"]
    machine.disks(dict.fromkeys(names, (0, 0)))
    reader = machine.reader()
    reader.read()
    machine.disks(dict.fromkeys(names, (2, 0)))
    machine.now_s += 1
    assert reader.read().disk_read_bytes_per_s == 3 * 1024


def test_counters_that_go_back_give_nothing_once(machine: Machine) -> None:
    """A counter that wrapped, or a disk that was exchanged, makes no negative rate and no spike."""
    machine.plug("block/sda")
    reader = machine.reader()
    machine.disks({"sda": (1000, 0)})
    reader.read()
    for sectors, expected in (((10, 4), (None, 2048)), ((12, 4), (1024, 0))):
        machine.disks({"sda": sectors})
        machine.now_s += 1
        host = reader.read()
        assert (host.disk_read_bytes_per_s, host.disk_write_bytes_per_s) == expected


def test_devices_that_come_and_go_make_no_jump(machine: Machine) -> None:
    """A disk that was plugged in counts from its second reading; one that was pulled stops counting."""
    machine.plug("block/sda", "block/sdb")
    reader = machine.reader()
    reader.read()
    readings = []
    for sectors in ({"sda": (2, 0), "sdb": (9000, 0)}, {"sda": (4, 0), "sdb": (9002, 0)}, {"sda": (6, 0)}):
        machine.disks(sectors)
        machine.now_s += 1
        readings.append(reader.read().disk_read_bytes_per_s)
    assert readings == [1024, 2048, 1024]


def test_a_clock_that_stands_or_goes_back(machine: Machine) -> None:
    """No time passed means no rate; afterwards rates are right again."""
    machine.plug("block/sda")
    reader = machine.reader()
    reader.read()
    machine.disks({"sda": (2, 0)})
    assert reader.read().disk_read_bytes_per_s is None
    machine.now_s += 2
    assert reader.read().disk_read_bytes_per_s == 512
    machine.now_s -= 50
    assert reader.read().disk_read_bytes_per_s is None
    machine.disks({"sda": (4, 0)})
    machine.now_s += 1
    assert reader.read().disk_read_bytes_per_s == 1024


def test_numa_nodes(machine: Machine) -> None:
    """Each memory domain with its CPUs; a domain of memory only has none; a broken one keeps its number."""
    for number, cpus in ((10, "\n"), (2, "0-3,8-11\n")):
        folder = machine.sys / f"devices/system/node/node{number}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus)
        (folder / "meminfo").write_text(f"Node {number} MemTotal:  40 kB\nNode {number} MemFree:  30 kB\n")
    (machine.sys / "devices/system/node/node11").mkdir()
    (machine.sys / "devices/system/node/possible").write_text("0-11")
    assert machine.reader().read().numa_nodes == [
        NumaNode(node=2, cpus="0-3,8-11", memory_total_bytes=40960, memory_free_bytes=30720),
        NumaNode(node=10, memory_total_bytes=40960, memory_free_bytes=30720),
        NumaNode(node=11),
    ]


def test_a_container_that_hides_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc and /sys every reading from there is absent, and nothing is raised."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "none"))
    # psutil would look for disks in the real /sys instead, and fails in this way where that is hidden too.
    monkeypatch.setattr(psutil, "disk_io_counters", raise_not_implemented)
    reader = HostReader(proc=tmp_path / "none", sys=tmp_path / "none")
    for host in (reader.read(), reader.read()):
        unhidden = Host(cpu_count=host.cpu_count, load_1m=host.load_1m, load_5m=host.load_5m, load_15m=host.load_15m)
        assert host == unhidden


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["stat", "uptime", "meminfo", "diskstats", "net/dev"]), st.text(max_size=200))
@example("net/dev", "head\nhead\nno colon")
def test_no_text_breaks_a_reading(machine: Machine, name: str, text: str) -> None:
    """Whatever a file under /proc holds, the host is read."""
    reader = machine.reader()
    reader.read()
    kept = (machine.proc / name).read_bytes()
    (machine.proc / name).write_text(text)
    machine.now_s += 1
    try:
        assert isinstance(reader.read(), Host)
    finally:
        (machine.proc / name).write_bytes(kept)


def test_this_very_machine() -> None:
    """The real host answers with figures that can be true."""
    reader = HostReader()
    reader.read()
    host = reader.read()
    assert host.memory_total_bytes is not None
    assert host.memory_used_bytes is not None
    assert 0 < host.memory_used_bytes < host.memory_total_bytes
    assert host.cpu_pct is None or 0 <= host.cpu_pct <= 100
    assert host.cpu_count == os.cpu_count()
    assert node_name() == os.uname().nodename


def test_importing_it_does_not_load_psutil() -> None:
    """Psutil's import is paid for by the first reading, not by whoever imports the module."""
    code = "import sys, gpuwatch_agent.hardware.host; sys.exit('psutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
