"""What all measurements stand on: the peers in a venv of their own, the fake driver, processes that exist."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from fake_nvml.build import build  # noqa: E402  # the fake driver lives under tests/
from fake_nvml.scenario import Scenario  # noqa: E402

PEERS = ("nvitop", "gpustat", "nvitop-exporter")
GPUS = 8
PROCESSES = 30
GIB = 1 << 30


class NotAnsweringError(Exception):
    """A program under measurement did not start or does not answer."""


@dataclass(frozen=True)
class Stage:
    """Where things are, and the environment in which all programs meet the same driver."""

    folder: Path
    peers: Path
    env: dict[str, str]

    def peer(self, name: str) -> list[str]:
        """A peer's command."""
        return [str(self.peers / "bin" / name)]

    @property
    def gpuwatch(self) -> list[str]:
        """Our own command, from beside the Python that runs the bench."""
        return [str(Path(sys.executable).parent / "gpuwatch")]

    def versions(self) -> str:
        """Which peers these are."""
        listed = subprocess.run(
            [self.peers / "bin" / "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=True
        )
        wanted = [line for line in listed.stdout.splitlines() if line.split("==")[0] in {*PEERS, "nvidia-ml-py"}]
        return "Peers: " + ", ".join(line.replace("==", " ") for line in wanted) + "."


def peers_venv(folder: Path) -> Path:
    """The peers, installed once."""
    venv = folder / "peers"
    if not (venv / "bin" / PEERS[0]).exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS], check=True)
    return venv


def scenario_with(pids: list[int], gpus: int) -> Scenario:
    """Boards at work, the processes spread over them."""
    scenario = Scenario.of("h100", gpus)
    for number, pid in enumerate(pids):
        scenario.gpu(number % gpus).process(pid, 60 * GIB * gpus // len(pids), 20)
    return scenario


@contextlib.contextmanager
def set_up(folder: Path, gpus: int = GPUS, processes: int = PROCESSES) -> Iterator[Stage]:
    """The stage, for as long as its processes sleep."""
    folder.mkdir(exist_ok=True)
    peers = peers_venv(ROOT / ".bench")
    library = build(folder / "library")
    sleepers = [subprocess.Popen(["sleep", "infinity"]) for _ in range(processes)]
    try:
        scenario = scenario_with([sleeper.pid for sleeper in sleepers], gpus).save(folder / "scenario")
        env = {**os.environ, **scenario.environment(library), "PYTHONDONTWRITEBYTECODE": ""}
        yield Stage(folder, peers, env)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
        for sleeper in sleepers:
            sleeper.wait()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_answering(process: subprocess.Popen[bytes], port: int, seconds: float = 20) -> None:
    """Returns once the port takes connections."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotAnsweringError(f"it ended with {process.returncode}; .bench/server.log says why")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise NotAnsweringError(f"it does not listen on port {port}; .bench/server.log may say why")


@contextlib.contextmanager
def served(stage: Stage, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server under measurement, answering; its words go to a log beside the results."""
    with (stage.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=stage.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until_answering(process, port)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def agent(
    stage: Stage, interval_s: float, core: int | None = None, *, fast_only: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Our agent at an interval, on one core where that is asked, and its port."""
    port = free_port()
    config = stage.folder / f"agent-{interval_s:g}.toml"
    rarely = "medium_s = 600.0\nslow_s = 3600.0\n" if fast_only else ""
    config.write_text(f"[sampling]\ninterval_s = {float(interval_s)}\n{rarely}")
    command = [*stage.gpuwatch, "agent", "--listen", f"127.0.0.1:{port}", "--config", str(config)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with served(stage, command, port) as process:
        yield process, port


@contextlib.contextmanager
def nvitop_exporter(stage: Stage, core: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The peer that also serves: refreshed once a second, on one core where that is asked."""
    port = free_port()
    command = [*stage.peer("nvitop-exporter"), "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1"]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with served(stage, command, port) as process:
        yield process, port
