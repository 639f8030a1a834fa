"""Whatever a driver may answer: never a traceback, never an invented number."""

import math
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_nvml.fixtures import FakeNode
from fake_nvml.scenario import Scenario, exported_functions
from fake_nvml.values import Value
from gpuwatch_agent.model.errors import GpuwatchError
from gpuwatch_agent.model.gpu import Gpu
from support.reading import NodeUnderTest

DEVICE_CALLS = sorted(name for name in exported_functions() if name.startswith(("nvmlDeviceGet", "nvmlGpm")))
CODES = st.sampled_from([1, 2, 3, 4, 6, 7, 9, 10, 13, 15, 16, 17, 18, 20, 21, 24, 25, 26, 27, 28, 29, 77, 999])
ABSURD = st.one_of(
    st.sampled_from([0, 1, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFF0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFF0]),
    st.integers(0, (1 << 64) - 1),
)
KEYS = sorted(
    key
    for key, value in Scenario.of("h100", 1).gpu(0).values.items()
    if not isinstance(value.base, str) and not key.startswith(("nvlink_", "cpu_", "topology", "p2p", "index"))
)
BOARDS = st.sampled_from(["h100", "a100", "v100", "rtx4090", "t4"])


def check_truth(gpu: Gpu) -> None:
    """Nothing on a row that can't be."""
    for name in [
        "utilization_pct",
        "memory_utilization_pct",
        "encoder_pct",
        "decoder_pct",
        "fan_pct",
        "engine_activity_pct",
        "sm_activity_pct",
        "sm_occupancy_pct",
        "tensor_activity_pct",
        "dram_activity_pct",
    ]:
        value = getattr(gpu, name)
        assert value is None or 0 <= value <= 100, (name, value)
    for name in ["power_w", "power_instant_w", "power_limit_w", "power_limit_default_w"]:
        value = getattr(gpu, name)
        assert value is None or 0 < value < 20_000, (name, value)
    for name in ["temperature_c", "memory_temperature_c", "temperature_slowdown_c"]:
        value = getattr(gpu, name)
        assert value is None or -200 <= value <= 400, (name, value)
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes is not None:
        assert gpu.memory_used_bytes <= gpu.memory_total_bytes
    if gpu.energy_j is not None:
        assert math.isfinite(gpu.energy_j)
        assert gpu.energy_j >= 0
    if gpu.pcie is not None:
        assert gpu.pcie.width is None or gpu.pcie.width in {1, 2, 4, 8, 12, 16, 32}
    for seconds in (gpu.throttle_seconds or {}).values():
        assert 0 <= seconds < 1e10


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    board=BOARDS,
    faults=st.dictionaries(st.sampled_from(DEVICE_CALLS), CODES, max_size=8),
    absurd=st.dictionaries(st.sampled_from(KEYS), ABSURD, max_size=8),
)
def test_no_answer_breaks_or_misleads(
    nvml_here: FakeNode, board: str, faults: dict[str, int], absurd: dict[str, int]
) -> None:
    """Any error from any call together with any nonsense in any value."""
    scenario = Scenario.of(board, 2)
    for call, code in faults.items():
        scenario.fail(call, code)
    for key, value in absurd.items():
        if key in scenario.gpu(0).values:
            scenario.gpu(0).set(key, Value("U", value))
    nvml_here.become(scenario)
    try:
        node = NodeUnderTest()
        rows = [*node.gpus(), *node.later()]
    except GpuwatchError as error:  # the whole driver may refuse: in a sentence
        assert error.message.endswith((".", "!"))  # noqa: PT017  # both outcomes are right
        return
    for gpu in rows:
        check_truth(gpu)
    # A collector may meet a lost GPU, which it says in a sentence; an exception of ours would show its type.
    assert [words for words in node.errors().values() if re.match(r"\w+: ", words)] == []
    node.hardware.close()
