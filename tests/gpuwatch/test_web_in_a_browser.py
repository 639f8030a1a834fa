"""The real `gpuwatch web` in a real browser: what is seen, what keys do, who is let in, and nobody left behind."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from support.browser import REBOUND, Browser, browser
from support.programs import needs
from support.web_dashboard import web_dashboard

SPEC = "dgx-h100-8+hot@5"
TOKEN = "a-token-of-thirty-two-characters"

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    needs("chromium", "chromedriver")
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_it_is_seen_and_answers_keys(window: Browser, tmp_path: Path) -> None:
    """Overview, groups, findings and help on the page's terminal, read-only and under its own name; the server ends with all it started."""
    window.errors()  # those of the test before are read away
    with web_dashboard(tmp_path, "--sim", SPEC) as served:
        window.open(served.url)
        seen = window.wait_for("SIMULATED", "1 Over", "processes (24)")
        assert all(f"TP{rank}" in seen for rank in range(8))
        window.screenshot(tmp_path / "overview.png")
        assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
        window.click_into_terminal()
        window.press("4")
        window.wait_for("─ the last", "rank", without=("processes (24)",))
        window.press("6")
        window.wait_for("6 Findings", without=("─ the last", "processes (24)"))
        window.press("?")
        window.wait_for("On Findings", "Everywhere", "pause, or go on")
        window.press(Keys.ESCAPE)
        window.wait_for("6 Findings", without=("Everywhere",))
        window.press("1")
        window.wait_for("processes (24)")
        window.press("+")
        window.wait_for("Nothing is changed from here")
        # The page asks nobody else for anything: what it would like from there is all that fails.
        assert all("fonts.googleapis.com" in error or "favicon.ico" in error for error in window.errors())
        assert len(served.processes()) >= 3
        window.open(served.url.replace("127.0.0.1", REBOUND))
        assert "This name is not this machine's" in window.text()
        assert served.end() == []


def test_the_token_opens_it_and_other_sites_stay_out(window: Browser, tmp_path: Path) -> None:
    """A wrong token is refused and kept nowhere, the right one opens; another page no websocket; killed, it leaves nobody."""
    (tmp_path / "token").write_text(TOKEN)
    with (
        web_dashboard(tmp_path, "--sim", "l4") as elsewhere,
        web_dashboard(tmp_path, "--sim", "l4", "--token-file", str(tmp_path / "token")) as served,
    ):
        websocket = served.url.replace("http:", "ws:") + "/ws?width=80&height=24"
        window.open(served.url)
        window.enter_token("not-the-token-of-this-server")
        assert "That is not the token." in window.text()
        assert window.cookies() == []
        window.enter_token(TOKEN)
        window.wait_for("SIMULATED", "All is well")
        assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in window.cookies()] == [(True, "Strict")]
        assert TOKEN not in str(window.cookies())
        assert window.try_websocket(websocket) == "open"
        # To a browser another port of the host is the same site: it sends the cookie along, and the page's origin.
        window.open(elsewhere.url + "/static/css/xterm.css")
        window.allow_everything()
        assert window.cookies() != []
        assert window.try_websocket(websocket) == "refused"
        # SIGKILL lets nobody say goodbye: each dashboard sees that nobody listens to it any more.
        assert served.end(signal.SIGKILL) == []
