"""Every way in which the fake driver can go wrong, seen from a process that runs the real binding."""

import signal
import subprocess
import sys

import pynvml as n
import pytest

from fake_nvml.build import DRIVER_470_MISSING, build
from fake_nvml.fixtures import Builder, FakeNode
from fake_nvml.scenario import DRIVER_NOT_LOADED, Scenario

POWER = "nvmlDeviceGetPowerUsage"


def test_an_error_strikes_one_gpu_from_the_nth_call_for_so_many_calls(nvml_here: FakeNode) -> None:
    """The others are untouched, and it is over when it is over."""
    nvml_here.become(Scenario.of("h100", 2).fail(POWER, 999, gpu=1, from_call=2, times=1))
    n.nvmlInit()
    well, ill = n.nvmlDeviceGetHandleByIndex(0), n.nvmlDeviceGetHandleByIndex(1)
    assert n.nvmlDeviceGetPowerUsage(well) > 0
    assert n.nvmlDeviceGetPowerUsage(ill) > 0
    with pytest.raises(n.NVMLError_Unknown):
        n.nvmlDeviceGetPowerUsage(ill)
    assert n.nvmlDeviceGetPowerUsage(ill) > 0


def test_a_glob_strikes_a_family_of_functions(nvml_here: FakeNode) -> None:
    """`nvmlDeviceGetMemoryInfo*` is both versions."""
    nvml_here.become(Scenario.of("h100").fail("nvmlDeviceGetMemoryInfo*", 4))
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(0)
    for version in (None, n.nvmlMemory_v2):
        with pytest.raises(n.NVMLError_NoPermission):
            n.nvmlDeviceGetMemoryInfo(handle, version)


def test_a_fault_of_a_function_that_is_not_there_is_a_mistake_of_the_test() -> None:
    """A misspelt name does not make a test pass for nothing."""
    with pytest.raises(ValueError, match="nvmlDeviceGetPowr"):
        Scenario.of("h100").fail("nvmlDeviceGetPowr", 3)


def test_a_lost_gpu_is_counted_but_answers_nothing(nvml_here: FakeNode) -> None:
    """Lost while handles are held, and back again."""
    scenario = nvml_here.become(Scenario.of("h100", 2))
    n.nvmlInit()
    handle = n.nvmlDeviceGetHandleByIndex(1)
    scenario.lose(1).save()
    assert n.nvmlDeviceGetCount() == 2
    with pytest.raises(n.NVMLError_GpuIsLost):
        n.nvmlDeviceGetHandleByIndex(1)
    with pytest.raises(n.NVMLError_GpuIsLost):
        n.nvmlDeviceGetName(handle)
    scenario.heal(gpu=1).save()
    assert n.nvmlDeviceGetName(handle) == "NVIDIA H100 80GB HBM3"


def test_a_gpu_that_needs_a_reset_says_so(nvml_here: FakeNode) -> None:
    """Error 16 from every call on it."""
    nvml_here.become(Scenario.of("h100", 2).require_reset(0))
    n.nvmlInit()
    with pytest.raises(n.NVMLError_ResetRequired):
        n.nvmlDeviceGetHandleByIndex(0)


def test_a_gpu_that_leaves_the_list_shifts_the_others(nvml_here: FakeNode) -> None:
    """Handles stay with their GPU, indices do not; the GPU comes back under its old handle."""
    scenario = nvml_here.become(Scenario.of("h100", 3))
    n.nvmlInit()
    first, last = n.nvmlDeviceGetHandleByIndex(0), n.nvmlDeviceGetHandleByIndex(2)
    scenario.remove(0).save()
    assert n.nvmlDeviceGetCount() == 2
    assert n.nvmlDeviceGetIndex(last) == 1
    with pytest.raises(n.NVMLError_GpuIsLost):
        n.nvmlDeviceGetName(first)
    scenario.put_back(0).save()
    assert (n.nvmlDeviceGetCount(), n.nvmlDeviceGetIndex(first), n.nvmlDeviceGetIndex(last)) == (3, 0, 2)


@pytest.mark.parametrize("code", [9, 18, 4, 999])
def test_init_fails_as_told(nvml_here: FakeNode, code: int) -> None:
    """Driver not loaded, mismatch, no permission, unknown; once only where that is wanted."""
    nvml_here.become(Scenario.of("h100").fail_init(code, times=1))
    with pytest.raises(n.NVMLError) as failure:
        n.nvmlInit()
    assert failure.value.value == code
    n.nvmlInit()


def test_without_a_scenario_there_is_no_driver(nvml_here: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose kernel module is not there."""
    monkeypatch.setenv("FAKE_NVML_SCENARIO", "/nowhere/at/all")
    with pytest.raises(n.NVMLError) as failure:
        n.nvmlInit()
    assert failure.value.value == DRIVER_NOT_LOADED


def test_calls_need_an_init(nvml_here: FakeNode) -> None:
    """Before init and after shutdown everything is "uninitialised"."""
    n.nvmlInit()
    n.nvmlShutdown()
    with pytest.raises(n.NVMLError_Uninitialized):
        n.nvmlDeviceGetCount()


def test_a_driver_upgraded_under_a_process_leaves_it_behind(fake_node: FakeNode) -> None:
    """The old process gets mismatch from every call, init included; a new one works with the new version."""
    code = """
import sys
print("ready", flush=True)
sys.stdin.readline()
for call in (n.nvmlDeviceGetCount, n.nvmlInit):
    try:
        call()
    except n.NVMLError as failure:
        print(failure.value)
"""
    with subprocess.Popen(
        [sys.executable, "-c", "import pynvml as n; n.nvmlInit()\n" + code],
        env=fake_node.env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as old:
        assert old.stdout is not None
        old.stdout.readline()
        fake_node.scenario.upgrade_driver("590.44.01").save()
        said, _ = old.communicate("\n", timeout=20)
    assert said.split() == ["18", "18"]
    assert fake_node.python("print(n.nvmlSystemGetDriverVersion())").stdout.strip() == "590.44.01"


def test_a_crash_takes_the_process_down(fake_node: FakeNode) -> None:
    """SIGSEGV inside a call of one GPU."""
    fake_node.become(Scenario.of("h100", 2).crash(POWER, gpu=1))
    read_power = "n.nvmlDeviceGetPowerUsage(n.nvmlDeviceGetHandleByIndex({}))"
    assert fake_node.python(read_power.format(0)).returncode == 0
    assert fake_node.python(read_power.format(1)).returncode == -signal.SIGSEGV


def test_a_hang_never_returns_and_blocks_nobody_else(fake_node: FakeNode) -> None:
    """One thread is stuck in one GPU's call; the others, and a changed world, go on."""
    fake_node.become(Scenario.of("h100", 2).hang(POWER, gpu=1))
    done = fake_node.python(
        """
import os, threading
handles = [n.nvmlDeviceGetHandleByIndex(i) for i in range(2)]
stuck = threading.Thread(target=n.nvmlDeviceGetPowerUsage, args=(handles[1],), daemon=True)
stuck.start()
stuck.join(0.2)
print(stuck.is_alive(), n.nvmlDeviceGetPowerUsage(handles[0]) > 0, flush=True)
os._exit(0)
"""
    )
    assert done.stdout.split() == ["True", "True"]


def test_a_hanging_init_never_returns(fake_node: FakeNode) -> None:
    """The first call of all can be the one that blocks."""
    fake_node.become(Scenario.of("h100").hang("nvmlInit*"))
    with pytest.raises(subprocess.TimeoutExpired):
        fake_node.python("", timeout_s=1)


def test_a_delay_is_waited_out(fake_node: FakeNode) -> None:
    """The call takes that long, then answers as ever; PCIe throughput takes its 20 ms unasked."""
    fake_node.become(Scenario.of("h100").delay(POWER, 300))
    done = fake_node.python(
        """
import time
handle = n.nvmlDeviceGetHandleByIndex(0)
for call in (lambda: n.nvmlDeviceGetPowerUsage(handle), lambda: n.nvmlDeviceGetPcieThroughput(handle, 0)):
    began = time.monotonic()
    call()
    print(time.monotonic() - began)
"""
    )
    slow, sampled = map(float, done.stdout.split())
    assert slow >= 0.3
    assert sampled >= 0.02


def test_a_fault_comes_after_a_while(fake_node: FakeNode) -> None:
    """Lost so many seconds after init, fine until then."""
    fake_node.become(Scenario.of("h100", 2).lose(1, after_s=0.3))
    done = fake_node.python(
        """
import time
handle = n.nvmlDeviceGetHandleByIndex(1)
print(n.nvmlDeviceGetIndex(handle))
time.sleep(0.35)
try:
    n.nvmlDeviceGetIndex(handle)
except n.NVMLError_GpuIsLost:
    print("lost")
"""
    )
    assert done.stdout.split() == ["1", "lost"]


def test_an_old_driver_lacks_symbols(fake_node: FakeNode, fake_nvml: Builder) -> None:
    """What came after R470 is not there, in the binding's two ways of saying so; what was there before still works."""
    fake_node.library = fake_nvml(DRIVER_470_MISSING)
    done = fake_node.python(
        """
handle = n.nvmlDeviceGetHandleByIndex(0)
for call in (n.nvmlGpmQueryDeviceSupport, n.nvmlDeviceGetComputeRunningProcesses, n.nvmlDeviceGetMarginTemperature):
    try:
        call(handle)
    except n.NVMLError_FunctionNotFound:
        print("missing")
    except n.NVMLLibraryMismatchError:
        print("mismatch")
print(n.nvmlDeviceGetComputeRunningProcesses_v2(handle))
"""
    )
    assert done.stdout.split() == ["missing", "mismatch", "missing", "[]"]


def test_only_known_symbols_can_be_left_out(fake_nvml: Builder) -> None:
    """Leaving out what was never there would prove nothing."""
    with pytest.raises(ValueError, match="nvmlNonsense"):
        fake_nvml(("nvmlNonsense",))


def test_each_set_of_symbols_is_compiled_once(fake_nvml: Builder) -> None:
    """The same folder for the same set in any order."""
    one, other = "nvmlDeviceGetSerial", "nvmlDeviceGetName"
    folder = fake_nvml((one, other))
    assert build(folder.parent, (other, one)) == folder != fake_nvml()


def test_two_threads_in_gpm_crash_where_the_scenario_wants_it(fake_node: FakeNode) -> None:
    """One at a time is fine."""
    fake_node.become(Scenario.of("h100").crash_on_shared_gpm().delay("nvmlGpmSampleGet", 200))
    code = """
import threading
handle = n.nvmlDeviceGetHandleByIndex(0)
samples = [n.nvmlGpmSampleAlloc() for _ in range(2)]
threads = [threading.Thread(target=n.nvmlGpmSampleGet, args=(handle, sample)) for sample in samples]
"""
    in_turn = "for thread in threads:\n    thread.start()\n    thread.join()\n"
    at_once = "for thread in threads:\n    thread.start()\nfor thread in threads:\n    thread.join()\n"
    assert fake_node.python(code + in_turn).returncode == 0
    assert fake_node.python(code + at_once).returncode == -signal.SIGSEGV
