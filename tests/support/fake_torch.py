"""A torch of a few lines for children: its torchrun starts ranks that speak as the real ones, or fail as asked for.

What they do is in the environment: FAKE_RANKS is one of the words of `_RANK`.
"""

import os
from pathlib import Path

# Ranks are in sessions of their own, as torchrun has it, and so in nobody's process group.
_TORCHRUN = """
import os, signal, subprocess, sys
arguments = sys.argv[1:]
count = int(arguments[arguments.index("--nproc-per-node") + 1])
if os.environ.get("FAKE_RANKS", "").startswith("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
rank = os.path.join(os.path.dirname(__file__), "rank.py")
ranks = [
    subprocess.Popen([sys.executable, rank, arguments[-1]], env={**os.environ, "RANK": str(number), "WORLD_SIZE": str(count)}, start_new_session=True)
    for number in range(count)
]
numbers = {one.pid: number for number, one in enumerate(ranks)}
for _ in ranks:
    pid, status = os.wait()
    status = os.waitstatus_to_exitcode(status)
    if status:
        number = numbers.pop(pid)
        for other in numbers:
            os.kill(other, signal.SIGKILL)
        sys.exit(f"Root Cause (first observed failure):\\n  rank      : {number} (local_rank: {number})\\n  exitcode  : {status} (pid: 1)")
"""

_RANK = """
import json, os, signal, sys, time
from gpuwatch_agent.probes.workers.speech import die_with_launcher
die_with_launcher()
spec = json.loads(sys.argv[1])
first = os.environ["RANK"] == "0"
what = os.environ.get("FAKE_RANKS", "well")
def say(event, **fields):
    if first or event == "refused":
        os.write(1, json.dumps({"event": event, **fields}).encode() + b"\\n")
def hang():
    while True:
        time.sleep(60)
say("starting", torch="2.13.0+fake" if what != "tell" else os.environ["CUDA_VISIBLE_DEVICES"], nccl="2.29.3")
if what == "no_nccl":
    say("refused", reason="no_nccl")
    sys.exit(1)
if what.startswith("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "stubborn":
    hang()
if what == "hang" or (what == "hang_with_p2p" and os.environ.get("NCCL_P2P_DISABLE") != "1"):
    hang()
if what == "port":
    sys.exit("RuntimeError: The server socket has failed to listen: EADDRINUSE, Address already in use")
if "shape" in spec:
    off = 0.5 if what == "wrong" and os.environ["WORLD_SIZE"] == "2" else 0.0
    say("result", steps=spec["steps"], seconds=0.3, ms_per_step_p50=10.0, ms_per_step_p99=None, allreduce_share=0.25,
        sample=[1.0, -0.5 + off])
    say("finished")
    sys.exit(0)
steps = spec["steps"]
for done, step in enumerate(steps):
    say("progress", phase="latency", dtype="float32", bytes=step["bytes"], percent=100 * done / len(steps), eta_s=1.0)
    if done and what == "out_of_memory":
        say("out_of_memory", bytes=step["bytes"], dtype="float32")
        sys.exit(0)
    if done and what in {"crash", "lost"} and not first:
        hang()  # until torchrun ends it
    if done and what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if done and what == "lost":
        sys.exit("RuntimeError: CUDA error: unspecified launch failure")
    if done and what in {"hang_later", "stubborn_later"}:
        hang()
    say("result", bytes=step["bytes"], dtype="float32", iterations=100, time_us=100.0, latency_us_p50=90.0,
        latency_us_p99=120.0, wrong=0)
say("ranks", work_us_p50=[50.0] * 2, call_us_p50=[90.0] * 2)
say("finished")
"""


def fake_torch(folder: Path, ranks: str = "well") -> dict[str, str]:
    """The environment in which children find it."""
    package = folder / "fake_torch/torch/distributed"
    package.mkdir(parents=True, exist_ok=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "run.py").write_text(_TORCHRUN)
    (package / "rank.py").write_text(_RANK)
    return {**os.environ, "PYTHONPATH": str(folder / "fake_torch"), "FAKE_RANKS": ranks}
