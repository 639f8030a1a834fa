"""History over HTTP: questions well put, badly put, and put by chance."""

import asyncio
from urllib.parse import quote_from_bytes, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwatch_agent.api.history_route import PARAMETERS, parse_question
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.metrics import SPECS
from support.running_api import RunningApi, running_api, with_api
from support.sample_frames import sample_frame, uuid


def test_a_question_is_answered_with_what_was_asked() -> None:
    """Metrics, GPUs, span and step are honoured together."""

    async def check(api: RunningApi) -> None:
        query = {
            "metrics": "energy_j,host.load_1m",
            "gpus": f"1,{uuid(3)}",
            "seconds": "4",
            "step": "2",
            "method": "last",
        }
        answer = (await api.client.get("/v1/history", params=query)).json()
        assert [(series["metric"], series["gpu"]) for series in answer["series"]] == [
            ("energy_j", 1),
            ("energy_j", 3),
            ("host.load_1m", None),
        ]
        assert answer["step_s"] == 2
        # The clock stands at 110 s, one second after the last of ten frames: that second is an honest gap.
        assert answer["series"][0]["values"] == [1e9 + 612 * 7, 1e9 + 612 * 9, None]

    with_api(check, frames=10)


def test_lists_may_be_repeated() -> None:
    """`metrics=a&metrics=b` is `metrics=a,b`."""
    assert parse_question(b"metrics=power_w&metrics=fan_pct&gpus=0,%201").metrics == ["power_w", "fan_pct"]
    assert parse_question(b"gpus=0,%201").gpus == ["0", "1"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("metrics=powr", "power_w"),
        ("metrics=", "Allowed are"),
        ("gpus=99", "the history holds: 0, 1, 2"),
        ("metric=power_w", "metrics, gpus, seconds, since, step, method"),
        ("seconds=soon", "seconds=60"),
        ("seconds=nan", "seconds=60"),
        ("seconds=0", "seconds=300"),
        ("seconds=1&seconds=2", "Give it once"),
        ("since=inf", "since=60"),
        ("step=0.1", "between 1 and 3600"),
        ("step=1e300", "between 1 and 3600"),
        ("method=max", "mean, last"),
        ("&".join(["gpus=0"] * 40), "metrics, gpus"),
    ],
)
def test_a_bad_question_is_told_how_to_put_it(query: str, told: str) -> None:
    """400 names what was wrong and what is allowed."""

    async def check(api: RunningApi) -> None:
        response = await api.client.get(f"/v1/history?{query}")
        assert response.status_code == 400
        problem = response.json()
        assert told in problem["action"]

    with_api(check)


def test_more_than_one_answer_holds_is_refused() -> None:
    """An hour of everything at once is refused with the way to ask for less."""

    async def check(api: RunningApi) -> None:
        frame = sample_frame()
        for second in range(3600):
            api.clock.now = 1000.0 + second
            api.history.append(frame, api.clock.now)
        response = await api.client.get("/v1/history?seconds=3600")
        assert response.status_code == 400
        assert "Name fewer metrics" in response.json()["action"]
        assert (await api.client.get("/v1/history?seconds=3600&step=60")).status_code == 200

    with_api(check)


def test_others_are_served_while_history_is_worked_out() -> None:
    """Twenty large questions at once and a snapshot in between all get their answers."""

    async def check(api: RunningApi) -> None:
        frame = sample_frame()
        for second in range(400):
            api.clock.now = 1000.0 + second
            api.history.append(frame, api.clock.now)
        questions = [asyncio.create_task(api.client.get("/v1/history")) for _ in range(20)]
        assert (await api.client.get("/v1/snapshot")).status_code == 200
        assert {response.status_code for response in await asyncio.gather(*questions)} == {200}

    with_api(check)


NAMES = st.sampled_from([*PARAMETERS, "other", ""])
VALUES = st.one_of(
    st.sampled_from([*SPECS, "0", "1", "-1", "1e9", "nan", "inf", "-0.0", "mean", "last", ",", ",,0,", "1_0", "٣"]),
    st.text(max_size=20),
    st.floats().map(str),
    st.integers().map(str),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_any_parameters_are_understood_or_told(pairs: list[tuple[str, str]]) -> None:
    """Parsing gives a question or a sentence, never anything else."""
    told = understood = ""
    try:
        understood = repr(parse_question(urlencode(pairs).encode()))
    except UsageError as error:
        told = error.message and error.action
    assert understood or told


@settings(max_examples=8, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.tuples(NAMES, VALUES)), min_size=20, max_size=20))
def test_no_query_string_breaks_the_server(queries: list[bytes | tuple[str, str]]) -> None:
    """Whatever stands behind the question mark, the answer is 200 or 400 with its reason."""

    async def run() -> None:
        async with running_api() as api:
            for query in queries:
                text = quote_from_bytes(query, safe="=&,+%") if isinstance(query, bytes) else urlencode([query])
                response = await api.client.get(httpx.URL(f"{api.server.url}/v1/history", query=text.encode()))
                assert response.status_code in {200, 400}, response.text
                if response.status_code == 400:
                    assert response.headers["content-type"] == "application/problem+json"

    asyncio.run(run())
