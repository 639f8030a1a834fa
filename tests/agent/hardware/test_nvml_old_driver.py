"""Drivers without the newer symbols, in processes of their own: a library once loaded stays."""

import json
from pathlib import Path

from fake_nvml.build import DRIVER_470_MISSING
from fake_nvml.fixtures import Builder, FakeNode
from fake_nvml.scenario import Scenario

TESTS = str(Path(__file__).parents[2])

READ = """
import msgspec
from support.reading import NodeUnderTest
node = NodeUnderTest()
node.gpus()
gpu = node.later()[0]
print(msgspec.json.encode({"gpu": gpu, "errors": node.errors(), "processes": node.reports()[0].processes}).decode())
"""


def read(node: FakeNode) -> dict[str, object]:
    done = node.python(f"import sys; sys.path.insert(0, {TESTS!r})  # before nvmlInit\n{READ}")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_driver_470_gives_what_it_has(fake_nvml: Builder, fake_node: FakeNode) -> None:
    """Memory, fans, processes and throttle reasons come through the older calls; the rest says why not."""
    fake_node.library = fake_nvml(DRIVER_470_MISSING)
    scenario = Scenario.of("rtx4090", 1)
    scenario.gpu(0).process(77, 1 << 30, 5)
    fake_node.become(scenario)
    answer = read(fake_node)
    gpu = answer["gpu"]
    assert isinstance(gpu, dict)
    assert answer["errors"] == {}
    assert gpu["memory_used_bytes"] > 0
    assert gpu["memory_reserved_bytes"] is None
    assert gpu["absent"]["memory_reserved_bytes"] == "driver_too_old"
    assert gpu["throttle_reasons"] is not None
    assert gpu["fan_pct"] is not None
    assert gpu["absent"]["sm_activity_pct"] == "driver_too_old"
    assert answer["processes"] == [
        {"pid": 77, "kind": "compute", "memory_bytes": 1 << 30, "sm_pct": 5, "gpu_instance": None}
    ]


def test_a_driver_without_field_values_still_gives_power_and_energy(fake_nvml: Builder, fake_node: FakeNode) -> None:
    """The batch is a short cut, not the only way."""
    fake_node.library = fake_nvml(("nvmlDeviceGetFieldValues",))
    gpu = read(fake_node)["gpu"]
    assert isinstance(gpu, dict)
    assert gpu["power_w"] > 0
    assert gpu["energy_j"] > 0
    assert gpu["memory_temperature_c"] is None
    assert gpu["absent"]["memory_temperature_c"] == "driver_too_old"
    assert set(gpu["throttle_seconds"]) == {"sw_power_cap", "sync_boost"}
