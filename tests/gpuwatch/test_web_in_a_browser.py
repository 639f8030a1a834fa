"""The real `gpuwatch web` in a real browser: what is seen, what keys do, who is let in, and nobody left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from support.browser import Browser, browser
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
    """Overview, groups, findings and help on the page's terminal; the server ends with all it started."""
    with web_dashboard(tmp_path, "--sim", SPEC) as served:
        window.open(served.url)
        assert "GPU 5" in window.wait_for("SIMULATED", "1 Over", "processes (24)")
        window.click_into_terminal()
        window.press("4")
        window.wait_for("rank", without=("processes (24)",))
        window.press("6")
        window.wait_for("now, ", "GPU 5")
        window.press("?")
        window.wait_for("Everywhere", "pause, or go on")
        window.screenshot(tmp_path / "help.png")
        window.press(Keys.ESCAPE)
        window.wait_for("now, ", without=("Everywhere",))
        window.press("1")
        window.wait_for("processes (24)")
        window.screenshot(tmp_path / "overview.png")
        assert (tmp_path / "overview.png").stat().st_size > 20_000
        assert len(served.processes()) >= 3
        assert served.end() == []
