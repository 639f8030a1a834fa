"""The views, in the order of their number keys."""

from gpuwatch.tui.views.base import View
from gpuwatch.tui.views.fabric import FabricView
from gpuwatch.tui.views.findings import FindingsView
from gpuwatch.tui.views.gpu import GpuView
from gpuwatch.tui.views.groups import GroupsView
from gpuwatch.tui.views.nodes import NodesView
from gpuwatch.tui.views.overview import Overview
from gpuwatch.tui.views.probes import ProbesView
from gpuwatch.tui.views.processes import ProcessesView

VIEWS: tuple[type[View], ...] = (
    Overview,
    GpuView,
    FabricView,
    GroupsView,
    ProcessesView,
    FindingsView,
    ProbesView,
    NodesView,
)
