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
