"""Machines made up by chance: boards, how many of them, who runs there and how hard, and how warm the air is."""

import random
from collections.abc import Callable

from msgspec import Struct, structs

from gpuwatch_agent.hardware.simulated import boards, jobs, processes
from gpuwatch_agent.hardware.simulated.boards import Board
from gpuwatch_agent.hardware.simulated.jobs import Job
from gpuwatch_agent.hardware.simulated.machines import Machine
from gpuwatch_agent.hardware.simulated.processes import SimulatedProcess
from gpuwatch_agent.hardware.simulated.wiring import Links, bridged, switched

_BUS = ("1B", "43", "52", "61", "9D", "C3", "D1", "DF")
_DRIVERS = (("570.124.06", "12.8"), ("550.90.07", "12.4"), ("535.183.01", "12.2"), ("580.105.08", "13.0"))
_SWITCHES = {18: ((5, "07"), (4, "08"), (4, "09"), (5, "0A")), 12: ((6, "C4"), (6, "C5")), 6: ((3, "3D"), (3, "3F"))}


class Rack(Struct, frozen=True, kw_only=True):
    """A machine, and which of its GPUs work in step."""

    machine: Machine
    groups: tuple[tuple[int, ...], ...]
    """In the order of the machine's jobs."""
    declared: dict[str, list[int]]


def random_rack(chance: random.Random, *, board: Board | None = None, gpus: int | None = None) -> Rack:
    """A healthy machine with one job in step, or two."""
    made = board or chance.choice(
        (boards.H100, boards.H100, boards.H200, boards.A100, boards.A100, boards.V100, boards.RTX_3090, boards.RTX_4090)
    )
    consumer = bool(made.fans)
    count = gpus or (chance.randint(2, 4) if consumer else chance.randint(2, 8))
    groups = _groups(chance, count)
    links = _links(made, count)
    running: list[Job] = []
    people: list[Callable[[random.Random], list[SimulatedProcess]]] = []
    for number, group in enumerate(groups):
        job, people_of = _job(chance, made, f"job{number}", group, over_pcie=consumer)
        running.append(job)
        people.append(people_of)
    if chance.random() < 0.2:
        lonely = chance.randrange(count)
        running.append(structs.replace(jobs.embedding(lonely), shares=(chance.uniform(0.01, 0.03),)))
    driver, cuda = chance.choice(_DRIVERS)
    machine = Machine(
        description="A machine of the exam.",
        board=made,
        bus=_BUS[:count],
        numa=tuple(0 if gpu < (count + 1) // 2 else 1 for gpu in range(count)),
        pcie_switch=tuple(range(count)),
        cpus=("0-31", "32-63"),
        pcie_width=chance.choice((8, 16)) if consumer else 16,
        p2p="chipset not supported" if consumer else "ok",
        links=links,
        inlet_c=_inlets(chance, made, count),
        driver_version=driver,
        cuda_version=cuda,
        persistence_mode=not consumer,
        display_gpu=0 if consumer and chance.random() < 0.5 else None,
        jobs=tuple(running),
        processes=lambda air: [processes.init(), *(one for tree in people for one in tree(air))],
    )
    declared = {}
    if chance.random() < 0.25:
        declared = {f"declared{number}": list(group) for number, group in enumerate(groups)}
    return Rack(machine=machine, groups=groups, declared=declared)


def _groups(chance: random.Random, count: int) -> tuple[tuple[int, ...], ...]:
    """All GPUs, two halves, or some of them."""
    everybody = tuple(range(count))
    if count >= 4 and chance.random() < 0.35:
        middle = count // 2
        return everybody[:middle], everybody[middle:]
    if count >= 4 and chance.random() < 0.2:
        return (everybody[: chance.randint(2, count - 1)],)
    return (everybody,)


def _links(board: Board, count: int) -> Links:
    if not board.nvlinks:
        return ()
    if board.nvlinks in _SWITCHES:
        return switched(count, [(f"00000000:{bus}:00.0", links) for links, bus in _SWITCHES[board.nvlinks]])
    pairs = [(gpu, gpu + 1, board.nvlinks) for gpu in range(0, count - 1, 2)]
    return bridged(count, pairs)


def _inlets(chance: random.Random, board: Board, count: int) -> tuple[float, ...]:
    """Rows of boards heat each other; the room is what it is."""
    room = chance.uniform(18.0, 27.0 if board.fans else 30.0)
    return tuple(room + chance.uniform(0.0, 3.0) + (gpu % 4) * chance.uniform(0.0, 1.0) for gpu in range(count))


def _job(
    chance: random.Random, board: Board, name: str, group: tuple[int, ...], *, over_pcie: bool
) -> tuple[Job, Callable[[random.Random], list[SimulatedProcess]]]:
    """Serving or training over a group, and the processes that do it."""
    heat = chance.uniform(0.78, 1.05)
    link = chance.uniform(4e9, 30e9)
    capacity = board.memory_bytes / boards.GIB
    held = round(capacity * chance.uniform(0.45, 0.9), 1)
    place, number = chance.choice(("pod", "docker", "login")), chance.randrange(20_000, 900_000)
    serving = chance.random() < 0.65

    def who(air: random.Random) -> list[SimulatedProcess]:
        where = {"pod": processes.pod(air), "docker": processes.docker(air), "login": processes.login()}[place]
        if serving:
            return processes.vllm(
                where, pid=number, job=name, gpus=group, model="acme/large", memory_gib=held, port=8000 + number % 900
            )
        return processes.torchrun(
            where, pid=number, job=name, gpus=group, script=("train.py",), memory_gib=held, user="ada"
        )

    if serving:
        job = jobs.serving(name, group, load=chance.uniform(0.5, 0.95), tokens=2_000.0, nvlink=link, heat=heat)
    else:
        every = chance.choice((0.0, 70.0, 150.0, 400.0))
        job = structs.replace(
            jobs.training(name, group, tokens=9_000.0, nvlink=link, pcie=0.3e9, comm=chance.uniform(0.08, 0.25)),
            pause_every_s=every,
            pause_s=chance.uniform(4.0, 22.0) if every else 0.0,
            heat=0.92 * heat,
        )
    job = structs.replace(
        job,
        swing=chance.uniform(0.0, 0.3) if serving else 0.03,
        wave_s=chance.choice((45.0, 90.0, 240.0, 900.0, 2400.0)),
        noise=chance.uniform(0.01, 0.1),
        dram=job.dram * chance.uniform(0.8, 1.15),
        compute_share=chance.uniform(0.7, 0.95),
    )
    if over_pcie:
        job = structs.replace(
            job,
            nvlink_bytes_per_s=link / 8 if board.nvlinks else 0.0,
            pcie_bytes_per_s=chance.uniform(1.2e9, 5e9),
            comm_over_pcie=True,
            comm_share=chance.uniform(0.12, 0.3),
        )
    return job, who
