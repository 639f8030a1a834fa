import argparse
import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable

import pytest

from gpuwatch.cli import main
from gpuwatch.cli.web import command_of
from gpuwatch_agent.api.address import parse_address

TOKEN = "sixteen-letters-or-more"


def serving(token: str | None, check: Callable[..., Awaitable[None]], command: str = "true") -> None:
    """Run `check` with a client of a server on loopback."""
    pytest.importorskip("textual_serve")
    from aiohttp.test_utils import TestClient, TestServer

    from gpuwatch.web_server import DashboardServer

    async def scene() -> None:
        server = DashboardServer(parse_address("127.0.0.1:9490"), token, command, ["gpu.example.org"])
        async with TestClient(TestServer(await server._make_app())) as client:
            await check(client)

    asyncio.run(scene())


def test_off_loopback_a_token_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, before anything listens."""
    assert main(["web", "--listen", "0.0.0.0:9490"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("gpuwatch: On 0.0.0.0:9490 everybody there could use this dashboard: a token is needed.")
    assert told.count("\n") == 1


def test_a_missing_extra_is_one_sentence_with_its_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not installed by default."""
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.delitem(sys.modules, "textual_serve.server", raising=False)
    monkeypatch.delitem(sys.modules, "gpuwatch.web_server", raising=False)
    assert main(["web"]) == 2
    told = capsys.readouterr().err
    assert 'pip install "gpuwatch-node[web]"' in told
    assert told.count("\n") == 1


def test_the_global_flags_go_on_to_each_dashboard() -> None:
    """What was said to `web` holds in the browser; words with spaces stay whole."""
    options = argparse.Namespace(
        sim="dgx-h100-8", connect=["a", "b"], hosts="my hosts", token_file="my token", config=None
    )
    command = shlex.split(command_of(options))
    assert command[1:4] == ["-m", "gpuwatch", "dashboard"]
    assert command[4:] == [
        "--sim",
        "dgx-h100-8",
        "--connect",
        "a",
        "--connect",
        "b",
        "--hosts",
        "my hosts",
        "--token-file",
        "my token",
    ]


def test_foreign_names_and_pages_are_not_answered() -> None:
    """A name led here by DNS, and a page that would type into a websocket."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        assert (await client.get("/")).status == 200
        assert (await client.get("/", headers={"Host": "evil.example"})).status == 403
        assert (await client.get("/", headers={"Host": "gpu.example.org"})).status == 200
        assert (await client.get("/ws", headers={"Origin": "http://evil.example"})).status == 403

    serving(None, check)


def test_the_token_opens_the_door_once_for_a_browser() -> None:
    """It is asked for, checked, and kept as something that is not the token."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        for path in ("/", "/ws", "/static/css/xterm.css"):
            assert (await client.get(path)).status == 401
        assert (await client.post("/enter", data={"token": "wrong"})).status == 401
        entered = await client.post("/enter", data={"token": TOKEN}, allow_redirects=False)
        assert (entered.status, entered.headers["Location"]) == (303, "/")
        assert TOKEN not in entered.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= set(entered.headers["Set-Cookie"].split("; "))
        page = await client.get("/")
        assert page.status == 200
        # The page asks nobody else for anything.
        assert "connect-src 'self'" in page.headers["Content-Security-Policy"]

    serving(TOKEN, check)


def test_no_odd_request_gets_past_the_door_or_breaks_it() -> None:
    """Origins, cookies, forms and names that make no sense are refused, not failed on."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        host = f"127.0.0.1:{client.port}"
        for origin in ("null", "http://[", "http://127.0.0.1", f"http://{host}.evil.example", f"ftp://{host}", ""):
            assert (await client.get("/ws", headers={"Origin": origin})).status == 403, origin
        assert (await client.get("/", headers={"Host": '[::1]:"><script>'})).status == 403
        for cookie in ("ü", ""):
            assert (await client.get("/", headers={"Cookie": f"gpuwatch-{client.port}={cookie}"})).status == 401
        form = "application/x-www-form-urlencoded"
        for kind in (f"{form}; charset=unicode_escape", f"{form}; charset=no-such", "multipart/form-data", form):
            refused = await client.post("/enter", data=b"token=\\ud800%ff\xff", headers={"Content-Type": kind})
            assert refused.status == 401, kind
        assert (await client.post("/enter", data={"token": "x" * 5000})).status == 413

    serving(TOKEN, check)


def test_a_cookie_that_is_no_text_is_no_cookie() -> None:
    """Bytes that no client library sends, but anybody can."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        lines = [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: gpuwatch=", b"\xff\r\n\r\n"]
        writer.writelines(lines)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 401 ")

    serving(TOKEN, check)


def test_without_a_token_there_is_no_form() -> None:
    """Nothing asks for what does not exist."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        assert (await client.post("/enter", data={"token": ""})).status == 404

    serving(None, check)


def test_every_answer_says_what_a_browser_may_do_with_it() -> None:
    """The door, the page, its files and what is refused: framed nowhere, guessed at never."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        for path in ("/", "/static/css/xterm.css", "/nowhere"):
            for headers in ({}, {"Host": "evil.example"}):
                answer = (await client.get(path, headers=headers)).headers
                assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
                assert answer["X-Content-Type-Options"] == "nosniff"

    serving(None, check)
    serving(TOKEN, check)


def test_two_tunnels_from_one_browser_do_not_push_each_other_out() -> None:
    """Cookies know no ports: the name has it, and behind a proxy with TLS the cookie stays with TLS."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        told = []
        for host, proto in (("localhost:1111", "http"), ("localhost:2222", "http"), ("gpu.example.org", "https")):
            headers = {"Host": host, "Origin": f"{proto}://{host}", "X-Forwarded-Proto": proto}
            entered = await client.post("/enter", data={"token": TOKEN}, headers=headers, allow_redirects=False)
            told.append(entered.headers["Set-Cookie"])
        assert [cookie.partition("=")[0] for cookie in told] == ["gpuwatch-1111", "gpuwatch-2222", "gpuwatch"]
        assert ["Secure" in cookie for cookie in told] == [False, False, True]

    serving(TOKEN, check)


def test_behind_tls_the_page_asks_by_tls() -> None:
    """A browser loads nothing by plain HTTP into a page that came by TLS."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        headers = {"Host": "gpu.example.org", "X-Forwarded-Proto": "https"}
        page = await (await client.get("/", headers=headers)).text()
        assert "wss://gpu.example.org/ws" in page
        assert "https://gpu.example.org/static/" in page
        assert "http://gpu" not in page

    serving(None, check)


@pytest.mark.parametrize(
    "size", ["width=100000&height=100000", "width=0&height=24", "width=-1", "width=x", "height=501"]
)
def test_a_window_without_bounds_is_not_drawn(size: str) -> None:
    """It would fill the machine's memory."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        assert (await client.get(f"/ws?{size}")).status == 400

    serving(None, check)


def test_only_what_makes_sense_reaches_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes within bounds and typed text; anything else is passed over, and the browser stays connected."""
    pytest.importorskip("textual_serve")
    from textual_serve.app_service import AppService

    sizes: list[tuple[int, int]] = []

    async def note(service: AppService, width: int, height: int) -> None:
        sizes.append((width, height))

    async def nothing(service: AppService, *_: object) -> None:
        pass

    monkeypatch.setattr(AppService, "set_terminal_size", note)
    for name in ("start", "stop"):
        monkeypatch.setattr(AppService, name, nothing)

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        async with client.ws_connect("/ws") as websocket:
            for width in (100_000, 0, -5, "100", 1e300, None):
                await websocket.send_json(["resize", {"width": width, "height": 30}])
            for said in ("{", "[" * 50_000, "[]", "null", '["resize"]', '["resize", 5]', '["stdin", 5]', '["ping"]'):
                await websocket.send_str(said)
            await websocket.send_json(["resize", {"width": 120, "height": 30}])
            await websocket.send_json(["ping", "7"])
            assert await websocket.receive_json(timeout=10) == ["pong", "7"]

    serving(None, check)
    assert sizes == [(120, 30)]


def test_port_0_is_any_that_is_free() -> None:
    """The sentence that says where it is names the port."""
    pytest.importorskip("textual_serve")
    from gpuwatch.web_server import _with_port

    assert _with_port(parse_address("127.0.0.1:9490")).port == 9490
    assert _with_port(parse_address("127.0.0.1:0")).port > 0


def test_the_page_leads_back_to_where_the_browser_came_in() -> None:
    """Behind a name or a tunnel the websocket's address is that of the page."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        page = await (await client.get("/", headers={"Host": "localhost:7777"})).text()
        assert "ws://localhost:7777/ws" in page

    serving(None, check)


def test_so_many_browsers_and_no_more() -> None:
    """Each reads the machine by itself."""

    async def check(client) -> None:  # type: ignore[no-untyped-def]  # aiohttp's client is there with the extra only
        assert (await client.get("/ws")).status == 503

    import gpuwatch.web_server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpuwatch.web_server, "_MOST_BROWSERS", 0)
        serving(None, check)
