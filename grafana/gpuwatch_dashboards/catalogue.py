"""The dashboards, in the order in which they are read."""

from gpuwatch_dashboards.fleet import FLEET
from gpuwatch_dashboards.health import HEALTH
from gpuwatch_dashboards.node import NODE
from gpuwatch_dashboards.panel import Board
from gpuwatch_dashboards.probes import PROBES
from gpuwatch_dashboards.tensor_parallel import TENSOR_PARALLEL

BOARDS: tuple[Board, ...] = (FLEET, NODE, TENSOR_PARALLEL, HEALTH, PROBES)
