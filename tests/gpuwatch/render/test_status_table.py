import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuwatch.render.status_table import render_status
from gpuwatch.render.text import cells_of
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.gpu import Ecc, Gpu, Mig, MigInstance, NvLink, NvLinkPort, Pcie, RemappedRows
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.process import Process

SGR = re.compile(r"\x1b\[[0-9;]*m")

texts = st.text(st.characters(), max_size=30)
floats = st.none() | st.floats(-1e6, 1e18)
counts = st.none() | st.integers(0, 2**63)


def structs(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Instances with any of these fields left at its default."""
    required = {name: fields.pop(name) for name in [*fields] if name in REQUIRED.get(kind, ())}
    return st.fixed_dictionaries(required, optional=fields).map(lambda values: kind(**values))


REQUIRED: dict[type[Any], tuple[str, ...]] = {
    Process: ("pid",),
    NvLinkPort: ("index",),
    MigInstance: ("index",),
    Mig: ("enabled",),
}

processes = structs(
    Process,
    pid=st.integers(0, 2**31),
    user=st.none() | texts,
    name=st.none() | texts,
    command=st.none() | texts,
    memory_bytes=counts,
    sm_pct=floats,
    pod=texts,
    slurm_job=texts,
    tp_rank=counts,
    tp_size=counts,
    split=texts,
    gpu_instance=st.integers(0, 3),
    visible=st.booleans(),
)
ports = structs(NvLinkPort, index=st.integers(0, 40), state=st.sampled_from(["up", "down", None]))
instances = structs(
    MigInstance, index=st.integers(0, 9), name=texts, gpu_instance=st.integers(0, 3), memory_used_bytes=counts,
    memory_total_bytes=counts, sm_activity_pct=floats,
)  # fmt: skip
readings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"uuid": texts},
    optional={
        "name": st.none() | texts,
        "state": st.sampled_from(["ok", "stale", "lost"]),
        "problem": st.none() | texts,
        "age_s": floats,
        "utilization_pct": floats,
        "memory_used_bytes": counts,
        "memory_total_bytes": counts,
        "power_w": floats,
        "power_limit_w": floats,
        "power_limit_default_w": floats,
        "temperature_c": floats,
        "temperature_slowdown_c": floats,
        "temperature_margin_c": floats,
        "fan_pct": floats,
        "sm_clock_mhz": counts,
        "pstate": counts,
        "throttle_reasons": st.none()
        | st.lists(st.sampled_from(["idle", "hw_slowdown", "hw_thermal", "sw_power_cap"]) | texts, max_size=4),
        "sm_activity_pct": floats,
        "pcie": st.none()
        | structs(Pcie, gen=counts, width=counts, width_max=counts, tx_bytes_per_s=floats, rx_bytes_per_s=floats),
        "nvlink": st.none()
        | structs(NvLink, active=counts, total=counts, links=st.none() | st.lists(ports, max_size=4)),
        "ecc": st.none() | structs(Ecc, corrected=counts, uncorrected=counts, uncorrected_volatile=counts),
        "remapped_rows": structs(RemappedRows, pending=st.booleans(), failed=st.booleans()),
        "recovery_action": st.none() | texts,
        "mig": structs(Mig, enabled=st.booleans(), pending=st.booleans(), instances=st.lists(instances, max_size=3)),
        "processes": st.none() | st.lists(processes, max_size=4),
        "absent": st.dictionaries(st.sampled_from(["power_w", "processes", "sm_clock_mhz"]), st.sampled_from(Absence)),
    },
)
findings = st.builds(
    Finding, kind=texts, severity=st.sampled_from(["info", "warning", "critical"]), gpus=st.lists(st.integers(0, 20), max_size=3),
    since=st.just(0.0), summary=texts, action=texts,
)  # fmt: skip
any_frame = st.builds(
    Frame,
    node=texts,
    taken_at=st.floats(0, 4e9),
    simulated=st.booleans(),
    driver_version=st.none() | texts,
    host=st.none()
    | structs(
        Host,
        uptime_s=floats,
        cpu_pct=floats,
        load_1m=floats,
        memory_used_bytes=counts,
        memory_total_bytes=counts,
        network_rx_bytes_per_s=floats,
    ),
    gpus=st.lists(readings, max_size=5).map(lambda many: [Gpu(index=index, **one) for index, one in enumerate(many)]),
    findings=st.lists(findings, max_size=2),
    trouble=st.none() | st.builds(Trouble, kind=texts, message=texts, action=texts),
)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_as_it_was_judged_by_eye(
    named_frame: tuple[str, Frame], width: int, golden: Callable[[str, str], None]
) -> None:
    """Each sample at each width is what somebody looked at and found good."""
    name, frame = named_frame
    golden(f"status_{name}_{width}.txt", render_status(frame, width=width, colour=False, unicode=True))


def test_the_table_in_ascii(named_frame: tuple[str, Frame], golden: Callable[[str, str], None]) -> None:
    """Without UTF-8 nothing but ASCII is printed, and the columns stay where they were."""
    name, frame = named_frame
    text = render_status(frame, width=80, colour=False, unicode=False)
    assert text.isascii()
    golden(f"status_{name}_ascii.txt", text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=any_frame, width=st.integers(40, 300), colour=st.booleans(), unicode=st.booleans())
def test_whatever_comes_no_line_is_too_wide_and_nothing_controls_the_terminal(
    frame: Frame, width: int, colour: bool, unicode: bool
) -> None:
    """Any frame at any width: no crash, no line past the edge, no escape but our own colours."""
    text = render_status(frame, width=width, colour=colour, unicode=unicode, processes=None)
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        plain = SGR.sub("", line) if colour else line
        assert cells_of(plain) <= width, line
        assert plain.isprintable(), repr(plain)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=any_frame, height=st.integers(3, 40))
def test_a_low_terminal_is_never_overrun(frame: Frame, height: int) -> None:
    """With a height given there are at most so many lines, however many processes and findings there are."""
    text = render_status(frame, width=80, colour=False, unicode=True, processes=None, height=height)
    assert len(text.splitlines()) <= height


def test_colours_change_nothing_but_colours(named_frame: tuple[str, Frame]) -> None:
    """The plain text is the coloured one without its escapes, so no meaning hangs on colour alone."""
    _, frame = named_frame
    coloured = SGR.sub("", render_status(frame, width=120, colour=True, unicode=True))
    plain = render_status(frame, width=120, colour=False, unicode=True)
    assert [line.rstrip() for line in coloured.splitlines()] == plain.splitlines()


def test_a_simulated_node_is_marked_at_every_width(frames: dict[str, Frame]) -> None:
    """Nobody can take a simulated node for a real one."""
    for width in (40, 60, 80, 200):
        first = render_status(frames["lost_and_stale"], width=width, colour=False, unicode=True).splitlines()[0]
        assert "SIMULATED" in first


def test_a_healthy_node_lights_up_nowhere(frames: dict[str, Frame]) -> None:
    """On a good day there is no warning colour and no warning sign."""
    text = render_status(frames["healthy"], width=200, colour=True, unicode=True)
    assert not re.search(r"\x1b\[(1;)?3[13]m", text)
    assert not set("▲✖◌⊘") & set(text)


def test_the_worst_is_said_first_even_where_there_is_little_room(frames: dict[str, Frame]) -> None:
    """At 80 columns every GPU in trouble names its most important fact."""
    text = render_status(frames["broken"], width=80, colour=False, unicode=True)
    for words in ("Xid 48", "NVLink 11 down", "PCIe ×8, others more", "hw thermal", "row remap pending"):
        assert words in text, words


def test_absent_is_a_dash_with_its_reason(frames: dict[str, Frame]) -> None:
    """A reading that is missing is no zero, and the line below says why it is missing."""
    text = render_status(frames["broken"], width=80, colour=False, unicode=True)
    row = next(line for line in text.splitlines() if line.split()[:1] == ["7"])
    assert "–/700" in row
    assert "– power: no permission to read it; processes: the driver has not answered yet" in text


def test_totals_that_are_old_news_are_no_alarm(frames: dict[str, Frame]) -> None:
    """Lifetime error counts, a power cap under load and a lower limit on all boards are normal."""
    gpu = frames["healthy"].gpus[0]
    worn = msgspec.structs.replace(
        gpu,
        ecc=Ecc(corrected=9, uncorrected=2, uncorrected_volatile=0),
        throttle_reasons=["sw_power_cap", "idle"],
        power_limit_w=500.0,
    )
    frame = msgspec.structs.replace(frames["healthy"], gpus=[worn])
    text = render_status(frame, width=200, colour=False, unicode=True)
    assert not set("▲✖") & set(text)
    assert "power cap · limit 500 of 700 W" in text


def test_a_board_without_bridge_has_no_links_down(frames: dict[str, Frame]) -> None:
    """All NVLinks down is how a board without a bridge looks, not a fault."""
    gpu = msgspec.structs.replace(frames["healthy"].gpus[0], nvlink=NvLink(active=0, total=4))
    text = render_status(msgspec.structs.replace(frames["healthy"], gpus=[gpu]), width=120, colour=False, unicode=True)
    assert "▲" not in text


@pytest.mark.parametrize(("most", "shown"), [(0, 0), (3, 3), (16, 16), (None, 2000)])
def test_two_thousand_processes(frames: dict[str, Frame], most: int | None, shown: int) -> None:
    """The biggest are listed, up to the number that was asked for, and the rest is counted."""
    many = [Process(pid=1000 + number, name=f"job{number}", memory_bytes=number) for number in range(2000)]
    gpu = msgspec.structs.replace(frames["healthy"].gpus[0], processes=many)
    frame = msgspec.structs.replace(frames["healthy"], gpus=[gpu])
    lines = render_status(frame, width=80, colour=False, unicode=True, processes=most).splitlines()
    assert sum(bool(re.search(r" job\d+$", line)) for line in lines) == shown
    if most:
        assert any(line.endswith("job1999") for line in lines)
        assert lines[-1] == f" … and {2000 - shown:,} more (--processes all)"


def test_a_process_on_several_gpus_is_one_row(frames: dict[str, Frame]) -> None:
    """Its GPUs are listed and its memory is summed."""
    text = render_status(frames["sixteen"], width=120, colour=False, unicode=True, processes=None)
    (row,) = [line for line in text.splitlines() if "llama-server -m" in line]
    assert re.search(r"77\s+bob\s+8-10,14\s+4\.0", row)
