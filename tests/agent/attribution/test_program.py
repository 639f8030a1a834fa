import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.attribution.command_line import EngineCommand, engine_command, launcher_command, model_name
from gpuwatch_agent.attribution.program import printable, short_name


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("VLLM::Worker_TP0",), "VLLM::Worker_TP0"),
        (("nginx: worker process",), "nginx"),
        (("postgres: writer",), "postgres"),
        (("/usr/bin/python3", "-u", "/srv/train.py", "--lr", "1"), "train.py"),
        (("python3.12", "-X", "dev", "-m", "vllm.entrypoints.openai.api_server", "--model", "x"), "vllm"),
        (("python", "-m", "torch.distributed.run", "x.py"), "torch.distributed.run"),
        (("/opt/venv/bin/python", "/opt/venv/bin/vllm", "serve", "x"), "vllm"),
        (("python", "-c", "print(1)"), "python -c"),
        (
            ("python", "-c", "from multiprocessing.spawn import spawn_main", "--multiprocessing-fork"),
            "python (multiprocessing)",
        ),
        (("python3",), "python3"),
        (("-bash",), "bash"),
        (("/bin/sh", "-e", "/srv/run.sh"), "run.sh"),
        (("bash", "-c", "sleep 1"), "bash -c"),
        (("/usr/lib/xorg/Xorg", ":0"), "Xorg"),
        (("/opt/my app/run me", "x"), "run me"),
        (("a\x1b[31mb",), "a\\x1b[31mb"),
        (("",), ""),
    ],
)
def test_short_names_are_what_a_person_would_say(argv: tuple[str, ...], name: str) -> None:
    """Interpreters, paths and titles are seen through."""
    assert short_name(argv) == name


@given(st.lists(st.text(max_size=40), max_size=8).map(tuple))
def test_no_command_line_breaks_it(argv: tuple[str, ...]) -> None:
    """Whatever stands in a command line, name and commands come out, safe to print."""
    assert printable(short_name(argv)) == short_name(argv)
    engine_command(argv)
    launcher_command(argv)


@pytest.mark.parametrize(
    ("line", "engine", "model", "tensor", "pipeline"),
    [
        ("vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4 -pp 2", "vllm", "meta-llama/Llama-3.1-70B-Instruct", 4, 2),
        ("vllm serve --tensor-parallel-size=8 --model Qwen/Qwen3-32B", "vllm", "Qwen/Qwen3-32B", 8, None),
        (
            "python -m vllm.entrypoints.openai.api_server --model /m/Llama --tensor_parallel_size 2",
            "vllm",
            "Llama",
            2,
            None,
        ),
        ("python3 -m sglang.launch_server --model-path Qwen/Q --tp 8 --pp-size 2", "sglang", "Qwen/Q", 8, 2),
        ("sglang serve --model-path Qwen/Q --tp-size 2", "sglang", "Qwen/Q", 2, None),
        ("text-generation-launcher --model-id bigscience/bloom --num-shard 4", "tgi", "bigscience/bloom", 4, None),
        ("/usr/local/bin/trtllm-serve nvidia/M --tp_size 4 --pp_size 2", "tensorrt-llm", "nvidia/M", 4, 2),
        ("lmdeploy serve api_server internlm/internlm2 --tp 2", "lmdeploy", "internlm/internlm2", 2, None),
        ("python pretrain_gpt.py --tensor-model-parallel-size 2", "distributed", "pretrain_gpt.py", 2, None),
        ("vllm serve Qwen/Q -tp four", "vllm", "Qwen/Q", None, None),
        ("vllm serve Qwen/Q", "vllm", "Qwen/Q", None, None),
    ],
)
def test_engines_say_how_they_share(
    line: str, engine: str, model: str | None, tensor: int | None, pipeline: int | None
) -> None:
    """Each engine's flags give model and sizes; what is not a number gives no size."""
    command = engine_command(tuple(line.split()))
    assert command is not None
    assert (command.engine, command.model, command.tensor_size, command.pipeline_size) == (
        engine,
        model,
        tensor,
        pipeline,
    )


def test_llama_cpp_says_its_split_mode() -> None:
    """The split mode stands in the command of llama.cpp."""
    command = engine_command(("llama-server", "-m", "/m/q.gguf", "-sm", "row"))
    assert command == EngineCommand("llama.cpp", "q.gguf", None, None, None, "row")


@pytest.mark.parametrize("line", ["python train.py --tp 4", "bash -c ls", "python -c 1", "nginx", "torchrun x.py"])
def test_other_programs_are_no_engines(line: str) -> None:
    """A short flag of a program we do not know says nothing."""
    assert engine_command(tuple(line.split())) is None


@pytest.mark.parametrize(
    ("line", "launcher", "world_size"),
    [
        ("torchrun --nproc-per-node 8 train.py", "torchrun", 8),
        ("python -m torch.distributed.run --nproc_per_node=4 --nnodes=2 train.py", "torchrun", 8),
        ("torchrun --nproc-per-node auto train.py", "torchrun", None),
        ("mpirun -np 4 ./a.out", "mpirun", 4),
        ("accelerate launch train.py", "accelerate", None),
    ],
)
def test_launchers_say_how_many(line: str, launcher: str, world_size: int | None) -> None:
    """A launcher's command gives the world's size where it is written in figures."""
    assert launcher_command(tuple(line.split())) == (launcher, world_size)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("/models/Llama-3.1-8B/", "Llama-3.1-8B"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/0a1b", "Qwen/Qwen3-8B"),
        ("/usr/share/ollama/blobs/sha256-0123456789abcdef0123", "sha256-0123456789ab"),
    ],
)
def test_models_are_named_as_people_know_them(path: str, name: str) -> None:
    """Cache and file paths become names."""
    assert model_name(path) == name
