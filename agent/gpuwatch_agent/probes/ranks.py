"""Starting the ranks of a probe: torchrun's command line and the environment it gets."""

import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gpuwatch_agent.probes.child import ChildEnd, Event, Patience, run_child

# What a surrounding job may have set for its own ranks.
_NOT_OURS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_NOT_OURS_PREFIXES = ("TORCHELASTIC_", "PET_")


async def run_ranks(
    count: int,
    worker: Sequence[str],
    spec: Mapping[str, object],
    *,
    run: str,
    gpus: Sequence[str],
    environ: Mapping[str, str],
    p2p_disabled: bool,
    patience: Patience,
    on_event: Callable[[Event], None],
) -> ChildEnd:
    """So many ranks of that worker to their end, on the GPUs of these UUIDs or, where there are none, on the processor."""
    # The ranks meet on this host, at a port that is free: other jobs' addresses and ports do not matter.
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    ranks = ["--nproc-per-node", str(count), "--max-restarts", "0"]
    timeout_s = max(min(patience.deadline_s, 60.0), 1.0)
    document = {"device": "cuda" if gpus else "cpu", "timeout_s": timeout_s, **spec}
    return await run_child(
        [*torchrun, *ranks, *worker, msgspec.json.encode(document).decode()],
        run=run,
        environment=_environment(environ, gpus, p2p_disabled=p2p_disabled),
        patience=patience,
        on_event=on_event,
    )


def _environment(environ: Mapping[str, str], gpus: Sequence[str], *, p2p_disabled: bool) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _NOT_OURS and not name.startswith(_NOT_OURS_PREFIXES)
    }
    ours = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    if not gpus:
        ours["GLOO_SOCKET_IFNAME"] = "lo"
    elif p2p_disabled:
        ours["NCCL_P2P_DISABLE"] = "1"
    return {**kept, **ours}
