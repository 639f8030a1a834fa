"""Ranks that launchers hand to their processes in environment variables."""

from collections.abc import Mapping
from typing import NamedTuple


class EnvironmentRank(NamedTuple):
    """A process's place among the processes that were launched together."""

    rank: int
    world_size: int
    master: str
    """Where the ranks meet: together with the world size it tells jobs of one parent apart."""
    variables: str
    """The evidence, as it stood in the environment."""
    launcher: str


_SOURCES = (
    ("RANK", "WORLD_SIZE", "distributed"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpi"),
    ("SLURM_PROCID", "SLURM_NTASKS", "slurm"),
)


def rank_in(environ: Mapping[str, str] | None) -> EnvironmentRank | None:
    """The rank in an environment; a world of one is no group, and a rank outside of its world is no rank."""
    if not environ:
        return None
    for rank_name, size_name, launcher in _SOURCES:
        rank, world_size = whole_number(environ.get(rank_name)), whole_number(environ.get(size_name))
        if rank is None or world_size is None:
            continue
        if not 0 <= rank < world_size or world_size == 1:
            return None
        master = ":".join(environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
        if launcher == "slurm":
            master = ".".join(environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        said = f"{rank_name}={rank} {size_name}={world_size}"
        return EnvironmentRank(rank, world_size, master, said, launcher)
    return None


def whole_number(text: str | None) -> int | None:
    """A number as people write sizes and ranks; anything else is `None`."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 6:
        return None
    return int(text)
