"""The rule that everybody writes first: utilisation spread within the node, and an absolute temperature."""

from typing import Any, ClassVar

from gpuwatch_agent.detectors.base import Detector, DetectorSettings, Suspicion
from gpuwatch_agent.detectors.window import Window

SPREAD_POINTS = 35.0
DEGREES = 85.0


class NaiveImbalance:
    """More than 35 points between the busiest and the least busy GPU: the least busy one is blamed."""

    kind: ClassVar[str] = "tp_imbalance"
    settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    def detect(self, window: Window, settings: DetectorSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # the protocol's
        seen = [
            (view.gpu.utilization_pct, view.index)
            for view in window.gpus
            if view.gpu.utilization_pct is not None and view.answers
        ]
        if len(seen) < 2:
            return []
        lowest, index = min(seen)
        if max(seen)[0] - lowest <= SPREAD_POINTS:
            return []
        return [
            Suspicion(
                key=f"gpu{index}", severity="warning", gpus=[index], summary="Utilisation is uneven.", action="Look."
            )
        ]


class NaiveThermal:
    """Hotter than 85 degrees."""

    kind: ClassVar[str] = "thermal_throttle"
    settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    def detect(self, window: Window, settings: DetectorSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # the protocol's
        return [
            Suspicion(
                key=view.uuid, severity="warning", gpus=[view.index], summary="Hot, a thermal problem.", action="Look."
            )
            for view in window.gpus
            if view.answers and view.gpu.temperature_c is not None and view.gpu.temperature_c > DEGREES
        ]


NAIVE: tuple[Detector[Any], ...] = (NaiveImbalance(), NaiveThermal())
