"""The machine around the GPUs, read through psutil, /proc and /sys; what a container hides is `None`."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gpuwatch_agent.model.host import Host, NumaNode

if TYPE_CHECKING:
    from types import ModuleType

Value = TypeVar("Value")

KIB = 1024
# Only used where /sys does not tell which devices are real.
DISK_NAMES = ("sd", "vd", "xvd", "hd", "nvme", "mmcblk")
VIRTUAL_NETWORK_NAMES = (
    "lo", "veth", "docker", "br-", "virbr", "cni", "flannel", "cali", "cilium", "lxc", "tunl", "ifb", "dummy", "bond",
    "team", "vxlan", "tun", "tap", "wg", "kube-",
)  # fmt: skip


class _Bytes(NamedTuple):
    """Byte counters of one device, in and out of the machine."""

    incoming: int
    outgoing: int


class _Rates(NamedTuple):
    incoming: float | None = None
    outgoing: float | None = None


_NO_RATES = _Rates()


class _Traffic:
    """Rates from the counters of several devices that may come and go."""

    def __init__(self) -> None:
        self._previous: Mapping[str, _Bytes] | None = None
        self._read_at_s = 0.0

    def rates(self, counters: Mapping[str, _Bytes] | None, now_s: float) -> _Rates:
        """The sum over the devices that were there before; nothing where a counter went back or time did not pass."""
        previous, elapsed_s = self._previous, now_s - self._read_at_s
        if counters is None or previous is None or elapsed_s < 0:
            self._previous, self._read_at_s = counters, now_s
            return _Rates()
        if elapsed_s == 0:
            return _Rates()
        self._previous, self._read_at_s = counters, now_s
        stayed = [name for name in counters if name in previous]
        if counters and not stayed:
            return _Rates()
        return _Rates(
            _rate((counters[name].incoming - previous[name].incoming for name in stayed), elapsed_s),
            _rate((counters[name].outgoing - previous[name].outgoing for name in stayed), elapsed_s),
        )


class HostReader:
    """Reads the host once per call; percentages and rates are those since the previous call."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
    ) -> None:
        self._clock = clock
        self._proc = proc
        self._sys = sys
        self._disks = _Traffic()
        self._network = _Traffic()
        self._cpu_before: tuple[float, float] | None = None
        self._real: dict[str, bool] = {}

    def read(self, *, rates: bool = True) -> Host:
        """All there is to know of the host now; never raises.

        What is read but once has no rates, and does without psutil: importing it takes as long as all the rest.
        """
        now_s = self._clock()
        memory = _or_none(self._memory) or {}
        total, available = memory.get("MemTotal"), memory.get("MemAvailable")
        swap_total, swap_free = memory.get("SwapTotal"), memory.get("SwapFree")
        loads = _or_none(os.getloadavg) or (None, None, None)
        cpu_pct, disk, network = self._rates(now_s) if rates else (None, _NO_RATES, _NO_RATES)
        return Host(
            uptime_s=_or_none(self._uptime),
            cpu_count=os.cpu_count(),
            cpu_pct=cpu_pct,
            load_1m=loads[0],
            load_5m=loads[1],
            load_15m=loads[2],
            memory_total_bytes=total,
            memory_used_bytes=total - available if total is not None and available is not None else None,
            memory_available_bytes=available,
            swap_total_bytes=swap_total,
            swap_used_bytes=swap_total - swap_free if swap_total is not None and swap_free is not None else None,
            disk_read_bytes_per_s=disk.incoming,
            disk_write_bytes_per_s=disk.outgoing,
            network_rx_bytes_per_s=network.incoming,
            network_tx_bytes_per_s=network.outgoing,
            numa_nodes=_or_none(self._numa_nodes),
        )

    def _rates(self, now_s: float) -> tuple[float | None, "_Rates", "_Rates"]:
        import psutil

        return (
            self._cpu_pct(psutil),
            self._disks.rates(_or_none(lambda: self._disk_counters(psutil)), now_s),
            self._network.rates(_or_none(lambda: self._network_counters(psutil)), now_s),
        )

    def _uptime(self) -> float:
        return float((self._proc / "uptime").read_text().split()[0])

    def _memory(self) -> dict[str, int]:
        # psutil warns on stderr where /proc/vmstat is masked, and the file is simple.
        return _kib_fields((self._proc / "meminfo").read_text().splitlines())

    def _cpu_pct(self, psutil: "ModuleType") -> float | None:
        times = _or_none(psutil.cpu_times)
        if times is None:
            self._cpu_before = None
            return None
        # The kernel counts guests' time in user and nice already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._cpu_before = self._cpu_before, (total, idle)
        if before is None or total <= before[0]:
            return None
        busy_share: float = 1 - (idle - before[1]) / (total - before[0])
        # The kernel's iowait may step back a little, which is no work either way.
        return 100 * min(max(busy_share, 0.0), 1.0)

    def _disk_counters(self, psutil: "ModuleType") -> dict[str, _Bytes] | None:
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        chosen = {
            name: _Bytes(one.read_bytes, one.write_bytes) for name, one in disks.items() if self._is_real_disk(name)
        }
        return chosen or None

    def _network_counters(self, psutil: "ModuleType") -> dict[str, _Bytes] | None:
        cards = psutil.net_io_counters(pernic=True, nowrap=False)
        # What passes a bridge, a bond or a veth passes a card too. In a container all cards are virtual: then all count.
        real = [name for name in cards if self._exists(f"class/net/{name}/device")]
        chosen = real or [name for name in cards if not name.startswith(VIRTUAL_NETWORK_NAMES)]
        return {name: _Bytes(cards[name].bytes_recv, cards[name].bytes_sent) for name in chosen} or None

    def _is_real_disk(self, name: str) -> bool:
        """Whole disks with a device below them: partitions, loops, RAM disks and mappers would count twice."""
        real = self._real.get(name)
        if real is None:
            if self._exists("block"):
                # The kernel writes "!" for a slash in a device's name.
                real = self._exists(f"block/{name.replace('/', '!')}/device")
            else:
                real = name.startswith(DISK_NAMES) and not _is_partition(name)
            self._real[name] = real
        return real

    def _exists(self, path: str) -> bool:
        return os.path.exists(f"{self._sys}/{path}")  # noqa: PTH110 - asked for every device each time, and Path is slow

    def _numa_nodes(self) -> list[NumaNode]:
        root = f"{self._sys}/devices/system/node"
        numbers = sorted(int(name[4:]) for name in os.listdir(root) if name[:4] == "node" and name[4:].isdigit())  # noqa: PTH208 - as above
        return [_numa_node(Path(f"{root}/node{number}"), number) for number in numbers]


def node_name() -> str:
    """What this machine calls itself."""
    return os.uname().nodename


def _numa_node(folder: Path, number: int) -> NumaNode:
    cpus = _or_none((folder / "cpulist").read_text)
    # Lines read "Node 0 MemTotal:  5073100 kB".
    lines = _or_none(lambda: (folder / "meminfo").read_text().splitlines()) or []
    memory = _or_none(lambda: _kib_fields(line.split(None, 2)[2] for line in lines)) or {}
    return NumaNode(
        node=number,
        # A node of memory only, such as a GPU's own, has no CPUs.
        cpus=cpus.strip() or None if cpus is not None else None,
        memory_total_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemFree"),
    )


def _kib_fields(lines: Iterable[str]) -> dict[str, int]:
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isascii() and words[0].isdigit():
            fields[name] = int(words[0]) * KIB
    return fields


def _rate(differences: Iterable[int], elapsed_s: float) -> float | None:
    total = 0
    for difference in differences:
        if difference < 0:
            return None
        total += difference
    return total / elapsed_s


def _is_partition(name: str) -> bool:
    if name.startswith(("nvme", "mmcblk")):
        return "p" in name.removeprefix("mmcblk").removeprefix("nvme")
    return name[-1].isdigit()


def _or_none(read: Callable[[], Value]) -> Value | None:
    """A reading, or `None` where a file is hidden, cut short or written in another way."""
    try:
        return read()
    except (OSError, ValueError, LookupError, AttributeError, NotImplementedError, RuntimeError, TypeError):
        # TypeError is psutil's way to say that a line in /proc/stat has too few words.
        return None
    except AssertionError:
        # And this its way to say that a line in /proc/net/dev has no colon.
        return None
