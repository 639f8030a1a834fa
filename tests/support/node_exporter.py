"""A real node_exporter on loopback that reads a folder of text files, and nothing else."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.programs import needs
from support.prometheus_server import Server


class NodeExporter(Server):
    """What it makes of the files."""

    def _wait_until_ready(self) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/metrics").status_code == 200:
                    return
            self.pause("it never answered a scrape")

    def scrape(self) -> str:
        """The text of a scrape."""
        reply = self.client.get("/metrics")
        assert reply.status_code == 200, reply.text
        return reply.text


@contextlib.contextmanager
def node_exporter(folder: Path) -> Iterator[NodeExporter]:
    """One that reads `*.prom` there."""
    needs("prometheus-node-exporter")
    server = NodeExporter(
        [
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={folder}",
            "--web.disable-exporter-metrics",
            "--web.listen-address=127.0.0.1:0",
        ],
        folder,
    )
    try:
        yield server
    finally:
        server.close()
