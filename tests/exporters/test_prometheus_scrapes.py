"""`/metrics` over HTTP: what scrapers ask for, what they get, and what careless or hostile ones get."""

import asyncio
import gzip
import os
import re
import signal
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import httpx
import pytest
from msgspec import structs
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as read_text

from fake_nvml.fixtures import FakeNode
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.prometheus import exposition
from gpuwatch_exporters.prometheus.encoding import LineWriter
from gpuwatch_exporters.prometheus.family import Page, Subject, View
from gpuwatch_exporters.prometheus.negotiation import form_for
from gpuwatch_exporters.prometheus.route import MetricsRoute
from gpuwatch_exporters.prometheus.subjects import SUBJECTS, page_of
from support.metrics_frames import OPENMETRICS, openmetrics_families, samples_of
from support.running_agent import all_fresh, running_agent
from support.running_api import RunningApi, running_api, until
from support.sample_frames import sample_frame

PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"
AGE = re.compile(r"(?m)^gpuwatch_frame_age_seconds .*$")


def scraped(
    check: Callable[[RunningApi], Awaitable[None]], *, frames: int = 1, clock: Callable[[], float] = perf_counter
) -> None:
    """Run one check against an API that has `/metrics`."""

    async def run() -> None:
        async with running_api(on_hub=lambda hub: [("/metrics", MetricsRoute(hub, clock=clock))], frames=frames) as api:
            await check(api)

    asyncio.run(run())


async def scrape(api: RunningApi, query: str = "", **headers: str) -> httpx.Response:
    return await api.client.get(f"/metrics{query}", headers={"accept-encoding": "identity", **headers})


def families_in(answer: httpx.Response) -> dict[str, Metric]:
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in read_text(answer.text)}


def the_value(answer: httpx.Response, name: str) -> float:
    (sample,) = families_in(answer)[name].samples
    return float(sample.value)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/plain", "text"),
        ("application/openmetrics-text", "openmetrics"),
        (OPENMETRICS, "openmetrics"),
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.3", "text"),
        ("application/openmetrics-text;q=0", "text"),
        ("application/openmetrics-text;version=abc", "text"),
        ("application/openmetrics-text;version=9.0.0", "text"),
        ("application/openmetrics-text;q=nan", "text"),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "text"),
        (";;;,=,,q=;/", "text"),
        ("\xff" * 3000, "text"),
        ("text/plain," * 5000, "text"),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str, form: str) -> None:
    """As Prometheus asks, by weight; a header that makes no sense gets text."""
    assert form_for(accept) == form


def test_absurd_headers_are_answered_in_text() -> None:
    """Over HTTP, too: a scrape is worth more than an argument about its headers."""

    async def check(api: RunningApi) -> None:
        for accept in (b"application/openmetrics-text;version=x" * 900, b"\xff\xfe", b"a/b;q=-inf", b'";\\'):
            answer = await api.client.get("/metrics", headers={b"accept": accept})
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "gpuwatch_up" in families_in(answer)

    scraped(check)


def test_openmetrics_comes_with_its_type_and_its_end() -> None:
    """What Prometheus asks for first, compressed as it asks."""

    async def check(api: RunningApi) -> None:
        answer = await api.client.get("/metrics", headers={"accept": PROMETHEUS_3, "accept-encoding": "gzip"})
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text.endswith("# EOF\n")
        plain = await scrape(api)
        assert samples_of(openmetrics_families(answer.text)) == samples_of(families_in(plain).values())

    scraped(check)


def test_the_compressed_answer_is_one_stream_and_the_same_text() -> None:
    """The second scrape of a frame reuses the compressed beginning; its age is its own."""

    async def check(api: RunningApi) -> None:
        for age in (0, 2):
            api.clock.now += age
            async with api.client.stream("GET", "/metrics", headers={"accept-encoding": "gzip"}) as answer:
                raw = b"".join([part async for part in answer.aiter_raw()])
            stream = zlib.decompressobj(31)
            text = stream.decompress(raw).decode()
            assert stream.eof
            assert stream.unused_data == b"", "clients that stop after the first member would miss the rest"
            assert gzip.decompress(raw).decode() == text == (await scrape(api)).text
            assert len(raw) < len(text) / 5

    scraped(check)


def test_head_has_the_headers_only() -> None:
    """As everywhere in the API."""

    async def check(api: RunningApi) -> None:
        answer = await api.client.head("/metrics")
        assert answer.status_code == 200
        assert answer.content == b""
        assert int(answer.headers["content-length"]) > 1000

    scraped(check)


def test_a_scrape_can_be_cut_down_to_subjects() -> None:
    """Several jobs can scrape different things at different intervals; how fresh it is stands in each."""

    async def check(api: RunningApi) -> None:
        power = families_in(await scrape(api, "?collect[]=power&collect[]=findings"))
        assert {"gpuwatch_up", "gpuwatch_frame_age_seconds", "gpuwatch_gpu_power_watts", "gpuwatch_findings"} <= set(
            power
        )
        assert "gpuwatch_gpu_temperature_celsius" not in power
        for same in ("?collect[]=power,findings", "?collect%5B%5D=findings&collect%5B%5D=power"):
            assert set(power) == set(families_in(await scrape(api, same)))
        everything = set(families_in(await scrape(api)))
        fewer = set(families_in(await scrape(api, "?exclude[]=nvlink_links&exclude[]=processes")))
        left_out = everything - fewer
        assert "gpuwatch_gpu_nvlink_link_up" in left_out
        assert all("nvlink" in name or "process" in name for name in left_out)
        nothing = families_in(await scrape(api, "?collect[]=power&exclude[]=power"))
        assert set(nothing) == {"gpuwatch_up", "gpuwatch_frame_age_seconds"}

    scraped(check)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?collect[]=powr", "'powr'"),
        ("?exclude[]=", "''"),
        ("?format=statsd", "'statsd'"),
        ("?collect=power", "'collect'"),
        ("?format=native&format=native", "twice"),
    ],
)
def test_what_does_not_exist_is_a_problem_that_lists_what_does(query: str, says: str) -> None:
    """A misspelt filter would else pass for a node without those series."""

    async def check(api: RunningApi) -> None:
        answer = await scrape(api, query)
        problem = answer.json()
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in problem["detail"]
        if "powr" in query:
            assert all(subject.name in problem["action"] for subject in SUBJECTS)

    scraped(check)


def test_a_scrape_answers_within_the_time_it_is_given_or_fails_plainly() -> None:
    """Prometheus says how long it waits: what would come later is a problem that says so, and nothing half done."""
    steps = iter(range(10**6))

    async def check(api: RunningApi) -> None:
        late = await scrape(api, **{TIMEOUT: "3"})
        assert late.status_code == 503
        assert late.json()["type"] == "urn:gpuwatch:problem:scrape-timeout"
        assert "3 s" in late.json()["detail"]
        assert (await scrape(api, **{TIMEOUT: "100"})).status_code == 200

    # A clock on which every look takes a second: the work itself is over a dozen looks long.
    scraped(check, clock=lambda: float(next(steps)))


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon", "", "1e999", "\u0663"])
def test_a_time_that_makes_no_sense_is_no_time_limit(given: str) -> None:
    """The header is a courtesy; a scraper that gets it wrong still gets its answer."""

    async def check(api: RunningApi) -> None:
        answer = await api.client.get("/metrics", headers={TIMEOUT.encode(): given.encode()})
        assert answer.status_code == 200

    scraped(check)


def test_a_frame_that_is_old_is_not_passed_off_as_fresh() -> None:
    """Nobody has published for a while: not up, the age, stale GPUs, and not one value; and all is back with the next frame."""

    async def check(api: RunningApi) -> None:
        assert the_value(await scrape(api), "gpuwatch_up") == 1
        api.clock.now += 3
        assert the_value(await scrape(api), "gpuwatch_up") == 1
        api.clock.now += 100
        old = await scrape(api)
        assert the_value(old, "gpuwatch_up") == 0
        assert the_value(old, "gpuwatch_frame_age_seconds") > 100
        named = families_in(old)
        assert "gpuwatch_gpu_power_watts" not in named
        assert "gpuwatch_host_load1" not in named
        assert {sample.labels["state"] for sample in named["gpuwatch_gpu_state"].samples if sample.value} == {"stale"}
        assert "gpuwatch_gpu_reading_age_seconds" not in named, "it would stand still"
        assert "gpuwatch_gpu_xid_errors" in named, "what the agent has counted stays counted"
        api.publish(1)
        assert "gpuwatch_gpu_power_watts" in families_in(await scrape(api))

    scraped(check)


def test_the_age_goes_on_while_the_frame_stays() -> None:
    """What is kept of a frame does not keep its age."""

    async def check(api: RunningApi) -> None:
        first = the_value(await scrape(api), "gpuwatch_frame_age_seconds")
        api.clock.now += 1.5
        second = the_value(await scrape(api), "gpuwatch_frame_age_seconds")
        assert second - first == pytest.approx(1.5)

    scraped(check)


def test_a_frame_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks, in whatever form, compressed or cut down: each subject is written once a frame."""
    written: list[str] = []

    def noted(subject: Subject, view: View) -> Page:
        written.append(subject.name)
        return page_of(subject, view)

    monkeypatch.setattr(exposition, "page_of", noted)

    async def check(api: RunningApi) -> None:
        for accept in ("", OPENMETRICS):
            for encoding in ("identity", "gzip"):
                await scrape(api, accept=accept, **{"accept-encoding": encoding})
        await scrape(api, "?collect[]=power")
        assert sorted(written) == sorted(subject.name for subject in SUBJECTS)
        api.publish(1)
        await scrape(api, "?collect[]=power")
        assert len(written) == len(SUBJECTS) + 1, "what nobody asks for is not written"

    scraped(check)


def test_every_other_filter_does_not_fill_the_memory() -> None:
    """Of one frame some selections are kept, not all that anybody can think of."""
    view = View(frame=sample_frame())
    made = exposition.Exposition(view, exposition.NATIVE, LineWriter())
    for number in range(200):
        names = frozenset(subject.name for place, subject in enumerate(SUBJECTS) if number >> place & 1)
        assert made.plain(names, "text").endswith(made.plain(frozenset(), "text"))
    assert len(made._selections) <= 8


def test_before_the_first_frame_there_is_nothing_to_scrape() -> None:
    """503, which Prometheus takes for a target that is down."""

    async def check(api: RunningApi) -> None:
        assert (await scrape(api)).status_code == 503

    scraped(check, frames=0)


def test_scrapes_in_parallel_all_get_the_whole() -> None:
    """Sixty at once, of different kinds."""

    async def check(api: RunningApi) -> None:
        queries = ["", "?collect[]=power", "?exclude[]=nvlink_links"]
        answers = await asyncio.gather(*(scrape(api, queries[number % 3]) for number in range(60)))
        texts = [{AGE.sub("", answer.text) for answer in answers[kind::3]} for kind in range(3)]
        assert [len(same) for same in texts] == [1, 1, 1]
        assert all(answer.status_code == 200 for answer in answers)

    scraped(check)


def test_a_thousand_scrapes_in_a_row_do_not_shut_others_out() -> None:
    """As fast as eight connections can ask; meanwhile frames are published and the health check is answered."""

    async def check(api: RunningApi) -> None:
        async def ask(times: int) -> None:
            for _ in range(times):
                assert (await api.client.get("/metrics", headers={"accept-encoding": "gzip"})).status_code == 200

        asking = [asyncio.create_task(ask(125)) for _ in range(8)]
        for tick in range(5):
            api.publish(tick)
            assert (await api.client.get("/healthz")).status_code == 200
        await asyncio.gather(*asking)

    scraped(check)


def test_a_scrape_cut_off_halfway_leaves_nothing_behind() -> None:
    """The scraper's time-out closes the connection in the middle of an answer: no connection stays, the next is served."""

    async def check(api: RunningApi) -> None:
        for _ in range(20):
            reader, writer = await api.connect()
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.read(100)
            writer.transport.abort()
        kept = len(api.server.connections)
        await until(lambda: len(api.server.connections) == 0)
        assert kept <= 21
        assert (await scrape(api)).status_code == 200

    scraped(check)


def test_names_that_play_tricks_come_back_as_they_were() -> None:
    """Quotes, line ends, backslashes and bytes that are no text, in a process that calls itself so."""
    name = 'a"b\\c\nd} 1\n# EOF ✓ \udcff'

    def naughty(frame: Frame) -> Frame:
        gpu = structs.replace(frame.gpus[0], processes=[Process(pid=1, name=name, user='"}', memory_bytes=5)])
        return structs.replace(frame, gpus=[gpu])

    async def check(api: RunningApi) -> None:
        api.hub.publish(naughty(sample_frame()))
        answer = await scrape(api)
        (sample,) = families_in(answer)["gpuwatch_process_info"].samples
        assert sample.labels["name"] == name.replace("\udcff", sample.labels["name"][-1])
        assert sample.labels["name"][-1] == "\ufffd"
        strict = openmetrics_families((await scrape(api, accept=OPENMETRICS)).text)
        assert samples_of(strict) == samples_of(families_in(answer).values())

    scraped(check)


def test_an_agent_whose_sampler_hangs_says_so_to_prometheus(fake_node: FakeNode, tmp_path: Path) -> None:
    """A real agent on eight GPUs: filters and freshness; its sampler is stopped, the values go, and come back with it."""
    quick = {
        "GPUWATCH_SAMPLING_INTERVAL_S": "0.1",
        "GPUWATCH_SAMPLING_STALE_AFTER_S": "0.6",
        "GPUWATCH_HARDWARE_KMSG": "",
    }
    with running_agent({**fake_node.env, **quick}, log=tmp_path / "agent.log") as agent:
        agent.frame_where(all_fresh())
        fresh = agent.get("/metrics")
        assert the_value(fresh, "gpuwatch_up") == 1
        assert len(families_in(fresh)["gpuwatch_gpu_power_watts"].samples) == 8
        assert "gpuwatch_gpu_power_watts" not in families_in(agent.get("/metrics?collect[]=clocks"))
        (sampler,) = agent.samplers()
        os.kill(sampler, signal.SIGSTOP)
        try:
            agent.frame_where(lambda frame: all((gpu.age_s or 0) > 5 for gpu in frame.gpus))
            hung = agent.get("/metrics")
        finally:
            os.kill(sampler, signal.SIGCONT)
        assert the_value(hung, "gpuwatch_up") == 0
        assert the_value(hung, "gpuwatch_frame_age_seconds") > 5
        assert "gpuwatch_gpu_power_watts" not in families_in(hung)
        agent.frame_where(all_fresh())
        assert the_value(agent.get("/metrics"), "gpuwatch_up") == 1
