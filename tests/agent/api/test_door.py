"""Who may come in: Host, Origin, tokens, sizes, and what is no HTTP at all."""

from pathlib import Path

import httpx
import pytest
from msgspec import structs

from gpuwatch_agent.api.address import Address, HostNames, host_of, is_loopback, parse_address
from gpuwatch_agent.api.settings import ApiSettings, hash_token, read_token, settings_from
from gpuwatch_agent.model.errors import UsageError
from support.running_api import LOCAL, RunningApi, until, with_api

TOKEN = "a-token-of-decent-length"
OUTSIDE = Address(host="0.0.0.0", port=9489)
WITH_TOKEN = structs.replace(LOCAL, token_sha256=hash_token(TOKEN))


def kind(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9489", "[::1]:9489", "127.1.2.3", "localhost."]
)
def test_names_of_this_machine_are_taken(host: str) -> None:
    """Loopback names pass under any port, as through a tunnel."""

    async def check(api: RunningApi) -> None:
        assert (await api.client.get("/v1/snapshot", headers={"Host": host})).status_code == 200

    with_api(check)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:9489",
        "10.0.0.1",
        "[::2]",
        "[::1",
        "a b",
        "x:y",
    ],
)
def test_foreign_names_are_refused(host: str) -> None:
    """A page that reaches this port by DNS comes under its own name, and is sent away."""

    async def check(api: RunningApi) -> None:
        for path in ("/v1/snapshot", "/healthz", "/nope", "/v1/control"):
            assert kind(await api.client.get(path, headers={"Host": host})) == (403, "foreign-host")

    with_api(check)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9489", ""])
def test_any_origin_is_refused(origin: str) -> None:
    """Web pages get nothing, not even those that claim to be ours."""

    async def check(api: RunningApi) -> None:
        for method in ("GET", "POST", "OPTIONS"):
            response = await api.client.request(method, "/v1/snapshot", headers={"Origin": origin})
            assert kind(response) == (403, "foreign-origin")
            assert "access-control-allow-origin" not in response.headers

    with_api(check)


def test_configured_names_pass() -> None:
    """A name from the configuration is one of ours."""

    async def check(api: RunningApi) -> None:
        assert (await api.client.get("/healthz", headers={"Host": "gpu07.example.org:80"})).status_code == 200

    with_api(check, structs.replace(LOCAL, host_names=frozenset({"gpu07.example.org"})))


def test_on_all_addresses_any_literal_passes_and_no_strange_name() -> None:
    """Rebinding needs a name; whoever types an IP address means it."""
    names = HostNames(OUTSIDE, frozenset({"gpu07"}))
    assert [names.accepts(host) for host in (b"10.1.2.3:9489", b"[fe80::1]:9489", b"gpu07:9489", b"evil.example")] == [
        True,
        True,
        True,
        False,
    ]


def test_missing_and_double_headers_are_bad_requests() -> None:
    """Two hosts, two lengths or none at all leave open what was meant."""

    async def check(api: RunningApi) -> None:
        for head in (
            b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        ):
            answer = await api.raw(head)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"application/problem+json" in answer

    with_api(check)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_gets_a_problem(garbage: bytes) -> None:
    """TLS to a plain port and other noise is answered and ended."""

    async def check(api: RunningApi) -> None:
        answer = await api.raw(garbage)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"application/problem+json" in answer
        assert (await api.client.get("/healthz")).status_code == 200

    with_api(check)


def test_endless_headers_are_cut_off() -> None:
    """Headers that never end do not fill the agent's memory."""

    async def check(api: RunningApi) -> None:
        reader, writer = await api.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000)
        assert (await reader.readline()).startswith(b"HTTP/1.1 431")
        writer.close()

    with_api(check)


def test_large_bodies_are_refused_unread() -> None:
    """A body over the limit is refused by its announcement, and the connection ends."""

    async def check(api: RunningApi) -> None:
        answer = await api.raw(b"POST /v1/control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()

    with_api(check, WITH_TOKEN)


def test_a_client_that_drips_is_cut_off() -> None:
    """A head that never completes holds a connection no longer than two sweeps."""

    async def check(api: RunningApi) -> None:
        reader, writer = await api.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: local")
        assert await reader.read() == b""
        writer.close()

    with_api(check, structs.replace(LOCAL, sweep_s=0.05))


def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    """Answers that nobody takes do not stay in memory: after two sweeps the connection is gone."""

    async def check(api: RunningApi) -> None:
        reader, writer = await api.connect()
        writer.write(b"GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        reader._transport.pause_reading()  # type: ignore[attr-defined] # a reader that does not read
        await until(lambda: len(api.server.connections) == 1)
        await until(lambda: not api.server.connections)
        writer.transport.abort()

    with_api(check, structs.replace(LOCAL, sweep_s=0.05))


@pytest.mark.parametrize("path", ["/v1/probes", "/v1/control"])
def test_what_acts_needs_the_token_also_on_loopback(path: str) -> None:
    """Without one: 401; with the right one the place is held by a 501; without any configured: 403."""

    async def check(api: RunningApi) -> None:
        for method in ("GET", "POST"):
            missing = await api.client.request(method, path)
            assert kind(missing) == (401, "token-needed")
            assert missing.headers["www-authenticate"].startswith("Bearer")
            for wrong in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN):
                refused = await api.client.request(method, path, headers={"Authorization": wrong})
                assert kind(refused) == (401, "token-needed")
            right = await api.client.request(method, path, headers={"Authorization": f"bearer {TOKEN}"})
            assert kind(right) == (501, "not-implemented")
        assert (await api.client.get("/v1/snapshot")).status_code == 200

    async def without(api: RunningApi) -> None:
        assert kind(await api.client.post(path)) == (403, "no-token-configured")

    with_api(check, WITH_TOKEN)
    with_api(without)


def test_off_loopback_reading_needs_the_token_too() -> None:
    """All but the health checks, wherever the request comes from: a proxy here may speak for anybody."""

    async def check(api: RunningApi) -> None:
        for path in ("/", "/v1/snapshot", "/v1/stream", "/v1/history", "/metrics", "/nope"):
            assert kind(await api.client.get(path)) == (401, "token-needed")
        assert (await api.client.get("/healthz")).status_code == 200
        assert (await api.client.get("/readyz")).status_code == 200
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await api.client.get("/v1/snapshot", headers=right)).status_code == 200

    with_api(check, structs.replace(WITH_TOKEN, address=OUTSIDE))


def test_off_loopback_without_a_token_nothing_starts() -> None:
    """Unless it is wanted out loud."""
    with pytest.raises(UsageError, match=r"0\.0\.0\.0:9489.*--insecure-no-auth"):
        ApiSettings(address=OUTSIDE).check()
    ApiSettings(address=OUTSIDE, insecure=True).check()
    ApiSettings(address=OUTSIDE, token_sha256=hash_token(TOKEN)).check()
    assert not ApiSettings(address=OUTSIDE, insecure=True).reading_needs_token


@pytest.mark.parametrize(
    ("written", "loopback"),
    [
        ("127.0.0.1:9489", True),
        ("localhost:0", True),
        ("[::1]:9489", True),
        ("unix:/run/gpuwatch.sock", True),
        ("0.0.0.0:9489", False),
        ("[::]:9489", False),
        ("gpu07:9489", False),
    ],
)
def test_addresses_read_and_write_the_same(written: str, loopback: bool) -> None:
    """What is understood is written back as it was, and known for loopback or not."""
    address = parse_address(written)
    assert (str(address), address.loopback) == (written, loopback)


@pytest.mark.parametrize(
    "written", ["", "9489", "127.0.0.1", "::1:9489", "[::1]", "host:65536", "host:x", ":1", "unix:x", "[a]:1"]
)
def test_bad_addresses_are_told_how(written: str) -> None:
    """The message shows how an address is written."""
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9489"):
        parse_address(written)


def test_hosts_in_headers() -> None:
    """Port, case, brackets and the root's dot do not matter; nonsense is none."""
    assert [host_of(text) for text in ("A.B:1", "[::1]:9", "a.b.", "[x]", ":1", "a:b")] == [
        "a.b",
        "::1",
        "a.b",
        None,
        None,
        None,
    ]
    assert not is_loopback("localhost.example")


class Options:
    """What the configuration says of the API."""

    listen = "127.0.0.1:0"
    insecure_no_auth = False
    allowed_hosts = ("GPU07.example.org",)

    def __init__(self, token_file: str | None) -> None:
        self.token_file = token_file


def test_settings_come_from_the_configuration(tmp_path: Path) -> None:
    """The token is read from its file and kept as a hash; names are compared in lower case."""
    (tmp_path / "token").write_text(f"{TOKEN}\nsecond line\n")
    settings = settings_from(Options(str(tmp_path / "token")), interval_s=10)
    assert settings.token_sha256 == hash_token(TOKEN)
    assert "gpu07.example.org" in settings.host_names
    assert settings.fresh_for_s == 30


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40, "ä".encode() * 20])
def test_a_bad_token_file_is_told(tmp_path: Path, content: bytes) -> None:
    """An empty, short or unreadable token would look like protection."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match="token"):
        read_token(str(tmp_path / "token"))
    with pytest.raises(UsageError, match="No such file"):
        read_token(str(tmp_path / "missing"))
