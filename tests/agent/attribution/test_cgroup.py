import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.attribution.cgroup import workload_of

ID = "3f4a9c0e1b7d5826" * 4
OUTER = "a" * 64
UID = "1f2e3d4c-5b6a-7980-9a0b-1c2d3e4f5a6b"
UID_IN_SLICE = UID.replace("-", "_")

CASES = {
    "docker, v2": (f"0::/system.slice/docker-{ID}.scope\n", (ID, None, None)),
    "docker, v1": (
        f"12:memory:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n",
        (ID, None, None),
    ),
    "docker, rootless": (
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
        (ID, None, None),
    ),
    "docker, seen from a sibling namespace": (f"0::/../docker-{ID}.scope", (ID, None, None)),
    "podman": (f"0::/machine.slice/libpod-{ID}.scope/container", (ID, None, None)),
    "podman, cgroupfs": (f"0::/libpod_parent/libpod-{ID}", (ID, None, None)),
    "podman's monitor is outside": (f"0::/machine.slice/libpod-conmon-{ID}.scope", (None, None, None)),
    "nerdctl": (f"0::/system.slice/nerdctl-{ID}.scope", (ID, None, None)),
    "containerd in Kubernetes, systemd driver": (
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_IN_SLICE}.slice/cri-containerd-{ID}.scope",
        (ID, UID, None),
    ),
    "guaranteed pod": (f"0::/kubepods.slice/kubepods-pod{UID_IN_SLICE}.slice/crio-{ID}.scope", (ID, UID, None)),
    "cri-o, with a child group": (
        f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_IN_SLICE}.slice/crio-{ID}.scope/container",
        (ID, UID, None),
    ),
    "Kubernetes, cgroupfs driver": (f"4:memory:/kubepods/besteffort/pod{UID}/{ID}", (ID, UID, None)),
    "containerd under systemd with the cgroupfs driver": (
        f"0::/system.slice/containerd.service/kubepods-burstable-pod{UID_IN_SLICE}.slice:cri-containerd:{ID}",
        (ID, UID, None),
    ),
    "static pod": (f"0::/kubepods/burstable/pod{'0af1' * 8}/{ID}", (ID, "0af1" * 8, None)),
    "kind": (
        (
            f"0::/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
            f"kubelet-kubepods-besteffort-pod{UID_IN_SLICE}.slice/cri-containerd-{ID}.scope"
        ),
        (ID, UID, None),
    ),
    "docker in docker": (f"5:memory:/docker/{OUTER}/docker/{ID}", (ID, None, None)),
    "ECS": (f"3:cpu:/ecs/9f2c/{ID}", (ID, None, None)),
    "LXC": ("0::/lxc.payload.gpu-box/system.slice/ssh.service", ("gpu-box", None, None)),
    "Proxmox": ("0::/lxc/101/ns/user.slice", ("101", None, None)),
    "Slurm, v1": ("9:devices:/slurm/uid_1000/job_123/step_0/task_0\n1:name=systemd:/", (None, None, "123")),
    "Slurm, v1, several daemons": ("9:devices:/slurm_node7/uid_1000/job_124/step_batch", (None, None, "124")),
    "Slurm, v2": ("0::/system.slice/slurmstepd.scope/job_125/step_0/user/task_0", (None, None, "125")),
    "Slurm, v2, several daemons": ("0::/system.slice/node7_slurmstepd.scope/job_126/step_0/user", (None, None, "126")),
    "a login": ("0::/user.slice/user-1000.slice/session-3.scope", (None, None, None)),
    "a container's own view": ("0::/\n", (None, None, None)),
    "a job that is not Slurm's": ("0::/system.slice/job_77", (None, None, None)),
    "a hash that is too short": ("0::/docker/3f4a9c0e1b7d", (None, None, None)),
    "nothing": ("", (None, None, None)),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_names_container_pod_and_job(text: str, expected: tuple[str | None, str | None, str | None]) -> None:
    """Every runtime's way to write a control group gives its container, pod and job, the innermost of nested ones."""
    assert workload_of(text) == expected


@given(st.text() | st.from_regex(r"0::(/(kubepods|docker|pod|slurm|job_1|lxc)[-/.]?){0,8}"))
def test_no_text_breaks_it(text: str) -> None:
    """Whatever stands in a cgroup file, the answer is three values."""
    assert len(workload_of(text)) == 3
