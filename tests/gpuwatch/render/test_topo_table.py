import re
from collections.abc import Callable

import msgspec
import pytest

from gpuwatch.render.text import cells_of
from gpuwatch.render.topo_table import render_topology
from gpuwatch_agent.model.gpu import NvLink, NvLinkPort
from gpuwatch_agent.model.topology import Topology


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_matrix_as_it_was_judged_by_eye(
    named_topology: tuple[str, Topology], width: int, golden: Callable[[str, str], None]
) -> None:
    """Each sample at each width is what somebody looked at and found good."""
    name, topology = named_topology
    golden(f"topo_{name}_{width}.txt", render_topology(topology, width=width, colour=False, unicode=True))


@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_too_wide(named_topology: tuple[str, Topology], unicode: bool) -> None:
    """From 40 to 300 columns nothing is cut at the terminal's edge."""
    _, topology = named_topology
    for width in range(40, 300, 7):
        text = render_topology(topology, width=width, colour=False, unicode=unicode)
        assert all(cells_of(line) <= width for line in text.splitlines())
        assert unicode or text.isascii()


def test_every_pair_is_there_at_every_width(topologies: dict[str, Topology]) -> None:
    """Where the matrix is split into blocks, none of its 256 cells is lost."""
    for width in (40, 60, 80, 120, 200):
        text = render_topology(topologies["sixteen"], width=width, colour=False, unicode=True)
        assert len(re.findall(r"\b(NV18|X)\b", text.partition("NV#")[0])) == 256


def test_the_odd_one_out_is_signed(topologies: dict[str, Topology]) -> None:
    """A pair with fewer links, a narrow PCIe link and the link that is down each carry the sign."""
    text = render_topology(topologies["eight_one_odd"], width=200, colour=False, unicode=True)
    assert text.count("NV17▲") == 14
    assert "▲gen5 ×8 / gen5 ×16" in text
    assert "▲17/18 up" in text
    assert "▲ GPU5: NVLink 11 (to 0000:05:00.0) down" in text
    assert "GPU1: replays 12 on link 3" in text


def test_links_with_like_counts_share_a_phrase(topologies: dict[str, Topology]) -> None:
    """Eighteen links with errors are one line, not eighteen."""
    gpu = topologies["pcie_pair"].gpus[0]
    counts = {0: 4, 1: 1, 2: 1, 3: 1, 7: 4, 9: 0}
    links = [NvLinkPort(index=link, state="up", errors={"replay": count}) for link, count in counts.items()]
    worn = msgspec.structs.replace(gpu, nvlink=NvLink(active=6, total=6, links=links))
    topology = msgspec.structs.replace(topologies["one"], gpus=[worn])
    text = render_topology(topology, width=120, colour=False, unicode=True)
    assert "GPU0: replay 4 on link 0,7 and 1 on link 1-3\n" in text


def test_machines_that_mix_by_design_have_no_odd_one(topologies: dict[str, Topology]) -> None:
    """A hybrid cube mesh joins pairs in several ways, and none of these is a fault."""
    row = ["X", "NV1", "NV1", "NV2", "NV2", "SYS", "SYS", "SYS"]
    mesh = [[row[(column - line) % 8] for column in range(8)] for line in range(8)]
    topology = msgspec.structs.replace(topologies["eight"], matrix=mesh)
    assert "▲" not in render_topology(topology, width=120, colour=False, unicode=True)


def test_an_unknown_pair_is_a_dash(topologies: dict[str, Topology]) -> None:
    """What the driver does not tell is no link word."""
    topology = msgspec.structs.replace(topologies["pcie_pair"], matrix=[["X", None], [None, "X"]])
    text = render_topology(topology, width=80, colour=False, unicode=True)
    assert re.search(r"GPU0\s+X\s+–", text)
