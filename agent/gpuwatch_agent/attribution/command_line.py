"""What an inference engine's or a launcher's command line tells of how it shares its GPUs."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from gpuwatch_agent.attribution.environment import whole_number
from gpuwatch_agent.attribution.program import Program, basename, is_title, printable, program_of

_TENSOR = ("--tensor-parallel-size", "--tensor-model-parallel-size", "--tp-size")
_PIPELINE = ("--pipeline-parallel-size", "--pipeline-model-parallel-size", "--pp-size")
_MODEL = ("--model", "--model-path", "--model-id", "--model-dir")

# Short flags mean something only where the engine is known: `--tp` of a script of one's own may be anything.
_TENSOR_OF: Mapping[str, Sequence[str]] = {
    "vllm": ("-tp", "--tensor-parallel-size"),
    "sglang": ("--tp", "--tp-size", "--tensor-parallel-size"),
    "tgi": ("--num-shard",),
    "tensorrt-llm": ("--tp-size", "--tp"),
    "lmdeploy": ("--tp",),
    "llama.cpp": (),
    "ollama": (),
}
_PIPELINE_OF: Mapping[str, Sequence[str]] = {
    "vllm": ("-pp", "--pipeline-parallel-size"),
    "sglang": ("--pp-size", "--pipeline-parallel-size", "--pp"),
    "tensorrt-llm": ("--pp-size", "--pp"),
}
_ENGINE_OF_PROGRAM = {
    "vllm": "vllm",
    "sglang": "sglang",
    "text-generation-launcher": "tgi",
    "text-generation-server": "tgi",
    "trtllm-serve": "tensorrt-llm",
    "trtllm-bench": "tensorrt-llm",
    "trtllm-eval": "tensorrt-llm",
    "tensorrt_llm": "tensorrt-llm",
    "lmdeploy": "lmdeploy",
    "llama_cpp": "llama.cpp",
    "ollama": "ollama",
    "ollama_llama_server": "ollama",
}
_LAUNCHERS = {
    "torchrun": "torchrun",
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate": "accelerate",
    "deepspeed": "deepspeed",
    "deepspeed.launcher.launch": "deepspeed",
    "mpirun": "mpirun",
    "mpiexec": "mpirun",
    "orterun": "mpirun",
    "prterun": "mpirun",
    "orted": "mpirun",
    "prted": "mpirun",
}
_SPLIT_MODES = {
    "0": "none",
    "1": "layer",
    "2": "row",
    "none": "none",
    "layer": "layer",
    "row": "row",
    "tensor": "tensor",
}
_MODEL_AFTER = {"serve", "api_server", "chat"}


class EngineCommand(NamedTuple):
    """A command line that says how a model is shared; sizes are `None` where it does not say."""

    engine: str
    model: str | None
    tensor_size: int | None
    pipeline_size: int | None
    tensor_flag: str | None
    """The flag and its value as evidence, such as "--tensor-parallel-size 4"."""
    split_mode: str | None = None
    dp_attention: bool = False


class LauncherCommand(NamedTuple):
    """A command line that starts the same program several times."""

    launcher: str
    world_size: int | None


@lru_cache(maxsize=2048)
def engine_command(argv: tuple[str, ...]) -> EngineCommand | None:
    """What the command line says, if it is an engine's or if it carries a tensor-parallel size."""
    if not argv or is_title(argv):
        return None
    program = program_of(argv)
    engine = _engine_of(program.name)
    flags = _flags(program.arguments)
    tensor = _first(flags, _TENSOR_OF[engine] if engine else _TENSOR)
    tensor_size = whole_number(tensor[1]) if tensor else None
    if engine is None and tensor_size is None:
        return None
    pipeline = _first(flags, _PIPELINE_OF.get(engine, ()) if engine else _PIPELINE)
    split = _first(flags, ("-sm", "--split-mode")) if engine in {"llama.cpp", "ollama"} else None
    return EngineCommand(
        engine=engine or "distributed",
        model=_model(engine, program, flags),
        tensor_size=tensor_size or None,
        pipeline_size=(whole_number(pipeline[1]) or None) if pipeline else None,
        tensor_flag=f"{tensor[0]} {tensor[1]}" if tensor and tensor_size else None,
        split_mode=_SPLIT_MODES.get(split[1]) if split else None,
        dp_attention="--enable-dp-attention" in flags,
    )


@lru_cache(maxsize=2048)
def launcher_command(argv: tuple[str, ...]) -> LauncherCommand | None:
    """What the command line launches, if it is a known launcher's."""
    program = program_of(argv)
    launcher = _LAUNCHERS.get(program.name)
    if launcher is None:
        return None
    flags = _flags(program.arguments)
    size = None
    if launcher == "torchrun":
        per_node = _first(flags, ("--nproc-per-node",))
        nodes = _first(flags, ("--nnodes",)) or ("--nnodes", "1")
        size = (whole_number(per_node[1]) or 0) * (whole_number(nodes[1]) or 0) if per_node else None
    elif launcher == "mpirun":
        count = _first(flags, ("-np", "-n", "--np"))
        size = whole_number(count[1]) if count else None
    return LauncherCommand(launcher, size or None)


@lru_cache(maxsize=2048)
def script_name(argv: tuple[str, ...]) -> str | None:
    """What is launched, as a group's name shows it."""
    if not argv or is_title(argv):
        return None
    program = program_of(argv)
    return None if program.arguments[:1] == ("-c",) else printable(program.name)[:64]


def split_mode_of(command: EngineCommand, environ: Mapping[str, str] | None) -> str | None:
    """llama.cpp takes its split mode from the command line, else from its own environment variable."""
    return command.split_mode or _SPLIT_MODES.get((environ or {}).get("LLAMA_ARG_SPLIT_MODE", ""))


def _engine_of(program: str) -> str | None:
    if program.startswith("llama-"):
        return "llama.cpp"
    return _ENGINE_OF_PROGRAM.get(program) or _ENGINE_OF_PROGRAM.get(program.partition(".")[0])


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """Every flag with the word after it; a flag given twice counts the last time, as engines have it."""
    flags: dict[str, str] = {}
    for position, word in enumerate(arguments):
        if not word.startswith("-") or len(word) > 256:
            continue
        name, equals, value = word.partition("=")
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        flags[name.replace("_", "-")] = value
    return flags


def _first(flags: Mapping[str, str], names: Sequence[str]) -> tuple[str, str] | None:
    return next(((name, flags[name]) for name in names if name in flags), None)


def _model(engine: str | None, program: Program, flags: Mapping[str, str]) -> str | None:
    if engine is None:
        return printable(program.name)[:64]
    named = _first(flags, ("--model-id", "-m", "--model", "-hf") if engine in {"llama.cpp", "tgi"} else _MODEL)
    path = named[1] if named else _positional_model(engine, program.arguments)
    return model_name(path) if path else None


def _positional_model(engine: str, arguments: Sequence[str]) -> str | None:
    """`vllm serve MODEL`, `lmdeploy serve api_server MODEL`, `text-generation-server serve MODEL`, `trtllm-serve MODEL`."""
    follows = engine == "tensorrt-llm"
    for word in arguments:
        if word in _MODEL_AFTER:
            follows = True
        elif follows:
            return None if word.startswith("-") else word
    return None


def model_name(path: str) -> str:
    """A model as people know it: a hub name as it is, a cache path by its hub name, another path by its last part."""
    for part in path.split("/"):
        if part.startswith("models--"):
            return printable(part.removeprefix("models--").replace("--", "/"))[:64]
    name = basename(path) if path.startswith((".", "/", "~")) else path
    if name.startswith("sha256-"):
        name = name[:19]
    return printable(name)[:64]
