"""Who works on the GPUs: the largest processes, the jobs they belong to, and groups that work in step.

Processes come and go, and each that ever was is a series for as long as Prometheus keeps it: so only the largest of
each GPU are told, and how many is a setting.
"""

from heapq import nlargest
from operator import attrgetter

from gpuwatch_agent.detectors.groups import groups_of
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View
from gpuwatch_exporters.prometheus.gpus import GPU, answering, identity, text

_WHOSE = ("user", "container", "pod", "slurm_job", "split")
_whose = attrgetter(*_WHOSE)
_WHO = ("user", "container", "pod", "slurm_job", "tp_group", "tp_rank", "split")
_who = attrgetter(*_WHO)
_LIST = "nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetGraphicsRunningProcesses_v3"
_PROC = "/proc of the process"

COUNT = Family(
    name="gpuwatch_gpu_processes",
    help="Processes that hold a context on the GPU, also those that have no series of their own.",
    labels=GPU,
    source=_LIST,
    path="processes",
)
INFO = Family(
    name="gpuwatch_process_info",
    help="Whose the process is; always 1. The largest by memory of each GPU.",
    labels=(*GPU, "pid", "name", *_WHO),
    source=_PROC,
    path="processes[]",
)
MEMORY = Family(
    name="gpuwatch_process_memory_bytes",
    help="GPU memory the process holds.",
    labels=(*GPU, "pid", "name"),
    source=_LIST,
    path="processes[].memory_bytes",
)
SM = Family(
    name="gpuwatch_process_sm_ratio",
    help="Share of time the process kept streaming multiprocessors busy.",
    labels=(*GPU, "pid", "name"),
    source="nvmlDeviceGetProcessUtilization",
    path="processes[].sm_pct",
)
JOB = Family(
    name="gpuwatch_gpu_job_info",
    help="Who works on the GPU, one for each job; always 1.",
    labels=(*GPU, *_WHOSE),
    source=_PROC,
    path="processes[]",
)
GROUP = Family(
    name="gpuwatch_gpu_group_info",
    help="The GPU's rank in a group that shares one job; always 1.",
    labels=(*GPU, "group", "rank", "size", "split"),
    source="the configuration, else the processes' titles, commands and environment",
    path="processes[].tp_group",
)


def _size(process: Process) -> int:
    return process.memory_bytes or 0


def _largest(processes: list[Process], most: int) -> list[Process]:
    return nlargest(most, processes, key=_size) if len(processes) > most else sorted(processes, key=_size, reverse=True)


def _write_processes(view: View, page: Page) -> None:
    counts, infos, memory, sm = (page.of(family) for family in (COUNT, INFO, MEMORY, SM))
    for gpu in answering(view):
        if gpu.processes is None:
            continue
        mine = identity(gpu)
        counts[mine] = len({process.pid for process in gpu.processes})
        for process in _largest(gpu.processes, view.options.processes_per_gpu):
            one = (*mine, str(process.pid), text(process.name))
            infos[(*one, *map(text, _who(process)))] = 1
            # One process in several slices of a GPU is listed once for each.
            if process.memory_bytes is not None:
                memory[one] = memory.get(one, 0) + process.memory_bytes
            if process.sm_pct is not None:
                sm[one] = round(sm.get(one, 0) + process.sm_pct * 0.01, 12)


def _write_jobs(view: View, page: Page) -> None:
    jobs = page.of(JOB)
    for gpu in answering(view):
        mine = identity(gpu)
        for whose in _jobs_of(gpu, view.options.jobs_per_gpu):
            jobs[mine + whose] = 1


def _jobs_of(gpu: Gpu, most: int) -> list[tuple[str, ...]]:
    """The jobs that hold most memory of the GPU."""
    held: dict[tuple[str | None, ...], int] = {}
    for process in gpu.processes or ():
        whose = _whose(process)
        held[whose] = held.get(whose, 0) + (process.memory_bytes or 0)
    named = [whose for whose in held if any(whose)]
    return [tuple(map(text, whose)) for whose in nlargest(most, named, key=lambda whose: held[whose])]


def _write_groups(view: View, page: Page) -> None:
    ranks = page.of(GROUP)
    there = {gpu.uuid for gpu in view.frame.gpus if gpu.state == "ok"}
    for group in groups_of(view.frame.gpus, view.options.groups):
        size = text(group.size)
        for index, uuid, rank in zip(group.indices, group.uuids, group.ranks, strict=True):
            if uuid in there:
                ranks[str(index), uuid, group.id, text(rank), size, group.split] = 1


PROCESSES = Subject(
    name="processes",
    help="the largest processes of each GPU",
    families=(COUNT, INFO, MEMORY, SM),
    writers=(_write_processes,),
)
JOBS = Subject(
    name="jobs",
    help="who works on each GPU, and its rank in a group",
    families=(JOB, GROUP),
    writers=(_write_jobs, _write_groups),
)
