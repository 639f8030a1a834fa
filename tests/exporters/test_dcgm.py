"""A frame as dcgm-exporter would tell it."""

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, Mig, MigInstance, NvLink, NvLinkPort, RetiredPages, Xid
from gpuwatch_agent.model.metrics import SPECS
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.dcgm import XID_WINDOW_S, HostLabel, XidWindow, dcgm_dialect
from gpuwatch_exporters.dcgm_fields import FIELDS
from gpuwatch_exporters.prometheus.exposition import Dialect
from gpuwatch_exporters.prometheus.render import render
from support.dcgm_document import MARK, describe_fields
from support.programs import needs
from support.simulated_node import read_simulated

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "dcgm.md"
COUNTERS = Path(__file__).parent / "dcgm_default_counters.csv"
UNKNOWN_TO_US = {"DCGM_FI_DEV_VGPU_LICENSE_STATUS"}
GIB = 1 << 30


@pytest.fixture(scope="module")
def h100s() -> Frame:
    """Eight busy boards; Xids are watched and none has come."""
    read, _ = read_simulated("dgx-h100-8", after_s=8.0)
    return structs.replace(read, gpus=[structs.replace(gpu, xids=[]) for gpu in read.gpus])


def text_of(frame: Frame, host_label: HostLabel = "Hostname", dialect: Dialect | None = None) -> str:
    return render(frame, dialect=dialect if dialect is not None else dcgm_dialect(host_label))[0].decode()


Series = dict[str, list[tuple[dict[str, str], float]]]


def series_of(text: str) -> Series:
    """Labels and values by the name in the text; the library's parser adds `_total` to the names of counters."""
    found: Series = {}
    for family in read_text(text):
        for sample in family.samples:
            found.setdefault(sample.name.removesuffix("_total"), []).append((sample.labels, sample.value))
    return found


def one(gpu: Gpu, name: str) -> float | None:
    """The only sample of that name for a node with this GPU alone."""
    frame = Frame(node="node07", taken_at=1000.0, simulated=False, gpus=[gpu])
    found = series_of(text_of(frame)).get(name, [])
    assert len(found) <= 1
    return found[0][1] if found else None


def rounded(text: str) -> str:
    """Values to six digits: the last ones of a simulated sensor depend on the system's mathematics."""
    return re.sub(r"(?m)^([^#].* )(\S+)$", lambda line: f"{line[1]}{float(line[2]):.6g}", text)


def heads(lines: Iterable[str], word: str) -> dict[str, str]:
    """What stands behind `# HELP` or `# TYPE`, by name."""
    marked = [line.split(" ", 3) for line in lines if line.startswith(f"# {word} ")]
    return {name: rest for _, _, name, rest in marked}


@pytest.mark.golden
@pytest.mark.parametrize("machine", ["dgx-h100-8", "h100-mig"])
def test_the_whole_output_is_the_golden_file(machine: str) -> None:
    """Names, HELP, types, labels, order and values are those that were looked at."""
    frame, _ = read_simulated(machine, after_s=8.0)
    golden = GOLDEN / f"dcgm_{machine}.txt"
    text = rounded(text_of(structs.replace(frame, gpus=frame.gpus[:2])))
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if that is meant, run `make golden` and look at it"


@pytest.mark.golden
def test_the_documentation_is_in_step() -> None:
    """The tables of docs/dcgm.md are what the declarations say."""
    written = DOCUMENT.read_text(encoding="utf-8")
    expected = f"{written.partition(MARK)[0]}{MARK}{describe_fields()}"
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        DOCUMENT.write_text(expected, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == expected, "`make golden` writes it"


def test_the_default_set_of_dcgm_exporter_is_there_with_its_types_and_help(h100s: Frame) -> None:
    """Every counter that dcgm-exporter exports by default, word for word, but for what no frame knows."""
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(COUNTERS.read_text(encoding="utf-8").splitlines(), skipinitialspace=True)
        if row and not row[0].startswith("#")
    ]
    lines = text_of(h100s).splitlines()
    types, helps = heads(lines, "TYPE"), heads(lines, "HELP")
    wanted = {name: (kind, ",".join(rest)) for name, kind, *rest in rows if kind != "label"}
    assert len(wanted) == 25
    for name, (kind, words) in wanted.items():
        if name not in UNKNOWN_TO_US:
            assert (types[name], helps[name]) == (kind, words)
    assert list(FIELDS["default"]) == sorted(FIELDS["default"], key=lambda field: list(wanted).index(field.name)), (
        "DCGM's order"
    )


def test_every_field_is_declared_once_and_reads_something_declared() -> None:
    """The table has no name twice, and each plain one is a metric of the model."""
    fields = [field for subject in FIELDS.values() for field in subject]
    assert len({field.name for field in fields}) == len(fields)
    for field in fields:
        assert (field.derive is None) == (field.path in SPECS), field.name


def test_units_are_dcgms() -> None:
    """MiB, percent, milli-joules, nanoseconds and ratios, from bytes, joules, seconds and percentages."""
    gpu = Gpu(
        index=3,
        uuid="GPU-3",
        memory_total_bytes=80 * GIB,
        memory_used_bytes=30 * GIB,
        memory_reserved_bytes=GIB // 2,
        energy_j=1234.567,
        utilization_pct=97.0,
        tensor_activity_pct=27.7,
        power_w=593.628,
        throttle_seconds={"sw_power_cap": 1.5, "sw_thermal": 0.25, "hw_thermal": 0.5},
        throttle_reasons=["sw_power_cap", "hw_thermal"],
        nvlink=NvLink(tx_bytes_per_s=1_024_000.0, rx_bytes_per_s=2_048_000.0),
    )
    assert one(gpu, "DCGM_FI_DEV_FB_USED") == 30 * 1024
    assert one(gpu, "DCGM_FI_DEV_FB_RESERVED") == 512
    assert one(gpu, "DCGM_FI_DEV_FB_FREE") == 80 * 1024 - 30 * 1024 - 512
    assert one(gpu, "DCGM_FI_DEV_FB_USED_PERCENT") == pytest.approx(30 / 79.5, abs=1e-6)
    assert one(gpu, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION") == 1_234_567
    assert one(gpu, "DCGM_FI_DEV_GPU_UTIL") == 97
    assert one(gpu, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE") == 0.277
    assert one(gpu, "DCGM_FI_DEV_POWER_USAGE") == 593.628
    assert one(gpu, "DCGM_FI_DEV_POWER_VIOLATION") == 1_500_000_000
    assert one(gpu, "DCGM_FI_DEV_THERMAL_VIOLATION") == 750_000_000
    assert one(gpu, "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS") == 0x4 | 0x40
    assert one(gpu, "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL") == 3


def test_what_a_frame_does_not_know_has_no_sample() -> None:
    """A bare GPU has nothing at all, and a measured 0 is a 0."""
    assert text_of(Frame(node="n", taken_at=0.0, simulated=False, gpus=[Gpu(index=0, uuid="GPU-0")])) == ""
    zeros = Gpu(
        index=0,
        uuid="GPU-0",
        utilization_pct=0.0,
        throttle_reasons=[],
        retired_pages=RetiredPages(single_bit=0, pending=False),
        nvlink=NvLink(links=[NvLinkPort(index=0, errors={"replay": 0}), NvLinkPort(index=1)]),
    )
    frame = Frame(node="n", taken_at=0.0, simulated=False, gpus=[zeros])
    assert {name: rows[0][1] for name, rows in series_of(text_of(frame)).items()} == dict.fromkeys(
        (
            "DCGM_FI_DEV_GPU_UTIL",
            "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
            "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
            "DCGM_FI_DEV_RETIRED_SBE",
            "DCGM_FI_DEV_RETIRED_PENDING",
            "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
        ),
        0.0,
    )


def test_used_memory_of_old_drivers_holds_what_is_reserved() -> None:
    """Where reserved memory is not told apart, free is what is left of the total."""
    gpu = Gpu(index=0, uuid="GPU-0", memory_total_bytes=16 * GIB, memory_used_bytes=GIB)
    assert one(gpu, "DCGM_FI_DEV_FB_FREE") == 15 * 1024
    assert one(gpu, "DCGM_FI_DEV_FB_RESERVED") is None


def test_a_gpu_without_fresh_values_has_no_series() -> None:
    """Stale and lost GPUs are silent, as with DCGM; old values would pass for fresh."""
    frame, _ = read_simulated("dgx-h100-8+hang@3~5+lost@6~5", after_s=8.0)
    told = {labels["gpu"] for rows in series_of(text_of(frame)).values() for labels, _ in rows}
    assert told == {"0", "1", "2", "4", "5", "7"}


def test_labels_are_dcgms(h100s: Frame) -> None:
    """Identity, host and driver on each series; no MIG labels on a GPU that is whole."""
    gpu = h100s.gpus[1]
    worker = (gpu.processes or [])[0]
    alone = structs.replace(h100s, gpus=[structs.replace(gpu, processes=[worker])])
    ((labels, _),) = series_of(text_of(alone))["DCGM_FI_DEV_GPU_TEMP"]
    assert worker.pod
    assert labels.pop("pod_uid") == worker.pod
    assert labels == {
        "gpu": "1",
        "UUID": gpu.uuid,
        "pci_bus_id": gpu.pci_bus_id,
        "device": "nvidia1",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": "node07",
        "DCGM_FI_DRIVER_VERSION": "570.124.06",
    }


@pytest.mark.parametrize(
    ("host_label", "names"),
    [("Hostname", {"Hostname"}), ("hostname", {"hostname"}), ("both", {"Hostname", "hostname"})],
)
def test_the_host_is_named_as_configured(h100s: Frame, host_label: HostLabel, names: set[str]) -> None:
    """As dcgm-exporter up to 4.5 has it, as it has it since, or both for the time between."""
    for rows in series_of(text_of(h100s, host_label)).values():
        for labels, _ in rows:
            assert {name: labels[name] for name in labels if name.lower() == "hostname"} == dict.fromkeys(
                names, "node07"
            )


def test_slices_have_their_own_memory_and_the_board_its_power() -> None:
    """On a divided GPU memory and SM activity are told by slice, the rest once: sums stay true."""
    frame, _ = read_simulated("h100-mig", after_s=8.0)
    found = series_of(text_of(frame))
    for name in ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_PROF_SM_ACTIVE"):
        assert [(labels["GPU_I_PROFILE"], labels["GPU_I_ID"]) for labels, _ in found[name]] == [
            ("3g.40gb", "2"),
            ("2g.20gb", "5"),
            ("1g.10gb", "13"),
        ]
    (power,) = found["DCGM_FI_DEV_POWER_USAGE"]
    assert "GPU_I_ID" not in power[0]
    assert [labels.get("pod_uid") for labels, _ in found["DCGM_FI_DEV_FB_USED"]] == [
        "64d28abe-38a4-2eff-91d3-7119b1e1e966",
        "03bf8c15-8da8-6da4-b842-361a8f52196d",
        None,
    ]
    assert "DCGM_FI_DEV_GPU_UTIL" not in found


def test_compute_instances_of_one_gpu_instance_are_one_series() -> None:
    """They share its memory: told twice it would be counted twice."""
    parts = [
        MigInstance(
            index=index,
            name=f"NVIDIA H100 MIG {size}c.3g.40gb",
            gpu_instance=1,
            compute_instance=index,
            memory_used_bytes=GIB,
            memory_total_bytes=40 * GIB,
        )
        for index, size in enumerate((1, 2))
    ]
    frame = Frame(
        node="n",
        taken_at=0.0,
        simulated=False,
        gpus=[Gpu(index=0, uuid="GPU-0", mig=Mig(enabled=True, instances=parts))],
    )
    ((labels, value),) = series_of(text_of(frame))["DCGM_FI_DEV_FB_USED"]
    assert (labels["GPU_I_PROFILE"], value) == ("3g.40gb", 1024)


@pytest.mark.parametrize(("jobs", "told"), [(["17", "17", None], "17"), (["17", "18"], None), ([None], None)])
def test_a_job_is_named_where_all_agree(jobs: list[str | None], told: str | None) -> None:
    """One job on the GPU is its `hpc_job`; two share it, and no series is written twice for that."""
    processes = [Process(pid=pid, slurm_job=job) for pid, job in enumerate(jobs)]
    gpu = Gpu(index=0, uuid="GPU-0", power_w=1.0, processes=processes)
    frame = Frame(node="n", taken_at=0.0, simulated=False, gpus=[gpu])
    ((labels, _),) = series_of(text_of(frame))["DCGM_FI_DEV_POWER_USAGE"]
    assert labels.get("hpc_job") == told


def test_names_that_play_tricks_are_escaped(h100s: Frame) -> None:
    """Quotes, backslashes and line ends in a board's name come back as they were."""
    name = 'H100 "80\\GB"\nHBM3 ✓'
    odd = structs.replace(h100s, gpus=[structs.replace(h100s.gpus[0], name=name)])
    assert series_of(text_of(odd))["DCGM_FI_DEV_GPU_TEMP"][0][0]["modelName"] == name


def test_the_text_format_is_given_to_whoever_asks(h100s: Frame) -> None:
    """OpenMetrics does not allow counters with such names, so it is never used here."""
    body, content_type = render(h100s, "application/openmetrics-text; version=1.0.0", dialect=dcgm_dialect())
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in body


def xids(*seen: tuple[int, int, float], uuid: str = "GPU-0") -> Gpu:
    """A GPU with code, count and time of its Xids."""
    listed = [Xid(code=code, count=count, last_seen=at) for code, count, at in seen]
    return Gpu(index=0, uuid=uuid, xids=listed)


def test_the_last_xid_is_a_code() -> None:
    """DCGM's gauge holds the code that came last, 0 where none has; not watched, there is no sample."""
    assert one(xids((31, 9, 50.0), (79, 1, 60.0), (13, 2, 10.0)), "DCGM_FI_DEV_XID_ERRORS") == 79
    assert one(xids(), "DCGM_FI_DEV_XID_ERRORS") == 0
    assert one(Gpu(index=0, uuid="GPU-0"), "DCGM_FI_DEV_XID_ERRORS") is None
    frame = Frame(node="n", taken_at=0.0, simulated=False, gpus=[xids((79, 1, 60.0))])
    ((labels, _),) = series_of(text_of(frame))["DCGM_FI_DEV_XID_ERRORS"]
    assert labels["err_code"] == "79"
    assert labels["err_msg"]


def test_xids_are_counted_over_five_minutes() -> None:
    """The count falls again once they are older than the window, and other GPUs are another matter."""
    window = XidWindow(300.0)
    assert window.counted(xids(), 0.0) == {}
    assert window.counted(xids((31, 2, 90.0)), 100.0) == {31: 2}
    assert window.counted(xids((31, 5, 200.0)), 210.0) == {31: 5}
    assert window.counted(xids((31, 5, 200.0)), 391.0) == {31: 3}, "the first two are too old"
    assert window.counted(xids((31, 5, 200.0)), 501.0) == {}
    assert window.counted(xids((31, 6, 900.0), uuid="GPU-1"), 901.0) == {31: 1}


def test_xids_from_before_the_first_scrape_are_not_dated_by_guess() -> None:
    """Of many seen before anybody looked only the last one's time is known."""
    assert XidWindow(300.0).counted(xids((31, 40, 990.0)), 1000.0) == {31: 1}
    assert XidWindow(300.0).counted(xids((31, 40, 600.0)), 1000.0) == {}


def test_the_count_of_xids_has_dcgms_labels() -> None:
    """Code and window; a 0 without a code says that they are watched."""
    dialect = dcgm_dialect()
    frame = Frame(node="n", taken_at=1000.0, simulated=False, gpus=[xids()])
    ((labels, value),) = series_of(text_of(frame, dialect=dialect))["DCGM_EXP_XID_ERRORS_COUNT"]
    assert (labels["window_size_in_ms"], labels.get("xid"), value) == (f"{XID_WINDOW_S * 1000:.0f}", None, 0)
    later = structs.replace(frame, taken_at=1010.0, gpus=[xids((79, 1, 1005.0), (31, 3, 1006.0))])
    rows = series_of(text_of(later, dialect=dialect))["DCGM_EXP_XID_ERRORS_COUNT"]
    assert {labels["xid"]: value for labels, value in rows} == {"79": 1, "31": 3}


def test_promtool_finds_fault_with_dcgms_names_only(h100s: Frame) -> None:
    """It reads all of it; what it dislikes are names that are DCGM's, not ours to mend."""
    needs("promtool")
    promtool = shutil.which("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text_of(h100s), capture_output=True, text=True, check=False, timeout=30
    )
    said = (done.stdout + done.stderr).splitlines()
    assert {line.partition(" ")[2] for line in said} == {
        "label names should be written in 'snake_case' not 'camelCase'",
        'counter metrics should have "_total" suffix',
        "metric name should not include type 'counter'",
        "metric names should not contain abbreviated units",
    }
