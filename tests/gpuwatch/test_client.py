from collections.abc import Callable
from itertools import islice
from pathlib import Path

import httpx
import msgspec
import pytest

from gpuwatch.agent_address import agent_url
from gpuwatch.remote_source import RemoteSource
from gpuwatch_agent.model.errors import AgentUnreachableError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def remote() -> Callable[..., RemoteSource]:
    """Makes a source whose agent is a function; waits are not waited for."""

    def make(answer: Answer, **options: str) -> RemoteSource:
        return RemoteSource("node07", transport=httpx.MockTransport(answer), wait=lambda _: None, **options)

    return make


def body(document: object, **changes: object) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(document), **changes})


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("node07", "http://node07:9489"),
        ("node07:80", "http://node07:80"),
        ("::1", None),
        ("[::1]", "http://[::1]:9489"),
        ("https://gpus.example.org/node07/", "https://gpus.example.org/node07"),
        ("http://node07", "http://node07"),
        ("", None),
        ("ftp://node07", None),
        ("node07:port", None),
    ],
)
def test_addresses(written: str, url: str | None) -> None:
    """A bare name gets scheme and port, a URL stays, nonsense is told."""
    if url is None:
        with pytest.raises(UsageError):
            agent_url(written)
    else:
        assert agent_url(written) == url


def test_snapshot_and_topology(
    remote: Callable[..., RemoteSource], frames: dict[str, Frame], topologies: dict[str, Topology]
) -> None:
    """Both documents come back as they were sent."""
    documents = {"/v1/snapshot": frames["broken"], "/v1/topology": topologies["eight"]}
    source = remote(lambda request: httpx.Response(200, content=msgspec.json.encode(documents[request.url.path])))
    assert source.frame(rates=False) == frames["broken"]
    assert source.topology() == topologies["eight"]


def test_the_token_is_sent(remote: Callable[..., RemoteSource], frames: dict[str, Frame], tmp_path: Path) -> None:
    """The first line of the token file goes into the header."""
    file = tmp_path / "token"
    file.write_text("s3cret\nsecond line\n")
    heard: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(request.headers["Authorization"])
        return httpx.Response(200, content=msgspec.json.encode(frames["no_gpu"]))

    remote(answer, token_file=str(file)).frame(rates=False)
    assert heard == ["Bearer s3cret"]


@pytest.mark.parametrize("content", ["", "\n", "sécret", "a\x07b"])
def test_a_token_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    """What can't be sent as a token is refused before anything is sent."""
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(UsageError, match="is not a token"):
        RemoteSource("node07", token_file=str(file))
    with pytest.raises(UsageError, match="can't be read: no such file"):
        RemoteSource("node07", token_file=str(tmp_path / "none"))


def problem(status: int, detail: str) -> Answer:
    return lambda _: httpx.Response(status, json={"title": "No", "status": status, "detail": detail})


def raising(error: type[httpx.HTTPError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("went wrong", request=request)  # type: ignore[call-arg]  # every transport error takes it

    return answer


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (problem(401, "x"), "wants a token. Give it with --token-file FILE"),
        (
            problem(403, "The host name node07 is not allowed."),
            "refuses: The host name node07 is not allowed. Address it by",
        ),
        (
            problem(503, "The first sample is not there yet."),
            "has nothing to show yet: The first sample is not there yet.",
        ),
        (problem(404, "Not found"), "http://node07:9489 answers 404 Not found."),
        (lambda _: httpx.Response(500, text="<html>"), "answers 500 Internal Server Error."),
        (lambda _: httpx.Response(200, text="<html>"), "What answers at http://node07:9489 is no gpuwatch agent."),
        (lambda _: httpx.Response(200, json={"schema": 1}), "is no gpuwatch agent."),
        (
            lambda _: httpx.Response(200, json={"schema": 2}),
            "speaks schema 2, this gpuwatch speaks 1. Install the same version",
        ),
        (raising(httpx.ConnectError), "No gpuwatch agent answers at http://node07:9489 (went wrong). Start one there"),
        (raising(httpx.ConnectTimeout), "(no answer within 3 s)"),
        (raising(httpx.ReadTimeout), "(it went silent for 10 s)"),
    ],
)
def test_every_way_to_fail_is_a_sentence(remote: Callable[..., RemoteSource], answer: Answer, sentence: str) -> None:
    """Whatever the other side does, the reader is told what and what to do."""
    with pytest.raises(AgentUnreachableError) as raised:
        remote(answer).frame(rates=False)
    assert sentence in str(raised.value)


def test_a_wrong_token_is_told_apart(remote: Callable[..., RemoteSource], tmp_path: Path) -> None:
    """Who has given a token is not told to give one."""
    (tmp_path / "token").write_text("wrong")
    with pytest.raises(AgentUnreachableError, match="does not accept this token"):
        remote(problem(401, "x"), token_file=str(tmp_path / "token")).frame(rates=False)


def at(frame: Frame, taken_at: float) -> bytes:
    return body(frame, taken_at=taken_at)


def test_the_stream_is_thinned_and_survives_a_break(
    remote: Callable[..., RemoteSource], frames: dict[str, Frame]
) -> None:
    """Frames come at the asked pace; when the agent goes the last one stays, with the trouble told, until it is back."""
    frame = frames["no_gpu"]
    streams = iter([[1, 2, 3, 4], None, [9]])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/snapshot":
            return httpx.Response(200, content=at(frame, 0))
        moments = next(streams)
        if moments is None:
            raise httpx.ConnectError("refused", request=request)
        events = b"".join(b": hello\n\nevent: frame\ndata: " + at(frame, moment) + b"\n\n" for moment in moments)
        return httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})

    seen = list(islice(remote(answer).frames(2.0), 5))
    assert [(one.taken_at, one.trouble is not None) for one in seen] == [
        (0, False),
        (2, False),
        (4, False),
        (4, True),
        (9, False),
    ]
    trouble = seen[3].trouble
    assert trouble is not None
    assert "No gpuwatch agent answers at http://node07:9489 (refused)." in trouble.message
