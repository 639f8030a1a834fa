"""Which container, pod and Slurm job a control group belongs to."""

import re
from functools import lru_cache
from typing import NamedTuple

_ID = r"[0-9a-f]{64}"
_UID = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"

# docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope, libpod-ID.scope, …:cri-containerd:ID, and the bare ID that
# cgroupfs drivers use. `crio-conmon-` and `libpod-conmon-` are monitors outside the container and do not match.
_CONTAINER = re.compile(
    rf"(?:^|[/:])(?:(?:docker|cri-containerd|containerd|nerdctl|crio|libpod)[-:])?({_ID})(?:\.scope)?(?=/|$)"
)
_LXC = re.compile(r"/lxc(?:\.payload\.|/)([\w.@-]+)")
_POD = re.compile(rf"[-/]pod({_UID})(?=\.slice|/|:|$)")
_SLURM = re.compile(r"(?:^|/)(?:slurm[^/]*|[^/]*slurmstepd\.scope)(?:/uid_\d+)?/job_(\d+)(?=/|$)")


class Workload(NamedTuple):
    """What a control group's path tells of who runs in it."""

    container_id: str | None = None
    pod_uid: str | None = None
    slurm_job: str | None = None


@lru_cache(maxsize=2048)
def workload_of(cgroup_text: str) -> Workload:
    """Container, pod and Slurm job of a /proc/PID/cgroup, v1 or v2; of nested ones the innermost."""
    container = pod = job = None
    for line in cgroup_text.splitlines():
        path = line.split(":", 2)[-1]
        container = container or _innermost(_CONTAINER, path) or _innermost(_LXC, path)
        if "kubepods" in path:
            pod = pod or _innermost(_POD, path)
        job = job or _innermost(_SLURM, path)
    return Workload(container, _dashed(pod) if pod else None, job)


def _innermost(pattern: re.Pattern[str], path: str) -> str | None:
    matches: list[str] = pattern.findall(path)
    return matches[-1] if matches else None


def _dashed(pod_uid: str) -> str:
    """Slices of systemd can't hold dashes, so the uid has underscores there."""
    return pod_uid.replace("_", "-")
