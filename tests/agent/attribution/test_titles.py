import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.attribution.titles import ranks_in_title


@pytest.mark.parametrize(
    ("title", "engine", "role", "indices"),
    [
        ("VLLM::Worker_TP0", "vllm", "Worker", {"TP": 0}),
        ("VLLM::Worker_DP0_PP1_TP3_EP0", "vllm", "Worker", {"DP": 0, "PP": 1, "TP": 3, "EP": 0}),
        ("VLLM::Worker_PP1_PCP0_TP12_DCP3", "vllm", "Worker", {"PP": 1, "PCP": 0, "TP": 12, "DCP": 3}),
        ("VLLM::Worker", "vllm", "Worker", {}),
        ("VLLM::EngineCore_DP1", "vllm", "EngineCore", {"DP": 1}),
        ("team-a::Worker_TP1", "vllm", "Worker", {"TP": 1}),
        ("vLLM-Omni::DiffusionWorker_TP1", "vllm", "Worker", {"TP": 1}),
        ("VllmWorkerProcess", "vllm", "Worker", {}),
        ("sglang::scheduler_TP0", "sglang", "scheduler", {"TP": 0}),
        ("sglang::scheduler_DP1_PP0_TP3_EP2", "sglang", "scheduler", {"DP": 1, "PP": 0, "TP": 3, "EP": 2}),
        ("sglang::scheduler_TP3_PP1", "sglang", "scheduler", {"TP": 3, "PP": 1}),
        ("sglang::scheduler", "sglang", "scheduler", {}),
    ],
)
def test_reads_ranks_from_titles(title: str, engine: str, role: str, indices: dict[str, int]) -> None:
    """Titles of vLLM and SGLang, of now and of before, give role and indices."""
    assert ranks_in_title(title) == (engine, role, indices)


@pytest.mark.parametrize(
    "title",
    [
        "",
        " ",
        "python",
        "VLLM::Worker_TP",
        "VLLM::APIServer_0",
        "sglang::detokenizer",
        "ray::RayWorkerWrapper.execute",
        "x" * 300,
    ],
)
def test_other_titles_say_nothing(title: str) -> None:
    """A title that is cut short, or another program's, gives no rank."""
    assert ranks_in_title(title) is None


@given(st.text(alphabet="VLMvlm:Worker_TPDE0123456789 \n", max_size=200))
def test_no_title_breaks_it(title: str) -> None:
    """Whatever a process calls itself, there is an answer."""
    found = ranks_in_title(title)
    assert found is None or all(index >= 0 for index in found.indices.values())
