"""Every collector, in the order in which they run. A new one is a file beside this and a line in this list."""

from collections.abc import Sequence

from gpuwatch_agent.collectors.activity import ActivityCollector
from gpuwatch_agent.collectors.bar1 import Bar1Collector
from gpuwatch_agent.collectors.base import Collected, Collector
from gpuwatch_agent.collectors.clocks import ClocksCollector
from gpuwatch_agent.collectors.codecs import CodecsCollector
from gpuwatch_agent.collectors.fans import FansCollector
from gpuwatch_agent.collectors.limits import LimitsCollector
from gpuwatch_agent.collectors.memory import MemoryCollector
from gpuwatch_agent.collectors.memory_health import MemoryHealthCollector
from gpuwatch_agent.collectors.mig import MigCollector
from gpuwatch_agent.collectors.modes import ModesCollector
from gpuwatch_agent.collectors.nvlink_ports import NvLinkPortsCollector
from gpuwatch_agent.collectors.nvlink_traffic import NvLinkTrafficCollector
from gpuwatch_agent.collectors.pcie_health import PcieHealthCollector
from gpuwatch_agent.collectors.pcie_link import PcieLinkCollector
from gpuwatch_agent.collectors.pcie_traffic import PcieTrafficCollector
from gpuwatch_agent.collectors.power import PowerCollector
from gpuwatch_agent.collectors.processes import ProcessesCollector
from gpuwatch_agent.collectors.profile import ProfileCollector
from gpuwatch_agent.collectors.thermals import ThermalsCollector
from gpuwatch_agent.collectors.throttle import ThrottleCollector
from gpuwatch_agent.model.absence import Absence

COLLECTORS: tuple[type[Collector], ...] = (
    ActivityCollector,
    MemoryCollector,
    PowerCollector,
    ThermalsCollector,
    ClocksCollector,
    ThrottleCollector,
    PcieTrafficCollector,
    NvLinkTrafficCollector,
    ProfileCollector,
    ProcessesCollector,
    PcieLinkCollector,
    FansCollector,
    CodecsCollector,
    LimitsCollector,
    NvLinkPortsCollector,
    MemoryHealthCollector,
    PcieHealthCollector,
    ModesCollector,
    MigCollector,
    Bar1Collector,
)

COLLECTOR_NAMES: tuple[str, ...] = tuple(kind.name for kind in COLLECTORS)


def make_collectors(disabled: Sequence[str] = ()) -> list[Collector]:
    """A fresh set for one GPU."""
    return [kind() for kind in COLLECTORS if kind.name not in disabled]


def left_out(disabled: Sequence[str]) -> dict[str, Collected]:
    """What the collectors that were switched off leave absent, by their names."""
    return {
        kind.name: Collected(absent=dict.fromkeys(kind.fields, Absence.LEFT_OUT))
        for kind in COLLECTORS
        if kind.name in disabled
    }
