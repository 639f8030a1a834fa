import argparse
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuwatch.agent_address import read_hosts
from gpuwatch.cli import main
from gpuwatch.cli.dashboard import make_app, run
from gpuwatch.cli.terminal import Terminal
from gpuwatch.local_agent import find_local_agent
from gpuwatch.source import command_config
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.feeds.embedded import EmbeddedFeed
from gpuwatch.tui.feeds.remote import RemoteFeed
from gpuwatch_agent.config import AgentSection, Config, DashboardSection
from gpuwatch_agent.model.errors import AgentUnreachableError, UsageError
from support.running_agent import RunningAgent, running_agent

SIMULATED = "dgx-h100-8"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """A real agent of a simulated machine."""
    log = tmp_path_factory.mktemp("agent") / "log"
    with running_agent(os.environ, "--sim", SIMULATED, log=log) as running:
        running.frame_where(lambda frame: len(frame.gpus) == 8)
        yield running


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"connect": None, "hosts": None, "sim": None, "token_file": None, "config": "/dev/null", **given}
    )


def opened(given: argparse.Namespace) -> GpuwatchApp:
    return make_app(given, command_config(given))


def listening_at(listen: str) -> Config:
    return Config(agent=AgentSection(listen=listen))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sim": "no-such-machine"}, "no-such-machine"),
        ({"connect": ["ftp://node07"]}, "'ftp://node07' is no agent's address."),
        ({"connect": ["node07"], "sim": SIMULATED}, "exclude each other"),
        ({"connect": ["node07"], "token_file": "/no/such/token"}, "can't be read: no such file"),
        ({"connect": ["node07", "node08"], "token_file": "/no/such/token"}, "can't be read: no such file"),
        ({"hosts": "/no/such/hosts"}, "The hosts file /no/such/hosts can't be read"),
    ],
)
def test_what_makes_no_sense_is_told_before_the_screen_opens(given: dict[str, object], sentence: str) -> None:
    """A wrong name, address, token file or hosts file is a sentence, not a broken screen."""
    with pytest.raises(UsageError, match=re.escape(sentence)):
        opened(options(**given))


def test_an_agent_that_does_not_answer_is_told_before_the_screen_opens() -> None:
    """A single agent is asked once first: who mistyped its name reads so at once."""
    with pytest.raises(AgentUnreachableError, match=r"No gpuwatch agent answers at http://127\.0\.0\.1:1 "):
        opened(options(connect=["127.0.0.1:1"]))


def test_one_agent_is_followed_and_several_are_to_choose_from(agent: RunningAgent) -> None:
    """--connect once leads in, twice (or with --hosts) to the picker, each address once."""
    one = opened(options(connect=[agent.url]))
    assert isinstance(one.feed, RemoteFeed)
    assert one.feed.state.kind == "remote"
    assert one.fleet is None
    several = opened(options(connect=[agent.url, "node08", agent.url]))
    assert several.here == "nodes"
    assert several.fleet is not None
    assert [node.url for node in several.fleet.nodes] == [agent.url, "http://node08:9489"]


def test_a_hosts_file_has_remarks_and_blank_lines(tmp_path: Path) -> None:
    """One agent a line; behind # is a remark; a line that makes no sense is told by its number."""
    file = tmp_path / "hosts"
    file.write_text("# rack 1\nnode07\n\nhttps://node08   # behind a proxy\nnode07\n")
    assert read_hosts(str(file)) == ["http://node07:9489", "https://node08"]
    file.write_text("node07\nftp://x\n")
    with pytest.raises(UsageError, match="Line 2 of "):
        read_hosts(str(file))
    file.write_text("# nobody\n")
    with pytest.raises(UsageError, match="names no agent"):
        read_hosts(str(file))


def test_an_agent_that_runs_here_is_asked(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where one answers at the configured address the GPUs are not read a second time; else they are, here."""
    address = agent.url.removeprefix("http://")
    assert find_local_agent(listening_at(address)) == agent.url
    config = tmp_path / "config.toml"
    config.write_text(f'[agent]\nlisten = "{address}"\ntoken_file = "/root/only/token"\n')
    app = opened(options(config=str(config)))
    assert isinstance(app.feed, RemoteFeed)
    assert app.feed.state.kind == "local"
    config.write_text('[agent]\nlisten = "127.0.0.1:1"\n')
    assert isinstance(opened(options(config=str(config))).feed, EmbeddedFeed)
    config.write_text(f'[agent]\nlisten = "{address}"\n')
    assert isinstance(opened(options(config=str(config), sim=SIMULATED)).feed, EmbeddedFeed)


def serve_once(answer: bytes | None) -> tuple[str, Callable[[], None]]:
    """A listener that says that to one caller, or nothing at all; gives its address and how to end it."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        held.append(connection)
        if answer is not None:
            connection.recv(4096)
            connection.sendall(answer)
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        listener.close()
        thread.join(timeout=5)
        for connection in held:
            connection.close()

    return f"127.0.0.1:{listener.getsockname()[1]}", end


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b'HTTP/1.1 200 OK\r\n\r\n{"schema":2,"node":"x"',
        b'HTTP/1.1 401 No\r\n\r\n{"schema":1,"node":"x"',
    ],
)
def test_what_is_no_agent_of_ours_is_left_alone(answer: bytes | None) -> None:
    """A silent port, another program, another version or one that wants a token: then this process reads itself."""
    address, end = serve_once(answer)
    try:
        assert find_local_agent(listening_at(address)) is None
    finally:
        end()


@pytest.mark.parametrize("listen", ["unix:/run/gpuwatch.sock", "10.1.2.3:9489", "127.0.0.1:1"])
def test_other_addresses_are_not_tried(listen: str) -> None:
    """Only what this machine alone can reach counts as the agent here."""
    assert find_local_agent(listening_at(listen)) is None


def test_several_agents_in_a_pipe_come_one_after_the_other(
    agent: RunningAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal each is shown as `status` shows it; who does not answer is told and costs the exit code."""
    assert main(["--connect", agent.url, "--connect", "127.0.0.1:1"]) == 3
    told = capsys.readouterr()
    assert "8×H100" in told.out
    assert "No gpuwatch agent answers at http://127.0.0.1:1 " in told.err
    assert main(["topo", "--connect", agent.url, "--connect", "node08"]) == 2


class Screen:
    """The real program on a pseudo-terminal of 100 by 30."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpuwatch", "--config", "/dev/null", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            process_group=0,
        )
        self.seen = ""

    def wait_for(self, words: str, within_s: float = 20.0) -> None:
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], within_s)
            assert ready, f"no {words!r} on the screen: {self.seen[-2000:]}"
            piece = os.read(self.master, 65536).decode(errors="replace")
            # Words may be written in pieces with a style each.
            self.seen += re.sub(r"\x1b\[[0-9;]*m", "", piece)

    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def screen() -> Iterator[Callable[..., Screen]]:
    """Opens screens and closes them."""
    opened: list[Screen] = []

    def start(*arguments: str) -> Screen:
        opened.append(Screen(*arguments))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("how", "status"), [("q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_however_it_ends_the_terminal_is_as_before(
    screen: Callable[..., Screen], how: str | signal.Signals, status: int
) -> None:
    """By key or signal: main screen, cursor and line discipline are back, and no sampler is left behind."""
    shown = screen("--sim", SIMULATED)
    shown.wait_for("H100 80GB HBM3")
    samplers = shown.children()
    assert len(samplers) == 1
    if isinstance(how, str):
        os.write(shown.master, how.encode())
    else:
        shown.process.send_signal(how)
    shown.wait_for("\x1b[?1049l")
    assert shown.process.wait(timeout=10) == status
    assert termios.tcgetattr(shown.slave) == shown.before
    assert all(ended(pid) for pid in samplers)


def test_a_remote_agent_on_a_real_terminal(screen: Callable[..., Screen], agent: RunningAgent) -> None:
    """The badge and the node's numbers are there, and quitting leaves the agent as it was."""
    shown = screen("--connect", agent.url)
    shown.wait_for("REMOTE")
    shown.wait_for("H100 80GB HBM3")
    os.write(shown.master, b"q")
    shown.wait_for("\x1b[?1049l")
    assert shown.process.wait(timeout=10) == 0
    assert agent.get("/healthz").status_code == 200


def test_killed_outright_it_leaves_no_sampler_behind(screen: Callable[..., Screen]) -> None:
    """SIGKILL gives nobody a chance to tidy up: the sampler sees its lifeline close and goes by itself."""
    shown = screen("--sim", SIMULATED)
    shown.wait_for("H100 80GB HBM3")
    (sampler,) = shown.children()
    watched = os.pidfd_open(sampler)
    try:
        shown.process.kill()
        assert select.select([watched], [], [], 20.0)[0], "the sampler is still there"
    finally:
        os.close(watched)


def test_read_only_by_flag_can_not_be_undone_from_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--read-only` reaches the dashboard, and its settings page may not take it back."""
    seen: list[tuple[bool, bool]] = []

    def look(app: GpuwatchApp, *, mouse: bool) -> int:
        before = app.read_only
        app.apply_settings(DashboardSection(read_only=False))
        seen.append((before, app.read_only))
        return 0 if mouse else 1

    monkeypatch.setattr("gpuwatch.tui.launch.run_to_its_end", look)
    monkeypatch.setattr("gpuwatch.tui.launch.look", lambda: Terminal(80, 24, True, True, True))
    for flags in ({"read_only": True}, {}):
        assert run(options(sim=SIMULATED, **flags)) == 0
    assert seen == [(True, True), (False, False)]
