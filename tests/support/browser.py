"""The dashboard in a real browser: Debian's Chromium, headless, led by Selenium and its chromedriver."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 15.0
_SOON_S = 5.0
REBOUND = "rebound.example"
# xterm.js draws on a canvas and the page keeps the terminal to itself: it is caught as its first add-on is handed to it.
_CATCH = """
Object.defineProperty(Object.prototype, 'fitAddon', {configurable: true, set(addon) {
  delete Object.prototype.fitAddon;
  this.fitAddon = addon;
  window.seenTerminal = this.terminal;
}});
"""
_SCREEN = """
const buffer = window.seenTerminal?.buffer.active, lines = [];
for (let y = 0; y < (window.seenTerminal?.rows ?? 0); y++) lines.push(buffer.getLine(y).translateToString(true));
return lines.join('\\n');
"""
_WAIT = f"""
const [wanted, unwanted, done] = arguments, screen = () => {{ {_SCREEN} }};
const fits = () => {{
  const seen = screen();
  return wanted.every(word => seen.includes(word)) && !unwanted.some(word => seen.includes(word)) && (done(seen), true);
}};
const watch = () => {{
  if (!window.seenTerminal) setTimeout(watch, 20);
  else if (!fits()) {{ const held = window.seenTerminal.onWriteParsed(() => fits() && held.dispose()); }}
}};
watch();
"""


class Browser:
    """One window with one tab."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _CATCH})
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)

    def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        self._driver.get(url)

    def wait_for(self, *words: str, without: tuple[str, ...] = ()) -> str:
        """The terminal's screen, once it shows all these words and none of those."""
        try:
            return str(self._driver.execute_async_script(_WAIT, words, without))
        except TimeoutException as error:
            seen = self._driver.execute_script(_SCREEN) or self.text()
            raise AssertionError(f"{words} without {without} was not seen, but\n{seen}") from error

    def press(self, keys: str) -> None:
        """Type, where the focus is."""
        ActionChains(self._driver).send_keys(keys).perform()

    def click_into_terminal(self) -> None:
        """As a person does before typing."""
        self._driver.find_element(By.CSS_SELECTOR, ".xterm-screen").click()

    def enter_token(self, token: str) -> None:
        """Fill in the form at the door, and wait until the answer is there."""
        field = self._driver.find_element(By.NAME, "token")
        field.send_keys(token)
        self._driver.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(self._driver, PATIENCE_S).until(staleness_of(field))
        WebDriverWait(self._driver, PATIENCE_S).until(lambda driver: driver.find_elements(By.TAG_NAME, "body"))

    def text(self) -> str:
        """What the page says outside the terminal."""
        return self._driver.find_element(By.TAG_NAME, "body").text

    def cookies(self) -> list[dict[str, object]]:
        """What the browser keeps."""
        return list(self._driver.get_cookies())

    def errors(self) -> list[str]:
        """What the page complained of in the console since it was last asked."""
        told: list[dict[str, str]] = self._driver.get_log("browser")  # type: ignore[no-untyped-call]  # Selenium's own
        return [entry["message"] for entry in told if entry["level"] == "SEVERE"]

    def try_websocket(self, url: str) -> str:
        """How a websocket fares that the page at hand opens to there: open or refused."""
        attempt = """
        const [url, done] = arguments, socket = new WebSocket(url);
        socket.onopen = () => done('open');
        socket.onerror = () => done('refused');
        """
        return str(self._driver.execute_async_script(attempt, url))

    def allow_everything(self) -> None:
        """The page at hand anew, without the policy its server sent: as an attacker's page, which has none."""
        self._driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        self._driver.refresh()

    def screenshot(self, file: Path) -> None:
        """What a person would see, as PNG."""
        assert self._driver.save_screenshot(file)


@contextlib.contextmanager
def browser(folder: Path, *, size: tuple[int, int] = (1440, 900)) -> Iterator[Browser]:
    """A browser with a profile of its own; at the end none of its processes is left."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    flags = [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", "--no-first-run"]
    # Nothing but what the page does: no updates, no proxy, and no /dev/shm of a container's 64 MB.
    flags += ["--headless=new", "--disable-background-networking", "--no-proxy-server", "--disable-dev-shm-usage"]
    # A name whose owner lets it lead to this machine.
    flags.append(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1")
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # root in a container can make no namespaces for it
    for flag in flags:
        options.add_argument(flag)
    service = ChromeService(executable_path=shutil.which("chromedriver"), log_output=str(folder / "chromedriver.log"))
    driver = Chrome(options=options, service=service)
    running = family(service.process.pid)
    try:
        yield Browser(driver)
    finally:
        running += [child for child in family(service.process.pid) if child not in running]
        driver.quit()
        left_alive = psutil.wait_procs(running, timeout=_SOON_S)[1]
        for process in left_alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def family(pid: int) -> list[psutil.Process]:
    """A process with all that it has started."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
