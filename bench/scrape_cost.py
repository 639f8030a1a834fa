"""What a scrape of `/metrics` costs, beside nvitop-exporter: as Prometheus makes it, once a second and without a pause."""

import http.client
import os
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from gpuwatch_exporters.prometheus.encoding import LineWriter
from gpuwatch_exporters.prometheus.exposition import NATIVE, Exposition
from gpuwatch_exporters.prometheus.family import View
from gpuwatch_exporters.prometheus.subjects import SUBJECTS
from load import percentile
from results import OURS, Figure
from stage import Stage, agent, nvitop_exporter
from support.sample_frames import sample_frame

PEER = "nvitop-exporter"
AT_ONCE = 4
WARM_UP_S = 5.0
LATENCY_S = 3
"""So many times longer than the rest: at one a second it takes a minute until a 99th percentile means anything."""
TIMES_CHEAPER = 3
CROWD_GPUS, CROWD_PROCESSES = 16, 2000
CROWD_MS = 20
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}


class Scraped(NamedTuple):
    """One program, as scrapes find it."""

    series: int
    median_ms: float
    p99_ms: float
    per_second: float
    scrapes: int


def scrape(port: int, headers: dict[str, str]) -> bytes:
    """One scrape on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"a scrape was answered with {answer.status}")
        return body
    finally:
        connection.close()


def once_a_second(port: int, seconds: float) -> list[float]:
    """Milliseconds from when each scrape was due until its answer was there."""
    began, waited = time.perf_counter(), []
    for number in range(int(seconds)):
        due = began + number
        time.sleep(max(0.0, due - time.perf_counter()))
        scrape(port, HEADERS)
        waited.append((time.perf_counter() - due) * 1000)
    return waited


def without_a_pause(port: int, seconds: float) -> float:
    """Scrapes a second, with several scrapers that each ask again as soon as they were answered."""
    answered, end = [0] * AT_ONCE, time.perf_counter() + seconds

    def ask(number: int) -> None:
        while time.perf_counter() < end:
            scrape(port, HEADERS)
            answered[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / seconds


def look(server: AbstractContextManager[tuple[object, int]], seconds: float) -> Scraped:
    """All that is asked of one program."""
    with server as (_, port):
        time.sleep(WARM_UP_S)
        lines = scrape(port, {"Accept": "text/plain"}).splitlines()
        waited = once_a_second(port, seconds * LATENCY_S)
        return Scraped(
            series=sum(not line.startswith(b"#") for line in lines),
            median_ms=statistics.median(waited),
            p99_ms=percentile(waited, 0.99),
            per_second=without_a_pause(port, seconds / 2),
            scrapes=len(waited),
        )


def measure(stage: Stage, seconds: float) -> list[Figure]:
    """Both programs on one core each in turn, with the scrapers on another; then ours with a crowd."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    try:
        theirs = look(nvitop_exporter(stage, core), seconds)
        ours = look(agent(stage, 1.0, core), seconds)
    finally:
        os.sched_setaffinity(0, set(cores))
    return [*beside(ours, theirs), *crowded()]


def beside(ours: Scraped, theirs: Scraped) -> list[Figure]:
    """Ours is to be no slower in all, and three times cheaper a series."""
    figures: list[Figure] = []

    def compare(
        name: str, of: Callable[[Scraped], float], unit: str, target: float | None, note: str, *, more: bool
    ) -> None:
        figures.append(Figure(name, OURS, of(ours), unit, target=target, more_is_better=more, note=note))
        figures.append(Figure(name, PEER, of(theirs), unit, note=note))

    at_rate = f"once a second, {ours.scrapes} scrapes, gzip"
    compare("series of a scrape", lambda one: one.series, "series", None, "", more=True)
    compare("scrape, median", lambda one: one.median_ms, "ms", theirs.median_ms, at_rate, more=False)
    compare("scrape, 99th percentile", lambda one: one.p99_ms, "ms", theirs.p99_ms, at_rate, more=False)
    compare(
        "scrapes without a pause",
        lambda one: one.per_second,
        "scrapes/s",
        theirs.per_second,
        f"{AT_ONCE} at once, server on one core",
        more=True,
    )
    compare(
        "a scrape's time a series",
        lambda one: 1000 * one.median_ms / one.series,
        "µs",
        1000 * theirs.median_ms / theirs.series / TIMES_CHEAPER,
        "median over series",
        more=False,
    )
    return figures


def crowded() -> list[Figure]:
    """The work of a scrape alone: of a frame that nobody has asked for yet, and of the same frame again."""
    writer, everything = LineWriter(), frozenset(subject.name for subject in SUBJECTS)
    first, again, size = [], [], 0
    for tick in range(30):
        frame = sample_frame(tick, CROWD_GPUS, CROWD_PROCESSES // CROWD_GPUS)
        began = time.process_time()
        exposition = Exposition(View(frame=frame), NATIVE, writer)
        exposition.zipped(everything, "openmetrics", 0.1)
        made = time.process_time()
        size = len(exposition.zipped(everything, "openmetrics", 0.2))
        first.append((made - began) * 1000)
        again.append((time.process_time() - made) * 1000)
    note = f"{CROWD_GPUS} GPUs, {CROWD_PROCESSES:,} processes, processor time without HTTP"
    return [
        Figure("first scrape of a frame, median", OURS, statistics.median(first), "ms", target=CROWD_MS, note=note),
        Figure("first scrape of a frame, worst", OURS, max(first), "ms", note=f"of {len(first)}; {note}"),
        Figure("same frame again, median", OURS, statistics.median(again), "ms", target=1, note=note),
        Figure("size of that scrape", OURS, size / 1024, "KiB", target=256, note="compressed"),
    ]
