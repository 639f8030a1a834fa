"""The views, in the order of their number keys."""

from gpuwatch.tui.views.base import View
from gpuwatch.tui.views.overview import Overview

VIEWS: tuple[type[View], ...] = (Overview,)
