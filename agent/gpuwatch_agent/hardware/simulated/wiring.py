"""How the GPUs of a machine are joined: NVLink by NVLink, and over PCIe."""

from collections.abc import Sequence

from msgspec import Struct


class Port(Struct, frozen=True, gc=False):
    """The other end of one NVLink: a switch by its PCI address, or a GPU and the link there."""

    switch: str | None = None
    gpu: int | None = None
    link: int | None = None


Links = tuple[tuple[Port, ...], ...]
"""The ports of each GPU, by its index."""


def switched(gpus: int, links_to_switch: Sequence[tuple[str, int]]) -> Links:
    """Every GPU has the given number of links to each switch."""
    ports = tuple(Port(switch=address) for address, count in links_to_switch for _ in range(count))
    return (ports,) * gpus


def bridged(gpus: int, pairs: Sequence[tuple[int, int, int]]) -> Links:
    """Direct links: so many between each of the pairs."""
    ports: list[list[Port]] = [[] for _ in range(gpus)]
    for one, other, count in pairs:
        for _ in range(count):
            here, there = len(ports[one]), len(ports[other])
            ports[one].append(Port(gpu=other, link=there))
            ports[other].append(Port(gpu=one, link=here))
    return tuple(tuple(own) for own in ports)


# DGX-1V: each GPU has six links, two of its four neighbours get two.
HYBRID_CUBE_MESH = (
    (0, 1, 1),
    (0, 2, 1),
    (0, 3, 2),
    (0, 4, 2),
    (1, 2, 2),
    (1, 3, 1),
    (1, 5, 2),
    (2, 3, 2),
    (2, 6, 1),
    (3, 7, 1),
    (4, 5, 1),
    (4, 6, 1),
    (4, 7, 2),
    (5, 6, 2),
    (5, 7, 1),
    (6, 7, 2),
)
