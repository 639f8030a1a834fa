"""The real binding on the fake driver: what a board says is what a `Gpu` shows."""

import pytest

from fake_nvml.fixtures import FakeNode
from fake_nvml.scenario import Scenario
from fake_nvml.values import Value, error
from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware
from gpuwatch_agent.model.absence import Absence
from support.reading import NodeUnderTest

NOT_SUPPORTED, NO_PERMISSION, UNKNOWN = 3, 4, 999
ALL_LINKS = 0xFFFFFFFF


def test_a_healthy_h100_shows_every_field_of_the_contract(nvml_here: FakeNode) -> None:
    """All that the contract promises for a data-centre board is there at the second reading."""
    node = NodeUnderTest()
    node.gpus()
    gpu = node.later()[0]
    expected = [
        "name",
        "pci_bus_id",
        "utilization_pct",
        "memory_utilization_pct",
        "memory_used_bytes",
        "memory_total_bytes",
        "power_w",
        "power_limit_w",
        "power_limit_default_w",
        "energy_j",
        "temperature_c",
        "memory_temperature_c",
        "temperature_slowdown_c",
        "sm_clock_mhz",
        "sm_clock_max_mhz",
        "memory_clock_mhz",
        "pstate",
        "throttle_reasons",
        "throttle_seconds",
        "engine_activity_pct",
        "sm_activity_pct",
        "sm_occupancy_pct",
        "tensor_activity_pct",
        "dram_activity_pct",
        "pcie",
        "nvlink",
        "ecc",
        "remapped_rows",
        "mig",
    ]
    assert [name for name in expected if getattr(gpu, name) is None] == []
    assert node.errors() == {}


def test_values_come_in_base_units(nvml_here: FakeNode) -> None:
    """Milliwatts, millijoules, kibibytes and nanoseconds end at the driver's door."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).power(512.5).temperature(61, 70).clocks(1755, 2619).memory(10 << 30)
    scenario.gpu(0).set("energy_mj", 5_000_500)
    scenario.gpu(0).field(270, 2_500_000_000)
    nvml_here.become(scenario)
    gpu = NodeUnderTest().gpus()[0]
    assert gpu.power_w == 512.5
    assert gpu.energy_j == 5000.5
    assert (gpu.temperature_c, gpu.memory_temperature_c) == (61, 70)
    assert (gpu.sm_clock_mhz, gpu.memory_clock_mhz) == (1755, 2619)
    assert gpu.memory_used_bytes == 10 << 30
    assert gpu.throttle_seconds is not None
    assert gpu.throttle_seconds["hw_thermal"] == 2.5


def test_throttle_reasons_have_the_contract_s_names(nvml_here: FakeNode) -> None:
    """One word per bit, and none for a bit that is not set."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).set("throttle_reasons", 0x1FF)
    nvml_here.become(scenario)
    assert NodeUnderTest().gpus()[0].throttle_reasons == [
        "idle",
        "applications_clocks",
        "sw_power_cap",
        "hw_slowdown",
        "sync_boost",
        "sw_thermal",
        "hw_thermal",
        "hw_power_brake",
        "display_clocks",
    ]


def test_a_board_that_speaks_of_margins_gets_limits_in_degrees(nvml_here: FakeNode) -> None:
    """An H100 at 58 degrees with a margin of 29 and an offset of -2 slows down at 89."""
    gpu = NodeUnderTest().gpus()[0]
    assert gpu.temperature_c is not None
    assert gpu.temperature_margin_c is not None
    assert gpu.temperature_slowdown_c == gpu.temperature_c + gpu.temperature_margin_c + 2
    assert gpu.temperature_shutdown_c == gpu.temperature_c + gpu.temperature_margin_c + 8


def test_a_board_that_speaks_of_degrees_is_believed(nvml_here: FakeNode) -> None:
    """A T4's own threshold is taken as it is."""
    nvml_here.become(Scenario.of("t4", 1))
    assert NodeUnderTest().gpus()[0].temperature_slowdown_c == 93


def test_nvlink_rates_are_differenced(nvml_here: FakeNode) -> None:
    """Two readings a second apart, counters 1,024,000 KiB apart: 1,048,576,000 bytes a second."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).field(138, 1_000_000, ALL_LINKS).field(139, 2_000_000, ALL_LINKS)
    nvml_here.become(scenario)
    node = NodeUnderTest()
    first = node.gpus()[0]
    scenario.gpu(0).field(138, 1_000_000 + 1_024_000, ALL_LINKS)
    scenario.save()
    second = node.later(1.0)[0]
    assert first.nvlink is not None
    assert first.nvlink.tx_bytes_per_s is None
    assert first.absent["nvlink.tx_bytes_per_s"] is Absence.SECOND_READING
    assert second.nvlink is not None
    assert (second.nvlink.tx_bytes_per_s, second.nvlink.rx_bytes_per_s) == (1_024_000 * 1024, 0)


def test_link_width_and_limits_are_read_again(nvml_here: FakeNode) -> None:
    """A link that falls to x4 and a limit somebody lowered show at the next reading, not never."""
    node = NodeUnderTest()
    before = node.gpus()[0]
    nvml_here.scenario.gpu(0).pcie(width=4).power_limit(400)
    nvml_here.scenario.save()
    after = node.later(10)[0]
    assert before.pcie is not None
    assert after.pcie is not None
    assert (before.pcie.width, before.power_limit_w) == (16, 700)
    assert (after.pcie.width, after.pcie.width_max, after.power_limit_w) == (4, 16, 400)


def test_a_link_that_goes_down_is_counted_and_named(nvml_here: FakeNode) -> None:
    """17 of 18 up, and which one is not."""
    nvml_here.scenario.gpu(2).nvlink(11, up=False)
    nvml_here.scenario.save()
    nvlink = NodeUnderTest().gpus()[2].nvlink
    assert nvlink is not None
    assert (nvlink.active, nvlink.total) == (17, 18)
    assert [link.index for link in nvlink.links or () if link.state == "down"] == [11]


def test_nvlink_errors_are_per_link(nvml_here: FakeNode) -> None:
    """Which port has the CRC errors is what the person in the rack needs."""
    nvml_here.scenario.gpu(0).nvlink(3, errors={2: 77, 0: 5})
    nvml_here.scenario.save()
    nvlink = NodeUnderTest().gpus()[0].nvlink
    assert nvlink is not None
    assert nvlink.links is not None
    assert nvlink.links[3].errors == {"replay": 5, "recovery": 0, "crc_flit": 77, "crc_data": 0}


def test_gpm_needs_two_samples_and_skips_an_idle_gpu(nvml_here: FakeNode) -> None:
    """First no second sample, then values; on an idle GPU none, so as not to keep it awake."""
    node = NodeUnderTest()
    first = node.gpus()[0]
    second = node.later()[0]
    assert first.absent["sm_activity_pct"] is Absence.SECOND_READING
    assert second.sm_activity_pct is not None
    nvml_here.scenario.gpu(0).idle()
    nvml_here.scenario.save()
    idle = node.later()[0]
    assert idle.sm_activity_pct is None
    assert idle.absent["sm_activity_pct"] is Absence.GPU_IDLE


def test_mig_instances_are_listed_and_mode_changes_are_seen(nvml_here: FakeNode) -> None:
    """Switched on under a running agent, MIG shows its instances at the next slow reading."""
    nvml_here.become(Scenario.of("h100", 1))
    node = NodeUnderTest()
    before = node.gpus()[0].mig
    nvml_here.scenario.gpu(0).mig(3, 2, 1)
    nvml_here.scenario.save()
    after = node.later(10)[0]
    assert before is not None
    assert not before.enabled
    assert after.mig is not None
    assert after.mig.enabled
    assert [instance.gpu_instance for instance in after.mig.instances] == [7, 8, 9]
    assert [instance.sm_count for instance in after.mig.instances] == [48, 32, 16]
    assert after.utilization_pct is None
    assert after.absent["utilization_pct"] is Absence.NOT_SUPPORTED


def test_processes_carry_memory_share_and_kind(nvml_here: FakeNode) -> None:
    """What the driver lists, with what it does not know left out."""
    gpu = nvml_here.scenario.gpu(1)
    gpu.processes.clear()
    gpu.process(41, 5 << 30, 87).process(42, None, None, kind="G")
    nvml_here.scenario.save()
    processes = NodeUnderTest().reports()[1].processes
    assert processes is not None
    assert [(p.pid, p.kind, p.memory_bytes, p.sm_pct) for p in processes] == [
        (41, "compute", 5 << 30, 87),
        (42, "graphics", None, None),
    ]


@pytest.mark.parametrize(
    ("board", "absent", "present"),
    [
        ("rtx4090", ("ecc.corrected", "remapped_rows", "nvlink.active"), ("fan_pct", "power_w", "encoder_pct")),
        ("t4", ("nvlink.active", "sm_activity_pct", "fan_pct"), ("ecc", "retired_pages")),
        ("v100", ("remapped_rows", "sm_activity_pct"), ("nvlink", "retired_pages", "ecc")),
        ("a100", ("sm_activity_pct", "retired_pages"), ("remapped_rows", "nvlink", "memory_temperature_c")),
    ],
)
def test_what_a_board_does_not_have_is_absent_with_a_reason(
    nvml_here: FakeNode, board: str, absent: tuple[str, ...], present: tuple[str, ...]
) -> None:
    """Boards differ: nothing turns into 0 where there is no sensor."""
    nvml_here.become(Scenario.of(board, 1))
    node = NodeUnderTest()
    node.gpus()
    gpu = node.later()[0]
    for name in present:
        assert getattr(gpu, name) is not None, name
    for name in absent:
        part, _, leaf = name.partition(".")
        value = getattr(gpu, part)
        assert value is None or (leaf and not getattr(value, leaf)), name
    assert node.errors() == {}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (NOT_SUPPORTED, Absence.NOT_SUPPORTED),
        (NO_PERMISSION, Absence.NO_PERMISSION),
        (13, Absence.DRIVER_TOO_OLD),
        (UNKNOWN, Absence.DRIVER_ERROR),
        (10, Absence.NO_ANSWER),
    ],
)
def test_each_refusal_keeps_its_own_reason(nvml_here: FakeNode, code: int, reason: Absence) -> None:
    """Not supported, no permission, too old, an error and a time-out are different things to know."""
    nvml_here.scenario.fail("nvmlDeviceGetClockInfo", code)
    nvml_here.scenario.save()
    gpu = NodeUnderTest().gpus()[0]
    assert gpu.sm_clock_mhz is None
    assert gpu.absent["sm_clock_mhz"] is reason
    assert gpu.pstate == 0


def test_a_field_that_fails_takes_no_other_with_it(nvml_here: FakeNode) -> None:
    """Each value of a batch has its own answer code, and the power falls back to the older call."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).field(185, error(NOT_SUPPORTED)).field(82, error(UNKNOWN)).power(300.0)
    nvml_here.become(scenario)
    gpu = NodeUnderTest().gpus()[0]
    assert gpu.power_w == 300.0
    assert gpu.memory_temperature_c is None
    assert gpu.absent["memory_temperature_c"] is Absence.DRIVER_ERROR
    assert gpu.energy_j is not None


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("utilization_pct", 0xFFFFFFFF, "utilization_pct"),
        ("temperature_c/0", 0x7FFFFFFF, "temperature_c"),
        ("clock_mhz/1", 0xFFFFFFFF, "sm_clock_mhz"),
        ("pstate", 32, "pstate"),
        ("enforced_power_limit_mw", 0xFFFFFFFF, "power_limit_w"),
        ("memory_used", 0xFFFFFFFFFFFFFFFF, "memory_used_bytes"),
        ("encoder_pct", 4294967295, "encoder_pct"),
    ],
)
def test_blank_words_are_dropped(nvml_here: FakeNode, key: str, value: int, field: str) -> None:
    """All-ones and other sentinels are no readings (NVIDIA/go-dcgm#75: a spike of 4294967295 %)."""
    scenario = Scenario.of("h100", 1)
    gpu = scenario.gpu(0)
    assert key in gpu.values, f"{key} is not among {sorted(gpu.values)}"
    gpu.set(key, Value("U", value))
    nvml_here.become(scenario)
    read = NodeUnderTest().gpus()[0]
    assert getattr(read, field) is None
    assert read.absent[field] is Absence.IMPLAUSIBLE


def test_a_lost_gpu_is_lost_and_the_others_are_read(nvml_here: FakeNode) -> None:
    """One GPU off the bus: seven are fresh, the eighth keeps its name."""
    node = NodeUnderTest()
    node.gpus()
    nvml_here.scenario.lose(5)
    nvml_here.scenario.save()
    node.clock.now += 1
    reports = node.reports()
    assert [report.identity.index for report in reports if report.lost] == [5]
    assert reports[5].identity.name == "NVIDIA H100 80GB HBM3"
    assert str(reports[5].lost).startswith("The GPU is lost")


def test_a_gpu_lost_before_the_start_has_a_row_with_the_reason(nvml_here: FakeNode) -> None:
    """A GPU that cannot be opened is not dropped without a word."""
    nvml_here.scenario.lose(2)
    nvml_here.scenario.save()
    node = NodeUnderTest()
    gpus = node.gpus()
    assert len(gpus) == 8
    assert (gpus[2].uuid, gpus[2].state) == ("unopened:2", "lost")
    assert [gpu.uuid for gpu in node.later() if gpu.state == "lost"] == ["unopened:2"]


def test_a_gpu_that_needs_a_reset_says_what_to_do(nvml_here: FakeNode) -> None:
    """Lost and reset-required are different: one is for the rack, the other for a command."""
    node = NodeUnderTest()
    node.gpus()
    nvml_here.scenario.require_reset(1)
    nvml_here.scenario.save()
    lost = node.reports()[1].lost
    assert lost is not None
    assert "--gpu-reset" in str(lost)


def test_node_facts_name_driver_and_cuda(nvml_here: FakeNode) -> None:
    """The versions people quote in tickets."""
    hardware = NvmlHardware()
    hardware.open()
    facts = hardware.facts()
    assert (facts.driver_version, facts.cuda_version) == ("580.105.08", "13.0")
    hardware.close()


def test_not_supported_is_not_asked_again_at_once_but_later_it_is(nvml_here: FakeNode) -> None:
    """Capability memory saves calls, and a permission granted later is seen within five minutes."""
    nvml_here.scenario.fail("nvmlDeviceGetPersistenceMode", NO_PERMISSION)
    nvml_here.scenario.save()
    node = NodeUnderTest()
    assert node.gpus()[0].absent["persistence_mode"] is Absence.NO_PERMISSION
    nvml_here.scenario.heal("nvmlDeviceGetPersistenceMode")
    nvml_here.scenario.save()
    assert node.later(10)[0].persistence_mode is None
    assert node.later(301)[0].persistence_mode is True


def test_links_whose_counters_are_gone_are_counted_by_fields_all_of_them(nvml_here: FakeNode) -> None:
    """As on Blackwell: every link that is up has its errors, also where the first link is down."""
    scenario = Scenario.of("h100", 1)
    scenario.fail("nvmlDeviceGetNvLinkErrorCounter", NOT_SUPPORTED)
    gpu = scenario.gpu(0).nvlink(0, up=False)
    for link in range(18):
        for field in (208, 214, 215, 221):
            gpu.field(field, link, scope=link)
    nvml_here.become(scenario)
    node = NodeUnderTest()
    for row in (node.gpus()[0], node.later(10)[0]):
        assert row.nvlink is not None
        links = row.nvlink.links or []
        assert [(link.errors or {}).get("recovery") for link in links] == [None, *range(1, 18)]


def test_a_link_that_answers_with_an_error_for_once_does_not_cut_the_list(nvml_here: FakeNode) -> None:
    """Eighteen links do not become five because the sixth stumbles: that time they are not known."""
    scenario = Scenario.of("h100", 1)
    nvml_here.become(scenario)
    node = NodeUnderTest()
    before = node.gpus()[0].nvlink
    assert before is not None
    assert before.total == 18
    scenario.fail("nvmlDeviceGetNvLinkState", UNKNOWN, from_call=6, times=1).save()
    stumbled = node.later(10)[0]
    assert stumbled.nvlink is None or stumbled.nvlink.total is None
    assert stumbled.absent["nvlink.total"] is Absence.DRIVER_ERROR


@pytest.mark.parametrize("code", [1, 9, 12, 18])
def test_one_field_cannot_condemn_the_driver(nvml_here: FakeNode, code: int) -> None:
    """A single value with a code that would mean "no driver" is absent; all the rest is read."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).field(82, error(code))
    nvml_here.become(scenario)
    gpu = NodeUnderTest().gpus()[0]
    assert gpu.memory_temperature_c is None
    assert gpu.absent["memory_temperature_c"] is Absence.DRIVER_ERROR
    assert gpu.power_w is not None


def test_a_refused_list_of_compute_processes_is_not_an_empty_one(nvml_here: FakeNode) -> None:
    """That the other lists are empty says nothing about who computes."""
    scenario = Scenario.of("h100", 1)
    scenario.fail("nvmlDeviceGetComputeRunningProcesses*", UNKNOWN)
    nvml_here.become(scenario)
    report = NodeUnderTest().reports()[0]
    assert report.processes is None
    assert report.collected["activity"].values


def test_a_counter_that_leaps_gives_no_rate(nvml_here: FakeNode) -> None:
    """No board carries exabytes a second over its links."""
    scenario = Scenario.of("h100", 1)
    nvml_here.become(scenario)
    node = NodeUnderTest()
    node.gpus()
    scenario.gpu(0).field(138, 1 << 60, scope=ALL_LINKS)
    scenario.save()
    row = node.later()[0]
    assert row.nvlink is None or row.nvlink.tx_bytes_per_s is None


def test_the_kernel_log_is_left_alone_where_it_is_switched_off(nvml_here: FakeNode) -> None:
    """An empty `hardware.kmsg` is heeded, and said."""
    nvml_here.scenario.fail("nvmlEventSetCreate", NOT_SUPPORTED).save()
    hardware = NvmlHardware(kernel_log="")
    hardware.open()
    assert "switched off" in str(hardware.watch_xids(lambda _: None))
    hardware.close()
