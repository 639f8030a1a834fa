"""NCCL's RAS service: asked over a real socket, believed only where it makes sense."""

import socket
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuwatch_agent.attribution import ras
from gpuwatch_agent.attribution.ras import (
    REMEMBERED_S,
    Communicator,
    NobodyListensError,
    Rank,
    RasError,
    RasMemory,
    ask,
    communicators_in,
)
from support.ras_server import TEXT, answer, communicator, rank, serving
from support.reading import SettableClock

PAIR = [rank(0, 100, 0, AllReduce=70), rank(1, 101, 1, AllReduce=69)]
HERE = Communicator(
    id="0x27a079b828ff1a75/0x6a3f:0x91",
    size=2,
    ranks=(Rank(rank=0, pid=100, gpu=0), Rank(rank=1, pid=101, gpu=1)),
    collectives=70,
)


def hurried(step_s: float) -> Callable[[], float]:
    """A clock on which every look takes so long."""
    clock = SettableClock(0.0)

    def look() -> float:
        clock.now += step_s
        return clock.now

    return look


def test_asks_in_the_words_of_the_protocol() -> None:
    """Handshake, a time-out of NCCL's own, JSON, status: and reads until the other side hangs up."""
    with serving(answer(communicator(PAIR))) as server:
        assert ask(server.address) == [HERE]
    assert server.said == ["CLIENT PROTOCOL 2", "TIMEOUT 3", "SET FORMAT json", "STATUS"]


def test_an_answer_in_pieces_of_many_packets() -> None:
    """A world of 512 ranks is longer than any packet."""
    many = [rank(number, 1000 + number, number % 8) for number in range(512)]
    with serving(answer(*(communicator(many, name=f"0x{number:x}") for number in range(4)))) as server:
        assert [len(one.ranks) for one in ask(server.address)] == [512] * 4


def test_no_job_is_no_fault() -> None:
    """An error of its own, as nothing is wrong with a machine on which no NCCL job runs."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(NobodyListensError):
        ask(f"127.0.0.1:{port}")


def test_an_nccl_that_knows_only_text() -> None:
    """Its text names no members, so that nothing is taken from it, and the reason is said."""
    with serving(TEXT, json=False) as server, pytest.raises(RasError, match=r"text only.*2\.28\.7"):
        ask(server.address)
    assert "STATUS" not in server.said


@pytest.mark.parametrize("silent_at", ["CLIENT", "TIMEOUT", "SET FORMAT", "STATUS"])
def test_a_service_that_falls_silent(silent_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up after so many seconds in all, wherever it stops."""
    monkeypatch.setattr(ras, "WHOLE_S", 0.2)
    with serving() as server:
        server.silent_at = silent_at
        with pytest.raises(RasError, match=r"did not answer within 0\.2 s"):
            ask(server.address)


def test_a_service_that_trickles() -> None:
    """Five seconds count for the whole answer: not for each piece of it."""
    with serving() as server:
        server.endless = True
        with pytest.raises(RasError, match="did not answer within 5 s"):
            ask(server.address, clock=hurried(0.1))


def test_a_service_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read than an answer can be long."""
    monkeypatch.setattr(ras, "MOST_BYTES", 1 << 20)
    with serving() as server:
        server.endless = True
        with pytest.raises(RasError, match="more than 1 MiB"):
            ask(server.address)


@pytest.mark.parametrize("cut_at", [0, 1, 700])
def test_an_answer_that_is_cut_off(cut_at: int) -> None:
    """Half an answer is none."""
    with serving(answer(communicator(PAIR))) as server:
        server.cut_at = cut_at
        with pytest.raises(RasError, match="not what NCCL says"):
            ask(server.address)


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xfe\n", b"\n", b"x" * 5000]
)
def test_somebody_else_on_that_port(greeting: bytes) -> None:
    """Whatever answers there without NCCL's greeting is left alone."""
    with serving(greeting=greeting) as server, pytest.raises(RasError, match="not NCCL's RAS service"):
        ask(server.address)
    assert server.said == ["CLIENT PROTOCOL 2"]


@pytest.mark.parametrize("hangs_up_at", ["CLIENT", "TIMEOUT", "SET FORMAT"])
def test_somebody_who_hangs_up(hangs_up_at: str) -> None:
    """A connection that is closed in the middle is an error with a reason."""
    with serving() as server:
        server.hangs_up_at = hangs_up_at
        with pytest.raises(RasError, match=r"hung up|broke off"):
            ask(server.address)


def test_ranks_of_other_machines_are_left_out() -> None:
    """They count for the size; their PIDs mean nothing here. Addresses are compared, and no name is looked up."""
    ranks = [*PAIR, rank(2, 100, 0, host="192.0.2.7"), rank(3, 101, 1, host="example.org"), rank(4, 1, 0, host="")]
    (found,) = communicators_in(answer(communicator(ranks)))
    assert (found.size, found.ranks) == (5, HERE.ranks)


def test_both_families_of_addresses() -> None:
    """NCCL writes the address of the interface it met on."""
    assert ras._is_here("127.0.0.1")
    assert not ras._is_here("192.0.2.7")
    assert not ras._is_here("2001:db8::7")
    assert not ras._is_here("localhost")


@pytest.mark.parametrize(
    "ranks",
    [
        PAIR[:1],
        [rank(0, 100, 0), rank(0, 101, 1)],
        [rank(0, 100, 0), rank(2, 101, 1)],
        [rank(0, 100, 0), rank(-1, 101, 1)],
        [rank(0, 100, 0), rank(1, -1, 1)],
        [rank(0, 100, 0), rank(1, 101, -1)],
        [rank(0, 100, 0, Send=9), rank(1, 101, 1, Recv=9)],
        [rank(0, 100, 0), rank(1, 101, 1, status={"finalize_called": True})],
        [rank(0, 100, 0, status={"abort_flag": True}), rank(1, 101, 1)],
    ],
    ids=["one", "twice", "beyond", "below", "no-pid", "no-gpu", "pipeline", "finished", "aborted"],
)
def test_communicators_that_are_no_group_here(ranks: list[dict[str, object]]) -> None:
    """One rank alone, numbers that can't be, a pipeline that only sends and receives, and what is at its end."""
    assert communicators_in(answer(communicator(ranks))) == []


def test_a_name_that_is_no_hash_is_refused() -> None:
    """A name goes into what people read: nothing but a number gets there."""
    assert communicators_in(answer(communicator(PAIR, name="\x1b[2J"))) == []


@example(b"[" * 100_000)
@example(b'{"communicators": [{"hash": "0x1", "size": 2, "ranks": [' + b"[" * 50_000)
@example(b"")
@given(st.binary(max_size=200))
def test_garbage_is_an_error_with_a_reason(garbage: bytes) -> None:
    """Bytes of any kind, and nesting without end."""
    with pytest.raises(RasError):
        communicators_in(garbage)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ranks", "hash", "size", "pid"]), inner)
    ),
    max_leaves=8,
)


@given(_json)
def test_json_of_another_kind(document: object) -> None:
    """Well-formed, with fields of other types: refused or empty, never believed."""
    try:
        found = communicators_in(msgspec.json.encode({"communicators": document}))
    except RasError:
        return
    assert found == []


def test_hosts_without_end_are_not_all_looked_up() -> None:
    """Somebody who names a new host for every rank does not make us open sockets without end."""
    asked: list[str] = []

    def here(host: str) -> bool:
        asked.append(host)
        return False

    ranks = [rank(number, 1, 0, host=f"10.{number >> 8}.{number & 255}.1") for number in range(6000)]
    communicators_in(answer(communicator(ranks)), here)
    assert len(asked) <= 4096


def test_jobs_that_share_the_port_are_remembered_together() -> None:
    """Each connection reaches one of them; what was not heard again for five minutes is forgotten."""
    clock = SettableClock()
    memory = RasMemory(clock)
    other = msgspec.structs.replace(HERE, id="0x2")
    memory.hear([HERE])
    clock.now += 200
    memory.hear([other])
    assert memory.communicators() == [HERE, other]
    clock.now += REMEMBERED_S - 100
    assert memory.communicators() == [other]
    memory.hear([])
    assert memory.communicators() == [other]
