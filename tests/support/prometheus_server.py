"""A real Prometheus and a real Alertmanager on loopback, for the length of a `with`."""

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from support.programs import needs

_PATIENCE_S = 30.0
_LISTENING = re.compile(r'msg="Listening on".*?address=(\S+)')


class Sample(NamedTuple):
    """One series of an instant query's answer."""

    labels: dict[str, str]
    value: float


def scraping(*agents: str, interval: str = "500ms", job: str = "gpuwatch", path: str = "/metrics") -> dict[str, Any]:
    """A configuration that scrapes the agents (URLs, or HOST:PORT) and evaluates rules as often."""
    targets = [agent.removeprefix("http://").rstrip("/") for agent in agents]
    job_config = {"job_name": job, "metrics_path": path, "static_configs": [{"targets": targets}]}
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [job_config],
    }


class Server:
    """A program that has said where it listens; what it writes is kept for the message of a failure."""

    def __init__(self, command: Sequence[str], directory: Path, within_s: float = _PATIENCE_S) -> None:
        self._name = command[0]
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._deadline = time.monotonic() + within_s
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.url = f"http://{self._address()}"
            self.client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """The last of what the program wrote."""
        with self._news:
            return "".join(self._lines[-40:])

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()

    def _address(self) -> str:
        seen = 0
        while True:
            with self._news:
                for line in self._lines[seen:]:
                    if found := _LISTENING.search(line):
                        return found[1]
                seen = len(self._lines)
            self.pause("it never said where it listens")

    def _wait_until_ready(self) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/-/ready").status_code == 200:
                    return
            self.pause("it never got ready")

    def pause(self, otherwise: str, deadline: float | None = None) -> None:
        """A moment between two looks; fails at once where the program has ended, and past the deadline."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(0.05)
            raise AssertionError(f"{self._name} ended with {status}: {self.log}")
        if time.monotonic() > (self._deadline if deadline is None else deadline):
            raise AssertionError(f"{otherwise}: {self.log}")

    def get(self, path: str, **parameters: str) -> Any:
        """An answer of the API; fails with the server's own words."""
        reply = self.client.get(path, params=parameters)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def close(self) -> None:
        """End the program and reap it."""
        if hasattr(self, "client"):
            self.client.close()
        # Nobody keeps the data, so nothing is gained by asking politely.
        self.process.kill()
        self.process.wait(10)
        self._listener.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()


class Prometheus(Server):
    """Queries, alerts and rules of a real Prometheus."""

    def query(self, expression: str) -> list[Sample]:
        """The samples of an instant vector, or of a scalar, now."""
        data = self.get("/api/v1/query", query=expression)["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        assert data["resultType"] == "vector", f"{expression} is a {data['resultType']}"
        return [Sample(row["metric"], float(row["value"][1])) for row in data["result"]]

    def wait_until(
        self, expression: str, fits: Callable[[list[Sample]], bool] = bool, within_s: float = _PATIENCE_S
    ) -> list[Sample]:
        """The samples of the query once they fit: where nothing else is said, once there are any."""
        deadline = time.monotonic() + within_s
        while not fits(samples := self.query(expression)):
            self.pause(f"within {within_s} s never as wanted: {expression}; the last was {samples}", deadline)
        return samples

    def alerts(self) -> list[dict[str, Any]]:
        """What is pending or firing now."""
        found: list[dict[str, Any]] = self.get("/api/v1/alerts")["data"]["alerts"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as Prometheus has read it, with its health, last error and alerts."""
        return [rule for group in self.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def prometheus(
    directory: Path, config: Mapping[str, Any], *, rules: Mapping[str, Any] | None = None, flags: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """A Prometheus with that configuration and those rule files (name to document), ready to be asked."""
    needs("prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in (rules or {}).items():
        # JSON is YAML as well.
        (directory / name).write_bytes(msgspec.json.encode(document))
    whole = {**config, "rule_files": [*config.get("rule_files", []), *(rules or {})]}
    (directory / "prometheus.yml").write_bytes(msgspec.json.encode(whole))
    server = Prometheus(
        [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--rules.alert.resend-delay=1s",
            *flags,
        ],
        directory,
    )
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def alertmanager(directory: Path, config: Mapping[str, Any]) -> Iterator[Server]:
    """An Alertmanager with that configuration, ready to be sent to."""
    needs("prometheus-alertmanager")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_bytes(msgspec.json.encode(config))
    server = Server(
        [
            "prometheus-alertmanager",
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            "--web.listen-address=127.0.0.1:0",
        ],
        directory,
    )
    try:
        yield server
    finally:
        server.close()


def alerting(server: Server) -> dict[str, Any]:
    """The part of Prometheus' configuration that sends alerts to this Alertmanager."""
    return {
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [server.url.removeprefix("http://")]}]}]},
    }
