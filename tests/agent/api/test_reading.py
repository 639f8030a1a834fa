"""What readers get, over real sockets: bodies, tags, compression, HEAD, problems."""

import asyncio
from gzip import decompress

import httpx
import msgspec
import pytest
from msgspec import structs
from starlette.types import Receive, Scope, Send

from gpuwatch_agent.model.frame import Frame
from support.running_api import LOCAL, RunningApi, with_api
from support.sample_frames import blind_frame, sample_frame

READABLE = (
    "/",
    "/v1/snapshot",
    "/v1/findings",
    "/v1/runbooks",
    "/v1/runbooks/gpu_lost",
    "/v1/topology",
    "/v1/history",
    "/healthz",
    "/readyz",
    "/openapi.json",
)


def is_problem(response: httpx.Response, status: int, kind: str) -> None:
    """Assert a problem document and that it says something."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["type"], problem["status"]) == (f"urn:gpuwatch:problem:{kind}", status)
    assert problem["detail"].endswith(".")


def test_the_snapshot_is_the_newest_frame() -> None:
    """The body decodes to the very frame that was published last."""

    async def check(api: RunningApi) -> None:
        api.publish(7)
        response = await api.client.get("/v1/snapshot")
        assert response.headers["content-type"] == "application/json"
        assert msgspec.json.decode(response.content, type=Frame) == sample_frame(7)

    with_api(check)


def test_findings_stand_alone() -> None:
    """Findings come with the node and the moment, without the rest of the frame."""

    async def check(api: RunningApi) -> None:
        answer = (await api.client.get("/v1/findings")).json()
        assert [finding["kind"] for finding in answer["findings"]] == ["power_throttle"]
        assert (answer["node"], "gpus" in answer) == ("gpu07", False)

    with_api(check)


@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/findings", "/v1/topology", "/openapi.json"])
def test_a_known_tag_saves_the_body(path: str) -> None:
    """Who names the entity tag gets 304 and nothing else, also weak, in a list, or as a star."""

    async def check(api: RunningApi) -> None:
        tag = (await api.client.get(path)).headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            response = await api.client.get(path, headers={"If-None-Match": known})
            assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
        assert (await api.client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200

    with_api(check)


def test_a_new_frame_has_a_new_tag_and_another_run_too() -> None:
    """A tag stands for one frame of one run of the agent."""
    tags = []

    async def check(api: RunningApi) -> None:
        for tick in range(2):
            api.publish(tick)
            tags.append((await api.client.get("/v1/snapshot")).headers["etag"])

    with_api(check)
    with_api(check)
    assert len(set(tags)) == 4


@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/topology", "/v1/history", "/openapi.json"])
def test_compression_when_asked(path: str) -> None:
    """With gzip the same bytes come smaller; without, or with q=0, they come as they are."""

    async def raw(api: RunningApi, accepted: str) -> tuple[httpx.Headers, bytes]:
        async with api.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as response:
            return response.headers, b"".join([chunk async for chunk in response.aiter_raw()])

    async def check(api: RunningApi) -> None:
        headers, plain = await raw(api, "identity")
        assert "content-encoding" not in headers
        assert headers["vary"] == "accept-encoding"
        small_headers, small = await raw(api, "br;q=1.0, gzip;q=0.8")
        assert small_headers["content-encoding"] == "gzip"
        assert decompress(small) == plain
        assert len(small) < len(plain) / 2
        assert headers.get("etag", "a") != small_headers.get("etag", "b")
        assert (await raw(api, "gzip;q=0"))[1] == plain

    with_api(check)


@pytest.mark.parametrize("path", READABLE)
def test_head_is_get_without_the_body(path: str) -> None:
    """Status and length are those of a GET, and the connection stays usable."""

    async def check(api: RunningApi) -> None:
        got, head = await api.client.get(path), await api.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
        assert (await api.client.get(path)).content == got.content

    with_api(check)


@pytest.mark.parametrize("path", [*READABLE, "/v1/stream"])
def test_other_methods_are_refused_by_name(path: str) -> None:
    """405 names what is allowed."""

    async def check(api: RunningApi) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            response = await api.client.request(method, path, content=b"{}")
            is_problem(response, 405, "method-not-allowed")
            assert response.headers["allow"] == "GET, HEAD"

    with_api(check)


def test_the_index_names_paths_that_answer() -> None:
    """Every link of the index leads somewhere."""

    async def check(api: RunningApi) -> None:
        for path in (await api.client.get("/")).json()["links"]:
            assert (await api.client.head(path)).status_code == 200

    with_api(check)


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/snapshot/", "//v1/snapshot", "/metrics", "/v1/%2e%2e", "/%00"])
def test_unknown_paths_are_problems(path: str) -> None:
    """404 is a problem document, also for a path that only looks like one of ours."""

    async def check(api: RunningApi) -> None:
        is_problem(
            await api.client.get(httpx.URL(f"http://127.0.0.1:{api.port}", raw_path=path.encode())), 404, "not-found"
        )

    with_api(check)


def test_before_the_first_frame() -> None:
    """The agent is alive and not ready, says so, and tells when to come again."""

    async def check(api: RunningApi) -> None:
        for path in ("/v1/snapshot", "/v1/findings", "/readyz"):
            response = await api.client.get(path)
            is_problem(response, 503, "no-frame-yet")
            assert response.headers["retry-after"] == "1"
        is_problem(await api.client.get("/v1/topology"), 503, "no-topology-yet")
        assert (await api.client.get("/healthz")).status_code == 200
        assert (await api.client.get("/v1/history")).json()["taken_at"] == []

    with_api(check, frames=0, topology=False)


def test_not_ready_when_frames_stop() -> None:
    """A loop that no longer publishes is noticed by its silence."""

    async def check(api: RunningApi) -> None:
        assert (await api.client.get("/readyz")).json()["gpus"] == 8
        api.clock.now += LOCAL.fresh_for_s + 1
        is_problem(await api.client.get("/readyz"), 503, "no-fresh-frame")
        api.publish(1)
        assert (await api.client.get("/readyz")).status_code == 200

    with_api(check)


def test_ready_without_a_driver_and_says_why() -> None:
    """A node without a driver still serves, and what is wrong stands in the answer."""

    async def check(api: RunningApi) -> None:
        api.hub.publish(blind_frame())
        answer = (await api.client.get("/readyz")).json()
        assert (answer["status"], answer["trouble"]["kind"]) == ("ready", "library_missing")
        assert (await api.client.get("/v1/snapshot")).json()["gpus"] == []

    with_api(check, frames=0)


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("a secret from inside")


async def _breaks_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise KeyError("a secret from inside")


async def _metrics(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["query_string"]})


def test_a_failure_inside_stays_inside() -> None:
    """500 is a problem document without a word of the cause, and the next request is served."""

    async def check(api: RunningApi) -> None:
        response = await api.client.get("/broken")
        is_problem(response, 500, "internal")
        assert "secret" not in response.text
        with pytest.raises(httpx.RemoteProtocolError):
            await api.client.get("/late")
        assert (await api.client.get("/v1/snapshot")).status_code == 200

    with_api(check, mounts=[("/broken", _broken), ("/late", _breaks_late)])


def test_mounts_are_served_under_their_path() -> None:
    """An exporter given by the caller answers at its exact path, behind the same door."""

    async def check(api: RunningApi) -> None:
        assert (await api.client.get("/metrics?format=dcgm")).text == "format=dcgm"
        assert (await api.client.get("/metrics", headers={"Origin": "http://x"})).status_code == 403
        assert "/metrics" in (await api.client.get("/")).json()["links"]

    with_api(check, mounts=[("/metrics", _metrics)])


def test_two_hundred_clients_at_once() -> None:
    """Two hundred connections open together all get the whole frame."""

    async def one(api: RunningApi, everyone: asyncio.Barrier) -> int:
        reader, writer = await api.connect()
        await everyone.wait()
        writer.write(b"GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        return len(body)

    async def check(api: RunningApi) -> None:
        everyone = asyncio.Barrier(200)
        lengths = await asyncio.gather(*(one(api, everyone) for _ in range(200)))
        assert set(lengths) == {len(msgspec.json.encode(sample_frame()))}

    with_api(check)


def test_more_connections_than_allowed_are_told_so() -> None:
    """The one too many gets a problem; those inside are served on."""

    async def check(api: RunningApi) -> None:
        inside = [await api.connect() for _ in range(3)]
        for reader, writer in inside:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        refused = await api.raw(b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"too-many-connections" in refused
        for _, writer in inside:
            writer.close()

    with_api(check, settings=structs.replace(LOCAL, most_connections=3))
