"""PCIe and NVLink: the GPU's sums, and each link with its state, its peer and its errors."""

from gpuwatch_agent.model.gpu import Gpu, NvLinkPort
from gpuwatch_agent.model.metrics import GPU_SUBJECTS
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View
from gpuwatch_exporters.prometheus.gpus import GPU, answering, identity, specs_writer, text

PCIE_ERRORS = Family(
    name="gpuwatch_gpu_pcie_errors_total",
    kind="counter",
    help="PCIe errors since the driver was loaded, by kind.",
    labels=(*GPU, "error"),
    source="fields 173 to 183",
    path="pcie.errors",
)
LINK_UP = Family(
    name="gpuwatch_gpu_nvlink_link_up",
    help="1 where the NVLink is up, 0 where it is down.",
    labels=(*GPU, "link"),
    source="nvmlDeviceGetNvLinkState",
    path="nvlink.links[].state",
)
LINK_INFO = Family(
    name="gpuwatch_gpu_nvlink_link_info",
    help="What the NVLink is and leads to; always 1.",
    labels=(*GPU, "link", "version", "peer", "peer_type"),
    source="nvmlDeviceGetNvLinkVersion, nvmlDeviceGetNvLinkRemotePciInfo_v2, nvmlDeviceGetNvLinkRemoteDeviceType",
    path="nvlink.links[]",
)
LINK_ERRORS = Family(
    name="gpuwatch_gpu_nvlink_errors_total",
    kind="counter",
    help="Errors of the NVLink since the driver was loaded, by kind.",
    labels=(*GPU, "link", "error"),
    source="nvmlDeviceGetNvLinkErrorCounter, or fields 208 to 221",
    path="nvlink.links[].errors",
)


def _ports(gpu: Gpu) -> list[NvLinkPort]:
    return gpu.nvlink.links or [] if gpu.nvlink is not None else []


def _write_pcie_errors(view: View, page: Page) -> None:
    errors = page.of(PCIE_ERRORS)
    for gpu in answering(view):
        if gpu.pcie is not None and gpu.pcie.errors:
            mine = identity(gpu)
            for name, count in gpu.pcie.errors.items():
                errors[(*mine, name)] = count


def _write_links(view: View, page: Page) -> None:
    ups, infos, errors = page.of(LINK_UP), page.of(LINK_INFO), page.of(LINK_ERRORS)
    for gpu in answering(view):
        mine = identity(gpu)
        for port in _ports(gpu):
            link = (*mine, str(port.index))
            if port.state is not None:
                ups[link] = port.state == "up"
            infos[(*link, text(port.version), text(port.peer), text(port.peer_type))] = 1
            for name, count in (port.errors or {}).items():
                errors[(*link, name)] = count


_pcie, _write_pcie = specs_writer(GPU_SUBJECTS["pcie"])
_nvlink, _write_nvlink = specs_writer(GPU_SUBJECTS["nvlink"])

PCIE = Subject(
    name="pcie",
    help="PCIe now and at most, traffic, errors",
    families=(*_pcie, PCIE_ERRORS),
    writers=(_write_pcie, _write_pcie_errors),
)
NVLINK = Subject(name="nvlink", help="NVLinks that are up, traffic, fabric", families=_nvlink, writers=(_write_nvlink,))
NVLINK_LINKS = Subject(
    name="nvlink_links",
    help="each NVLink: state, peer, errors",
    families=(LINK_UP, LINK_INFO, LINK_ERRORS),
    writers=(_write_links,),
)
