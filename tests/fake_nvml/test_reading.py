"""What the real binding reads is what the scenario says."""

from collections.abc import Callable
from typing import Any

import pynvml as n
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_nvml.fixtures import FakeNode
from fake_nvml.gpu import ALL_LINKS
from fake_nvml.scenario import Scenario
from fake_nvml.values import ALL_ONES_32, Value, counter, error

MIB = 1 << 20


def tuned() -> Scenario:
    """Eight boards at work, the second with numbers of its own that stand still."""
    scenario = Scenario.of("h100", 8)
    gpu = scenario.gpu(1)
    gpu.utilization(77, 33).power(412.5).power_limit(600, enforced_w=550).temperature(71, memory_c=80)
    gpu.clocks(1410, 2619).throttle("sw_power_cap", "sw_thermal", share=0).fan(40, 55).pcie(gen=4, width=8, replays=7)
    gpu.ecc(corrected=3, uncorrected=2).remapped_rows(1, 2, pending=True).memory(10 * MIB).fabric(health=0b1001)
    gpu.nvlink(5, up=False, errors={1: 9}).process(4242, 7 * MIB, 61).process(4243, None, None, kind="G")
    gpu.put("energy_mj", 123_456_789_012).put("retired_pages/0", 2).put("retired_pages/1", 0)
    gpu.put("encoder_pct", 12).put("jpeg_pct", 3).put("violation_ns/0", 5_000_000_000).put("bar1_used", 3 * MIB)
    return scenario


READINGS: list[tuple[str, Callable[[Any], Any], Any]] = [
    ("name", n.nvmlDeviceGetName, "NVIDIA H100 80GB HBM3"),
    ("uuid", n.nvmlDeviceGetUUID, "GPU-00000001-1111-4222-8333-444444444444"),
    ("serial", n.nvmlDeviceGetSerial, "1650000000001"),
    ("vbios", n.nvmlDeviceGetVbiosVersion, "96.00.99.00.01"),
    ("index", n.nvmlDeviceGetIndex, 1),
    ("minor number", n.nvmlDeviceGetMinorNumber, 1),
    ("brand", n.nvmlDeviceGetBrand, n.NVML_BRAND_NVIDIA),
    ("architecture", n.nvmlDeviceGetArchitecture, n.NVML_DEVICE_ARCH_HOPPER),
    ("compute capability", n.nvmlDeviceGetCudaComputeCapability, (9, 0)),
    ("cores", n.nvmlDeviceGetNumGpuCores, 16896),
    ("bus width", n.nvmlDeviceGetMemoryBusWidth, 5120),
    ("numa", n.nvmlDeviceGetNumaNodeId, 0),
    ("bus id", lambda h: n.nvmlDeviceGetPciInfo(h).busId, "00000000:64:00.0"),
    ("legacy bus id", lambda h: n.nvmlDeviceGetPciInfo(h).busIdLegacy, "0000:64:00.0"),
    ("pci device", lambda h: n.nvmlDeviceGetPciInfo(h).pciDeviceId, 0x233010DE),
    ("utilisation", lambda h: n.nvmlDeviceGetUtilizationRates(h).gpu, 77),
    ("memory utilisation", lambda h: n.nvmlDeviceGetUtilizationRates(h).memory, 33),
    ("encoder", lambda h: n.nvmlDeviceGetEncoderUtilization(h)[0], 12),
    ("decoder", lambda h: n.nvmlDeviceGetDecoderUtilization(h)[0], 0),
    ("jpeg", lambda h: n.nvmlDeviceGetJpgUtilization(h)[0], 3),
    ("power", n.nvmlDeviceGetPowerUsage, 412_500),
    ("enforced limit", n.nvmlDeviceGetEnforcedPowerLimit, 550_000),
    ("limit", n.nvmlDeviceGetPowerManagementLimit, 600_000),
    ("default limit", n.nvmlDeviceGetPowerManagementDefaultLimit, 700_000),
    ("limit range", n.nvmlDeviceGetPowerManagementLimitConstraints, [200_000, 700_000]),
    ("energy", n.nvmlDeviceGetTotalEnergyConsumption, 123_456_789_012),
    ("temperature", lambda h: n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU), 71),
    ("versioned temperature", lambda h: n.nvmlDeviceGetTemperatureV(h, n.NVML_TEMPERATURE_GPU), 71),
    ("margin", n.nvmlDeviceGetMarginTemperature, 16),
    ("fans", n.nvmlDeviceGetNumFans, 2),
    ("fan", n.nvmlDeviceGetFanSpeed, 40),
    ("second fan", lambda h: n.nvmlDeviceGetFanSpeed_v2(h, 1), 55),
    ("sm clock", lambda h: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM), 1410),
    ("current sm clock", lambda h: n.nvmlDeviceGetClock(h, n.NVML_CLOCK_SM, n.NVML_CLOCK_ID_CURRENT), 1410),
    ("max sm clock", lambda h: n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM), 1980),
    ("applications clock", lambda h: n.nvmlDeviceGetApplicationsClock(h, n.NVML_CLOCK_MEM), 2619),
    ("pstate", n.nvmlDeviceGetPerformanceState, 0),
    ("throttle reasons", n.nvmlDeviceGetCurrentClocksThrottleReasons, 0x24),
    ("event reasons", n.nvmlDeviceGetCurrentClocksEventReasons, 0x24),
    ("violation", lambda h: n.nvmlDeviceGetViolationStatus(h, 0).violationTime, 5_000_000_000),
    ("pcie gen", n.nvmlDeviceGetCurrPcieLinkGeneration, 4),
    ("pcie max gen", n.nvmlDeviceGetMaxPcieLinkGeneration, 5),
    ("pcie gpu max gen", n.nvmlDeviceGetGpuMaxPcieLinkGeneration, 5),
    ("pcie width", n.nvmlDeviceGetCurrPcieLinkWidth, 8),
    ("pcie max width", n.nvmlDeviceGetMaxPcieLinkWidth, 16),
    ("pcie speed", n.nvmlDeviceGetPcieSpeed, 32_000),
    ("replays", n.nvmlDeviceGetPcieReplayCounter, 7),
    ("throughput", lambda h: n.nvmlDeviceGetPcieThroughput(h, n.NVML_PCIE_UTIL_RX_BYTES), 578),
    ("link up", lambda h: n.nvmlDeviceGetNvLinkState(h, 4), 1),
    ("link down", lambda h: n.nvmlDeviceGetNvLinkState(h, 5), 0),
    ("link version", lambda h: n.nvmlDeviceGetNvLinkVersion(h, 0), n.NVML_NVLINK_VERSION_4_0),
    ("link errors", lambda h: n.nvmlDeviceGetNvLinkErrorCounter(h, 5, n.NVML_NVLINK_ERROR_DL_RECOVERY), 9),
    ("no link errors", lambda h: n.nvmlDeviceGetNvLinkErrorCounter(h, 6, n.NVML_NVLINK_ERROR_DL_RECOVERY), 0),
    ("link peer", lambda h: n.nvmlDeviceGetNvLinkRemotePciInfo(h, 2).busId, "00000000:07:00.0"),
    ("link peer type", lambda h: n.nvmlDeviceGetNvLinkRemoteDeviceType(h, 2), n.NVML_NVLINK_DEVICE_TYPE_SWITCH),
    ("link capability", lambda h: n.nvmlDeviceGetNvLinkCapability(h, 2, n.NVML_NVLINK_CAP_P2P_SUPPORTED), 1),
    ("ecc mode", n.nvmlDeviceGetEccMode, [1, 1]),
    ("corrected", lambda h: n.nvmlDeviceGetTotalEccErrors(h, 0, n.NVML_VOLATILE_ECC), 3),
    ("uncorrected", lambda h: n.nvmlDeviceGetTotalEccErrors(h, 1, n.NVML_VOLATILE_ECC), 2),
    ("ever uncorrected", lambda h: n.nvmlDeviceGetTotalEccErrors(h, 1, n.NVML_AGGREGATE_ECC), 0),
    ("dram", lambda h: n.nvmlDeviceGetMemoryErrorCounter(h, 1, 0, n.NVML_MEMORY_LOCATION_DRAM), 0),
    ("remapped rows", n.nvmlDeviceGetRemappedRows, (1, 2, 1, 0)),
    ("retired pages", lambda h: len(n.nvmlDeviceGetRetiredPages(h, 0)), 2),
    ("no retired pages", lambda h: n.nvmlDeviceGetRetiredPages(h, 1), []),
    ("retired pages with times", lambda h: len(n.nvmlDeviceGetRetiredPages_v2(h, 0)), 2),
    ("persistence", n.nvmlDeviceGetPersistenceMode, 1),
    ("compute mode", n.nvmlDeviceGetComputeMode, 0),
    ("display", n.nvmlDeviceGetDisplayActive, 0),
    ("mig", n.nvmlDeviceGetMigMode, [0, 0]),
    ("bar1", lambda h: n.nvmlDeviceGetBAR1MemoryInfo(h).bar1Used, 3 * MIB),
    ("memory v1 counts the reserve", lambda h: n.nvmlDeviceGetMemoryInfo(h).used, 490 * MIB),
    ("memory v2", lambda h: n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2).used, 10 * MIB),
    ("reserve", lambda h: n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2).reserved, 480 * MIB),
    ("compute processes", lambda h: [p.pid for p in n.nvmlDeviceGetComputeRunningProcesses(h)], [4242]),
    ("v2 processes", lambda h: [p.usedGpuMemory for p in n.nvmlDeviceGetComputeRunningProcesses_v2(h)], [7 * MIB]),
    ("unknown memory", lambda h: [p.usedGpuMemory for p in n.nvmlDeviceGetGraphicsRunningProcesses(h)], [None]),
    ("no mps", n.nvmlDeviceGetMPSComputeRunningProcesses, []),
    ("process samples", lambda h: [(p.pid, p.smUtil) for p in n.nvmlDeviceGetProcessUtilization(h, 0)], [(4242, 61)]),
    ("process infos", lambda h: [p.smUtil for p in n.nvmlDeviceGetProcessesUtilizationInfo(h, 0)], [61]),
    ("affinity", lambda h: list(n.nvmlDeviceGetCpuAffinity(h, 2)), [(1 << 64) - 1, 0]),
    ("memory affinity", lambda h: list(n.nvmlDeviceGetMemoryAffinity(h, 1, n.NVML_AFFINITY_SCOPE_NODE)), [1]),
    ("gpm", lambda h: n.nvmlGpmQueryDeviceSupport(h).isSupportedDevice, 1),
    ("event types", n.nvmlDeviceGetSupportedEventTypes, 0xB),
]


@pytest.mark.parametrize(("reading", "expected"), [case[1:] for case in READINGS], ids=[case[0] for case in READINGS])
def test_the_binding_reads_what_the_scenario_says(
    nvml_here: FakeNode, reading: Callable[[Any], Any], expected: object
) -> None:
    """One function after another, through the real structs."""
    nvml_here.become(tuned())
    n.nvmlInit()
    assert reading(n.nvmlDeviceGetHandleByIndex(1)) == expected


def test_system_and_handles(nvml_here: FakeNode) -> None:
    """The driver's own words, and a GPU found by index, UUID, bus id in both spellings, and serial."""
    nvml_here.become(tuned())
    n.nvmlInit()
    assert n.nvmlSystemGetDriverVersion() == "580.105.08"
    assert (n.nvmlSystemGetCudaDriverVersion(), n.nvmlSystemGetNVMLVersion()) == (13000, "13.580.105.08")
    found = [
        n.nvmlDeviceGetHandleByUUID("GPU-00000001-1111-4222-8333-444444444444"),
        n.nvmlDeviceGetHandleByPciBusId("00000000:64:00.0"),
        n.nvmlDeviceGetHandleByPciBusId("0000:64:00.0"),
        n.nvmlDeviceGetHandleBySerial("1650000000001"),
    ]
    assert [n.nvmlDeviceGetIndex(handle) for handle in found] == [1, 1, 1, 1]
    assert n.nvmlDeviceGetCount() == 8


def test_field_values_carry_type_scope_and_their_own_return_code(nvml_here: FakeNode) -> None:
    """Fields mirror what functions say, take a link as scope, and fail one by one."""
    scenario = tuned()
    scenario.gpu(1).field(82, error(3)).field(n.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, 77, scope=3)
    nvml_here.become(scenario)
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(1)
    tx = n.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX
    instant, energy, memory, offset, link, nonsense = n.nvmlDeviceGetFieldValues(
        handle, [186, 83, 82, 194, (tx, 3), 9999]
    )
    assert (instant.nvmlReturn, instant.valueType, instant.value.uiVal) == (0, n.NVML_VALUE_TYPE_UNSIGNED_INT, 412_500)
    assert (energy.valueType, energy.value.ullVal) == (n.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, 123_456_789_012)
    assert (memory.nvmlReturn, nonsense.nvmlReturn) == (3, 3)
    assert (offset.valueType, offset.value.siVal) == (n.NVML_VALUE_TYPE_SIGNED_INT, -2)
    assert link.value.ullVal == 77
    (total,) = n.nvmlDeviceGetFieldValues(handle, [(tx, ALL_LINKS)])
    assert total.value.ullVal >= 18 * 5_000_000


def test_gpm_metrics_answer_one_by_one(nvml_here: FakeNode) -> None:
    """Two samples give activity; a metric that the board lacks fails alone."""
    scenario = tuned()
    scenario.gpu(1).put("gpm/2", 63.5).put("gpm/10", error(3))
    nvml_here.become(scenario)
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(1)
    get = n.c_nvmlGpmMetricsGet_t()
    get.version, get.numMetrics = n.NVML_GPM_METRICS_GET_VERSION, 2
    get.sample1, get.sample2 = n.nvmlGpmSampleAlloc(), n.nvmlGpmSampleAlloc()
    n.nvmlGpmSampleGet(handle, get.sample1)
    n.nvmlGpmSampleGet(handle, get.sample2)
    get.metrics[0].metricId, get.metrics[1].metricId = n.NVML_GPM_METRIC_SM_UTIL, n.NVML_GPM_METRIC_DRAM_BW_UTIL
    n.nvmlGpmMetricsGet(get)
    assert (get.metrics[0].nvmlReturn, get.metrics[0].value) == (0, 63.5)
    assert get.metrics[1].nvmlReturn == 3
    n.nvmlGpmSampleFree(get.sample1)
    n.nvmlGpmSampleFree(get.sample2)


def test_fabric_speaks_all_versions(nvml_here: FakeNode) -> None:
    """The plain call, version 2 and version 3 carry the same state; version 2 lacks the summary."""
    nvml_here.become(tuned())
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(1)
    plain, second, third = n.c_nvmlGpuFabricInfo_t(), n.c_nvmlGpuFabricInfo_v2_t(), n.c_nvmlGpuFabricInfo_v3_t()
    n.nvmlDeviceGetGpuFabricInfo(handle, n.byref(plain))
    n.nvmlDeviceGetGpuFabricInfoV(handle, n.byref(second))
    n.nvmlDeviceGetGpuFabricInfoV(handle, n.byref(third))
    assert [info.state for info in (plain, second, third)] == [3, 3, 3]
    assert (second.healthMask, third.healthMask) == (9, 9)


def test_topology_and_p2p(nvml_here: FakeNode) -> None:
    """Ancestors follow the NUMA nodes; a hybrid cube mesh has pairs that can't reach each other."""
    nvml_here.become(Scenario.of("v100", 8))
    n.nvmlInit()
    handles = [n.nvmlDeviceGetHandleByIndex(index) for index in range(8)]
    assert n.nvmlDeviceGetTopologyCommonAncestor(handles[0], handles[1]) == n.NVML_TOPOLOGY_NODE
    assert n.nvmlDeviceGetTopologyCommonAncestor(handles[0], handles[7]) == n.NVML_TOPOLOGY_SYSTEM
    assert n.nvmlDeviceGetP2PStatus(handles[0], handles[4], 0) == n.NVML_P2P_STATUS_OK
    assert n.nvmlDeviceGetP2PStatus(handles[0], handles[5], 0) == n.NVML_P2P_STATUS_IOH_TOPOLOGY_NOT_SUPPORTED
    assert n.nvmlDeviceGetNvLinkRemotePciInfo(handles[0], 5).busId == n.nvmlDeviceGetPciInfo(handles[4]).busId


def test_mig_instances_have_handles_of_their_own(nvml_here: FakeNode) -> None:
    """Instances are found from their GPU, know it, and have memory and processes; utilisation is gone."""
    scenario = Scenario.of("h100", 2)
    scenario.gpu(1).mig(3, 2, 2).instances[0].set("memory_used", 5 * MIB)
    nvml_here.become(scenario)
    n.nvmlInit()
    parent = n.nvmlDeviceGetHandleByIndex(1)
    assert n.nvmlDeviceGetMigMode(parent) == [1, 1]
    instance = n.nvmlDeviceGetMigDeviceHandleByIndex(parent, 0)
    assert n.nvmlDeviceIsMigDeviceHandle(instance).value == 1
    assert n.nvmlDeviceGetAttributes_v2(instance).gpuInstanceSliceCount == 3
    assert n.nvmlDeviceGetMemoryInfo(instance).used == 5 * MIB
    assert n.nvmlDeviceGetGpuInstanceId(instance) == 7
    assert n.nvmlDeviceGetIndex(n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)) == 1
    with pytest.raises(n.NVMLError_NotFound):
        n.nvmlDeviceGetMigDeviceHandleByIndex(parent, 3)
    with pytest.raises(n.NVMLError_NotSupported):
        n.nvmlDeviceGetUtilizationRates(parent)


@pytest.mark.parametrize(
    ("board", "reading"),
    [
        ("h100", n.nvmlDeviceGetFanSpeed),
        ("h100", lambda h: n.nvmlDeviceGetTemperatureThreshold(h, n.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)),
        ("a100", n.nvmlDeviceGetMarginTemperature),
        ("t4", n.nvmlDeviceGetRemappedRows),
        ("t4", lambda h: n.nvmlDeviceGetNvLinkState(h, 0)),
        ("v100", n.nvmlDeviceGetMigMode),
        ("rtx4090", n.nvmlDeviceGetSerial),
        ("rtx4090", lambda h: n.nvmlDeviceGetTotalEccErrors(h, 1, 0)),
    ],
)
def test_boards_do_not_say_what_they_can_not_know(
    nvml_here: FakeNode, board: str, reading: Callable[[Any], Any]
) -> None:
    """Each kind of board lacks what the real one lacks."""
    nvml_here.become(Scenario.of(board))
    n.nvmlInit()
    with pytest.raises(n.NVMLError_NotSupported):
        reading(n.nvmlDeviceGetHandleByIndex(0))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(power=st.integers(0, ALL_ONES_32), energy=st.integers(0, (1 << 64) - 1), margin=st.integers(-(1 << 31), 99))
def test_any_number_arrives_unchanged(nvml_here: FakeNode, power: int, energy: int, margin: int) -> None:
    """Sentinels and absurd values come through bit by bit, also when the world changes under a running process."""
    scenario = Scenario.of("h100")
    scenario.gpu(0).put("power_mw", power).put("energy_mj", energy).put("temperature_margin_c", Value("i", margin))
    nvml_here.become(scenario)
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(0)
    assert n.nvmlDeviceGetPowerUsage(handle) == power
    assert n.nvmlDeviceGetTotalEnergyConsumption(handle) == energy
    assert n.nvmlDeviceGetMarginTemperature(handle) == margin


def test_counters_grow_with_the_clock_and_wrap(nvml_here: FakeNode) -> None:
    """A counter is its rate times the time since; a narrow one starts again at 2^32."""
    scenario = Scenario.of("h100")
    started = scenario.gpu(0).started_at
    scenario.gpu(0).put("energy_mj", counter(1000, 1e6, started - 100))
    scenario.gpu(0).field(197, counter(0, 1e8, started - 100, "u"))
    nvml_here.become(scenario)
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(0)
    assert 1e8 <= n.nvmlDeviceGetTotalEnergyConsumption(handle) < 2e8
    (sent,) = n.nvmlDeviceGetFieldValues(handle, [197])
    assert 1e10 % (1 << 32) <= sent.value.ullVal < (1 << 32)


def test_a_rate_changes_without_a_jump() -> None:
    """A counter that is given another rate goes on from where it stands."""
    gpu = Scenario.of("h100").gpu(0)
    gpu.put("energy_mj", counter(1000, 10, 100.0)).rate("energy_mj", 20, now=150.0)
    assert gpu.values["energy_mj"].at(150.0) == 1500
    assert gpu.values["energy_mj"].at(151.0) == 1520
