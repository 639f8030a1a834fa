"""The node: how fresh all this is, what runs here, and the machine around the GPUs."""

import platform
from functools import lru_cache

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import HOST_SPECS, reader
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View, family_of
from gpuwatch_exporters.prometheus.gpus import text

UP = Family(name="gpuwatch_up", help="1 where the values are fresh and the driver can be read, else 0.")
AGE = Family(
    name="gpuwatch_frame_age_seconds",
    help="Time since the newest values of any GPU were read.",
    source="the agent's clock",
)
TIMESTAMP = Family(
    name="gpuwatch_frame_timestamp_seconds",
    help="When the frame was taken.",
    source="the agent's clock",
    path="taken_at",
)
SIMULATED = Family(name="gpuwatch_simulated", help="1 where the hardware is simulated.", path="simulated")
USABLE = Family(
    name="gpuwatch_driver_usable",
    help="0 where the driver as a whole can't be read.",
    source="nvmlInit",
    path="trouble",
)
NODE = Family(
    name="gpuwatch_node_info",
    help="Name of the node and versions of its driver; always 1.",
    labels=("node", "driver_version", "cuda_version"),
    source="nvmlSystemGetDriverVersion, nvmlSystemGetCudaDriverVersion_v2",
    path="node",
)
BUILD = Family(
    name="gpuwatch_build_info", help="Versions of gpuwatch and of its Python; always 1.", labels=("version", "python")
)

_host_families = tuple(family_of(spec) for spec in HOST_SPECS)
_read_host = reader(HOST_SPECS)


@lru_cache(maxsize=1)
def _versions() -> tuple[str, str]:
    # A fifth of what a short command takes, so only when something is written.
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("gpuwatch-node")
    except PackageNotFoundError:  # run from a copy of the sources
        own = ""
    return own, platform.python_version()


def _write_node(view: View, page: Page) -> None:
    frame = view.frame
    page.of(TIMESTAMP)[()] = frame.taken_at
    page.of(SIMULATED)[()] = frame.simulated
    page.of(USABLE)[()] = frame.trouble is None
    page.of(NODE)[frame.node, text(frame.driver_version), text(frame.cuda_version)] = 1
    page.of(BUILD)[_versions()] = 1


def _write_host(view: View, page: Page) -> None:
    if view.frame.host is None:
        return
    for family, spec, value in zip(_host_families, HOST_SPECS, _read_host(view.frame.host), strict=True):
        if value is not None:
            page.of(family)[()] = round(value * spec.scale, 12) if spec.scale != 1 else value


def freshness(frame: Frame, published_age_s: float) -> Page:
    """What changes with every scrape; it is told whatever the scrape is cut down to."""
    age = values_age(frame, published_age_s)
    page = Page()
    page.of(UP)[()] = frame.trouble is None and age <= old_after_s(frame)
    page.of(AGE)[()] = round(age, 3)
    return page


def values_age(frame: Frame, published_age_s: float) -> float:
    """Seconds since anything was read of a GPU that is not lost; a frame may be new and repeat old values."""
    ages = [gpu.age_s for gpu in frame.gpus if gpu.age_s is not None and gpu.state != "lost"]
    return published_age_s + min(ages, default=0.0)


def old_after_s(frame: Frame) -> float:
    """From which age on values do not pass for fresh: a few intervals."""
    return max(5.0, 3 * frame.agent.interval_s if frame.agent is not None else 0.0)


NODE_SUBJECT = Subject(
    name="node",
    help="node, versions, time of the frame",
    families=(TIMESTAMP, SIMULATED, USABLE, NODE, BUILD),
    writers=(_write_node,),
)
HOST = Subject(
    name="host",
    help="processors, memory, disks and network of the machine",
    families=_host_families,
    writers=(_write_host,),
)
