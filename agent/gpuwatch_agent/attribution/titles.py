"""Ranks that engines write into their workers' process titles."""

import re
from functools import lru_cache
from typing import NamedTuple

# `VLLM::Worker_DP0_PP1_TP3_EP0`; the prefix can be changed with VLLM_PROCESS_NAME_PREFIX, and only those parts are
# there whose size is above one. vLLM-Omni says DiffusionWorker.
_VLLM = re.compile(r"[\w.-]{1,64}::(?:Diffusion)?(Worker|EngineCore)((?:_[A-Z]+_?\d+)*)$")
# `sglang::scheduler_DP0_PP0_TP3_EP0`, in older releases with TP before PP.
_SGLANG = re.compile(r"sglang::(scheduler)((?:_[A-Z]+_?\d+)*)$")
_INDEX = re.compile(r"_([A-Z]+)_?(\d{1,6})")


class TitleRanks(NamedTuple):
    """What a title says: the engine, the role, and the index in each kind of parallelism, by its letters."""

    engine: str
    role: str
    indices: dict[str, int]


@lru_cache(maxsize=2048)
def ranks_in_title(title: str) -> TitleRanks | None:
    """The ranks in a process title; `None` where the title is nobody's we know."""
    words = title[:256].split()
    if not words:
        return None
    for engine, pattern in (("vllm", _VLLM), ("sglang", _SGLANG)):
        if match := pattern.match(words[0]):
            indices = {kind: int(index) for kind, index in _INDEX.findall(match[2])}
            return TitleRanks(engine, match[1], indices)
    # vLLM before its V1 engine; the driver in the parent is rank 0 there and the title does not number the others.
    if words[0].endswith("VllmWorkerProcess"):
        return TitleRanks("vllm", "Worker", {})
    return None
