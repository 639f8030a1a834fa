"""What the series of each subject say of a frame."""

from pathlib import Path

from msgspec import structs

from gpuwatch_agent.config import Config, MetricsSection
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import CollectorCost, Cost, Frame, TargetAccount, Trouble
from gpuwatch_agent.model.gpu import Gpu, Mig, MigInstance, NvLink, NvLinkPort, Pcie, Xid
from gpuwatch_agent.model.metrics import THROTTLE_REASONS
from gpuwatch_agent.model.probe import ProbeFigure, ProbeOutcome
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.prometheus.node import old_after_s, values_age
from gpuwatch_exporters.prometheus.options import Options, options_from
from support.metrics_frames import families, series, value
from support.sample_frames import blind_frame, sample_frame

GPU = Gpu(index=0, uuid="GPU-0")


def frame_with(*gpus: Gpu, findings: list[Finding] | None = None) -> Frame:
    return Frame(node="n", taken_at=1.0, simulated=False, gpus=list(gpus), findings=findings or [])


def gpu_with(**fields: object) -> Frame:
    return frame_with(structs.replace(GPU, **fields))


def finding(kind: str, severity: str, *gpus: int, since: float = 5.0) -> Finding:
    return Finding(kind=kind, severity=severity, gpus=list(gpus), since=since, summary="S.", action="A.")  # type: ignore[arg-type]  # the tests write severities as plain text


def test_each_throttle_reason_is_a_series_of_its_own() -> None:
    """All reasons are there, 0 where they do not hold the clocks, and none where the driver does not say."""
    told = {labels["reason"]: on for labels, on in series(gpu_with(throttle_reasons=["hw_thermal"]), REASON)}
    assert set(told) == set(THROTTLE_REASONS)
    assert [reason for reason, on in told.items() if on] == ["hw_thermal"]
    assert series(gpu_with(throttle_reasons=None), REASON) == []
    assert {on for _, on in series(gpu_with(throttle_reasons=[]), REASON)} == {0}


REASON = "gpuwatch_gpu_throttle_reason"


def test_each_link_has_its_state_its_peer_and_its_errors() -> None:
    """Up, down and unknown are three things; a link whose errors are not known has no error series."""
    links = [
        NvLinkPort(index=0, state="up", version="4.0", peer="0000:01", peer_type="switch", errors={"replay": 3}),
        NvLinkPort(index=1, state="down"),
        NvLinkPort(index=2),
    ]
    frame = gpu_with(nvlink=NvLink(links=links), pcie=Pcie(errors={"bad_tlp": 7}))
    ups = {labels["link"]: up for labels, up in series(frame, "gpuwatch_gpu_nvlink_link_up")}
    assert ups == {"0": 1, "1": 0}
    infos = {labels["link"]: labels for labels, _ in series(frame, "gpuwatch_gpu_nvlink_link_info")}
    assert infos["0"]["peer_type"] == "switch"
    assert infos["2"]["version"] == ""
    ((labels, errors),) = series(frame, "gpuwatch_gpu_nvlink_errors_total")
    assert (labels["link"], labels["error"], errors) == ("0", "replay", 3)
    assert value(frame, "gpuwatch_gpu_pcie_errors_total", error="bad_tlp") == 7


def test_watched_xids_start_at_zero() -> None:
    """`increase()` sees the first one; codes that nobody watches for appear when they are seen."""
    quiet = {labels["xid"]: count for labels, count in series(gpu_with(xids=[]), XIDS)}
    assert {"48", "62", "64", "74", "79", "95", "119", "120", "140", "31"} <= set(quiet)
    assert set(quiet.values()) == {0}
    seen = gpu_with(xids=[Xid(code=79, count=2, last_seen=9.0), Xid(code=9998, count=1, last_seen=8.0)])
    assert value(seen, XIDS, xid="79", severity="critical") == 2
    assert value(seen, XIDS, **{"xid": "9998", "class": "unknown"}) == 1
    assert {labels["xid"] for labels, _ in series(seen, "gpuwatch_gpu_xid_last_seen_timestamp_seconds")} == {
        "79",
        "9998",
    }


XIDS = "gpuwatch_gpu_xid_errors_total"


def test_xids_that_nobody_watches_for_are_not_zero() -> None:
    """Without a source of Xids there is no count, which is not a count of none."""
    assert series(gpu_with(xids=None), XIDS) == []


def test_a_lost_gpu_keeps_its_xids() -> None:
    """Why it is gone stands in them, and they are the agent's own counts."""
    frame = gpu_with(state="lost", power_w=300.0, xids=[Xid(code=79, count=1, last_seen=9.0)])
    assert value(frame, XIDS, xid="79") == 1
    assert series(frame, "gpuwatch_gpu_power_watts") == []


def test_page_worthy_codes_are_critical_and_a_programs_own_faults_are_not() -> None:
    """An alert can be written on the severity alone."""
    severities = {labels["xid"]: labels["severity"] for labels, _ in series(gpu_with(xids=[]), XIDS)}
    assert {severities[code] for code in ("48", "62", "64", "74", "79", "95", "119", "120", "140")} == {"critical"}
    assert {severities[code] for code in ("13", "31", "43", "45", "94")} == {"info"}


def test_the_configuration_bounds_what_is_told(tmp_path: Path) -> None:
    """[metrics], [groups] and a site's own judgement of Xids reach the exporter."""
    overrides = tmp_path / "xids.toml"
    overrides.write_text('[xid.13]\nseverity = "critical"\n', encoding="utf-8")
    options = options_from(
        Config(
            metrics=MetricsSection(processes=2, jobs=1),
            groups={"trainer": [0, 1]},
            findings={"xid": {"overrides_file": str(overrides)}},
        )
    )
    assert (options.processes_per_gpu, options.jobs_per_gpu, options.groups) == (2, 1, {"trainer": [0, 1]})
    ((labels, _),) = series(gpu_with(xids=[]), XIDS, options, xid="13")
    assert labels["severity"] == "critical"
    ((labels, _),) = series(gpu_with(xids=[]), XIDS, xid="13")
    assert labels["severity"] == "info"


def test_exactly_one_recovery_action_is_asked_for() -> None:
    """The driver's verdict as a set of switches, also one that we have no name for; none where it gives none."""
    asked = {
        labels["action"]: on for labels, on in series(gpu_with(recovery_action="reset"), "gpuwatch_gpu_recovery_action")
    }
    assert asked == {"none": 0, "reset": 1, "reboot": 0, "drain_p2p": 0, "drain_and_reset": 0}
    assert value(gpu_with(recovery_action="new"), "gpuwatch_gpu_recovery_action", action="new") == 1
    assert series(gpu_with(), "gpuwatch_gpu_recovery_action") == []


def crowd(count: int) -> list[Process]:
    return [Process(pid=pid, name="p", user=f"u{pid % 50}", memory_bytes=pid * 1000) for pid in range(1, count + 1)]


def test_only_the_largest_processes_of_a_gpu_have_series() -> None:
    """How many is a setting; the count is of all."""
    frame, options = gpu_with(processes=crowd(100)), Options(processes_per_gpu=3, jobs_per_gpu=2)
    assert {labels["pid"] for labels, _ in series(frame, "gpuwatch_process_memory_bytes", options)} == {
        "100",
        "99",
        "98",
    }
    assert len(series(frame, "gpuwatch_process_info", options)) == 3
    assert len(series(frame, "gpuwatch_gpu_job_info", options)) == 2
    assert value(frame, "gpuwatch_gpu_processes") == 100


def test_no_process_has_series_where_none_is_wanted() -> None:
    """0 leaves out processes and jobs, and the count stays."""
    names = families(gpu_with(processes=crowd(5)), Options(processes_per_gpu=0, jobs_per_gpu=0))
    assert "gpuwatch_gpu_processes" in names
    assert not [name for name in names if name.startswith(("gpuwatch_process_", "gpuwatch_gpu_job"))]


def test_a_process_says_whose_it_is() -> None:
    """User, container, pod, Slurm job, group and rank; a rank 0 is no empty rank, and what is unknown is empty."""
    mine = Process(
        pid=7, name="w", user="a", pod="p", slurm_job="12", tp_group="g", tp_rank=0, split="tensor", sm_pct=57.0
    )
    frame = gpu_with(processes=[mine])
    ((labels, one),) = series(frame, "gpuwatch_process_info")
    assert one == 1
    assert labels == {
        "gpu": "0",
        "uuid": "GPU-0",
        "pid": "7",
        "name": "w",
        "user": "a",
        "container": "",
        "pod": "p",
        "slurm_job": "12",
        "tp_group": "g",
        "tp_rank": "0",
        "split": "tensor",
    }
    assert value(frame, "gpuwatch_process_sm_ratio") == 0.57
    assert series(frame, "gpuwatch_process_memory_bytes") == []


def test_a_process_in_two_slices_is_one_series() -> None:
    """The driver lists it once for each MIG instance; its memory is the sum."""
    twice = [Process(pid=7, name="w", memory_bytes=size, gpu_instance=number) for number, size in ((1, 10), (2, 20))]
    frame = gpu_with(processes=twice)
    assert value(frame, "gpuwatch_process_memory_bytes") == 30
    assert value(frame, "gpuwatch_gpu_processes") == 1


def test_groups_name_ranks_and_a_declared_one_goes_first() -> None:
    """As the processes tell, or as the configuration does; a lost GPU has no rank."""
    ranks = [
        Gpu(
            index=index,
            uuid=f"GPU-{index}",
            processes=[Process(pid=index, tp_group="g", tp_rank=index, tp_size=4, split="tensor")],
        )
        for index in range(3)
    ]
    told = [labels for labels, _ in series(frame_with(*ranks), "gpuwatch_gpu_group_info")]
    assert [(one["gpu"], one["group"], one["rank"], one["size"]) for one in told] == [
        ("0", "g", "0", "4"),
        ("1", "g", "1", "4"),
        ("2", "g", "2", "4"),
    ]
    gone = frame_with(structs.replace(ranks[0], state="lost"), *ranks[1:])
    declared = series(gone, "gpuwatch_gpu_group_info", Options(groups={"trainer": [0, 2]}))
    assert [(one["gpu"], one["group"], one["rank"]) for one, _ in declared] == [("2", "trainer", "1")]


def test_mig_slices_have_profile_memory_and_activity() -> None:
    """What is not known of a slice has no sample."""
    instances = [
        MigInstance(index=0, uuid="MIG-a", name="NVIDIA H100 MIG 3g.40gb", memory_used_bytes=5, sm_activity_pct=50.0),
        MigInstance(index=1),
    ]
    frame = gpu_with(mig=Mig(enabled=True, instances=instances))
    profiles = {labels["mig"]: labels["profile"] for labels, _ in series(frame, "gpuwatch_gpu_mig_info")}
    assert profiles == {"0": "3g.40gb", "1": ""}
    assert value(frame, "gpuwatch_gpu_mig_memory_used_bytes") == 5
    assert value(frame, "gpuwatch_gpu_mig_sm_activity_ratio") == 0.5
    assert series(frame, "gpuwatch_gpu_mig_memory_size_bytes") == []


def test_a_finding_is_a_series_for_each_gpu_it_names() -> None:
    """One without GPUs has empty labels; two alike on one GPU are one series, since the earlier."""
    frame = frame_with(
        GPU,
        findings=[
            finding("tp_stalled", "critical", 0, 1),
            finding("xid", "info", 0, since=4.0),
            finding("xid", "info", 0, since=3.0),
            finding("mixed_hardware", "info"),
        ],
    )
    told = {(labels["kind"], labels["gpu"], labels["uuid"]) for labels, _ in series(frame, "gpuwatch_finding")}
    assert told == {
        ("tp_stalled", "0", "GPU-0"),
        ("tp_stalled", "1", ""),
        ("xid", "0", "GPU-0"),
        ("mixed_hardware", "", ""),
    }
    assert value(frame, "gpuwatch_finding_since_timestamp_seconds", kind="xid") == 3.0
    assert {labels["severity"]: count for labels, count in series(frame, "gpuwatch_findings")} == {
        "info": 3,
        "warning": 0,
        "critical": 1,
    }


def outcome(finished_at: float, **fields: object) -> ProbeOutcome:
    plain = ProbeOutcome(
        id="p1",
        kind="allreduce",
        started_at=finished_at - 9,
        finished_at=finished_at,
        gpus=[0, 1],
        ranks=2,
        backend="nccl",
        passed=True,
        verdict="As fast as it should be.",
    )
    return structs.replace(plain, **fields)


def test_probes_have_series_once_one_has_run() -> None:
    """Verdict, time and figures, each with what it belongs to; of two runs the later stands, in whatever order they come."""
    assert not [name for name in families(frame_with(GPU)) if name.startswith("gpuwatch_probe")]
    bus = ProbeFigure(name="allreduce_bus_bandwidth_bytes_per_s", value=4.8e11)
    runs = [
        outcome(200.0, figures=[bus, ProbeFigure(name="allreduce_latency_s", value=2e-5)]),
        outcome(100.0, passed=False, figures=[structs.replace(bus, value=1.0)]),
        outcome(
            300.0,
            kind="decode",
            passed=None,
            figures=[
                ProbeFigure(name="decode_tokens_per_s", value=55.0, model="llama-8b", tp=2),
                ProbeFigure(name="decode_scaling_ratio", value=0.9, model="llama-8b", tp=2),
            ],
        ),
        outcome(
            400.0,
            kind="bandwidth",
            ranks=1,
            backend=None,
            figures=[
                ProbeFigure(name="memory_bandwidth_bytes_per_s", value=3e12, gpu=0),
                ProbeFigure(name="matmul_flops", value=7e14, gpu=0),
            ],
        ),
    ]
    frame = structs.replace(frame_with(GPU), probes=runs)
    assert value(frame, "gpuwatch_probe_passed", probe="allreduce", ranks="2", backend="nccl") == 1
    assert series(frame, "gpuwatch_probe_passed", probe="decode") == [], "what only measures has no verdict"
    assert value(frame, "gpuwatch_probe_last_run_timestamp_seconds", probe="allreduce") == 200.0
    assert value(frame, "gpuwatch_probe_allreduce_bus_bandwidth_bytes_per_second", ranks="2") == 4.8e11
    assert value(frame, "gpuwatch_probe_allreduce_latency_seconds") == 2e-5
    assert value(frame, "gpuwatch_probe_decode_tokens_per_second", model="llama-8b", tp="2") == 55
    assert value(frame, "gpuwatch_probe_decode_scaling_ratio") == 0.9
    assert value(frame, "gpuwatch_probe_gpu_memory_bandwidth_bytes_per_second", gpu="0", uuid="GPU-0") == 3e12
    assert value(frame, "gpuwatch_probe_gpu_matmul_flops") == 7e14


def test_collectors_tell_their_last_success_and_missed_deadlines() -> None:
    """One that has not run has counts and no times."""
    ran = CollectorCost(
        name="power",
        tier="fast",
        runs=8,
        failures=1,
        missed_deadlines=2,
        mean_ms=1.5,
        succeeded=False,
        last_success_at=7.0,
    )
    waits = CollectorCost(name="fans", tier="medium", runs=0, failures=0, missed_deadlines=0)
    target = TargetAccount(name="https://chat", sent=4, waiting=1)
    cost = Cost(interval_s=1.0, samples=3, sample_ms=2.5, collectors=[ran, waits], notifications=[target])
    frame = structs.replace(frame_with(GPU), agent=cost)
    assert value(frame, "gpuwatch_collector_success", collector="power") == 0
    assert value(frame, "gpuwatch_collector_last_success_timestamp_seconds", collector="power") == 7.0
    assert value(frame, "gpuwatch_collector_missed_deadlines_total", collector="power") == 2
    assert value(frame, "gpuwatch_collector_duration_seconds", collector="power") == 0.0015
    assert series(frame, "gpuwatch_collector_success", collector="fans") == []
    assert value(frame, "gpuwatch_collector_runs_total", collector="fans") == 0
    assert value(frame, "gpuwatch_agent_sample_seconds") == 0.0025
    assert value(frame, "gpuwatch_notifications_sent_total", target="https://chat") == 4


def test_the_node_says_who_it_is_and_what_runs_here() -> None:
    """Names and versions; a node without a driver has empty ones and is not up."""
    ((labels, one),) = series(sample_frame(), "gpuwatch_node_info")
    assert (labels, one) == ({"node": "gpu07", "driver_version": "550.90.07", "cuda_version": "12.4"}, 1)
    ((build, _),) = series(sample_frame(), "gpuwatch_build_info")
    assert build["python"].startswith("3.")
    assert value(blind_frame(), "gpuwatch_up") == 0
    assert value(sample_frame(), "gpuwatch_up") == 1


def test_a_new_frame_with_old_values_is_not_fresh() -> None:
    """An agent whose sampler is silent goes on publishing: the age is that of the newest values in it."""
    aged = [Gpu(index=index, uuid=f"GPU-{index}", state="stale", age_s=60.0 + index) for index in range(2)]
    assert value(frame_with(*aged), "gpuwatch_up") == 0
    assert value(frame_with(*aged), "gpuwatch_frame_age_seconds") == 60
    one_answers = frame_with(aged[0], Gpu(index=1, uuid="GPU-1", age_s=0.2))
    assert value(one_answers, "gpuwatch_up") == 1
    lost = frame_with(Gpu(index=0, uuid="GPU-0", state="lost", age_s=900.0))
    assert values_age(lost, 0.1) == 0.1, "a GPU that is known to be gone does not make the frame old"


def test_how_old_is_old_follows_the_interval() -> None:
    """An agent that samples once a minute is not old after ten seconds."""
    slow = structs.replace(frame_with(GPU), agent=Cost(interval_s=60.0, samples=1))
    assert old_after_s(slow) == 180
    assert old_after_s(frame_with(GPU)) == 5


def test_trouble_is_not_up() -> None:
    """The driver can't be read: the values of before do not count."""
    frame = structs.replace(sample_frame(), trouble=Trouble(kind="driver_gone", message="M.", action="A."))
    assert value(frame, "gpuwatch_up") == 0
    assert value(frame, "gpuwatch_driver_usable") == 0
