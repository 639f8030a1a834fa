"""`/v1/findings` with its past, and the pages findings point to."""

from typing import Any

import jsonschema
import msgspec
import pytest

from gpuwatch_agent.api.findings_route import FindingsAnswer
from gpuwatch_agent.api.openapi import describe
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.runbooks import runbook, runbook_kinds
from support.running_api import RunningApi, with_api
from support.sample_frames import sample_frame

NOW = sample_frame(0).taken_at


def event(seconds_ago: float, kind: str = "xid", gpu: int = 0, what: str = "raised") -> FindingEvent:
    finding = Finding(
        kind=kind, severity="warning", gpus=[gpu], since=NOW - seconds_ago, summary="It is odd.", action="Look."
    )
    return msgspec.convert(
        {"event": what, "at": NOW - seconds_ago, "finding": msgspec.to_builtins(finding)}, FindingEvent
    )


async def ask(api: RunningApi, query: str = "") -> FindingsAnswer:
    response = await api.client.get(f"/v1/findings{query}")
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=FindingsAnswer)


def test_how_findings_came_and_went() -> None:
    """The last hour where nothing is said, all that is remembered with since=0, and what is new since a moment."""

    async def check(api: RunningApi) -> None:
        api.events += [event(7200), event(1800), event(60, what="cleared")]
        assert [NOW - one.at for one in (await ask(api)).events] == [1800, 60]
        assert len((await ask(api, "?since=0")).events) == 3
        assert [one.event for one in (await ask(api, f"?since={NOW - 100}")).events] == ["cleared"]

    with_api(check)


@pytest.mark.parametrize(
    ("query", "findings", "events"),
    [
        ("?kind=xid", 0, 2),
        ("?kind=power_throttle", 1, 0),
        ("?kind=xid,gpu_lost", 0, 3),
        ("?kind=xid&kind=gpu_lost", 0, 3),
        ("?gpu=0", 1, 1),
        ("?gpu=1,2&kind=xid", 0, 1),
        ("?gpu=77", 0, 0),
        ("?kind=of_another_version", 0, 0),
    ],
)
def test_findings_by_kind_and_gpu(query: str, findings: int, events: int) -> None:
    """Filters hold for what is and for what was."""

    async def check(api: RunningApi) -> None:
        api.events += [event(30), event(20, gpu=1), event(10, "gpu_lost", 5)]
        answer = await ask(api, query)
        assert (len(answer.findings), len(answer.events)) == (findings, events)

    with_api(check)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?since=yesterday", "`since` is 'yesterday', which is no number."),
        ("?since=nan", "which is no number"),
        ("?since=1&since=2", "`since` is given twice."),
        ("?gpu=GPU-1", "`gpu` is 'GPU-1', which is no GPU's index. As in"),
        ("?gpu=-1", "no GPU's index"),
        ("?gpu=%C2%B2", "no GPU's index"),
        ("?gpu=", "no GPU's index"),
        ("?knd=xid", "The findings know no parameter 'knd'. Allowed are: since, kind, gpu."),
        ("?" + "a=1&" * 50, "too many parts"),
    ],
)
def test_questions_that_make_no_sense(query: str, sentence: str) -> None:
    """400 with what is wrong and what is allowed."""

    async def check(api: RunningApi) -> None:
        response = await api.client.get(f"/v1/findings{query}")
        problem = response.json()
        assert response.status_code == 400
        assert sentence in f"{problem['detail']} {problem['action']}"

    with_api(check)


def test_events_are_as_described() -> None:
    """The document's schema holds for an answer with events, and every parameter is in it."""

    async def check(api: RunningApi) -> None:
        api.events.append(event(5))
        document: dict[str, Any] = describe()
        described = document["paths"]["/v1/findings"]["get"]
        schema = {
            **described["responses"]["200"]["content"]["application/json"]["schema"],
            "components": document["components"],
        }
        jsonschema.Draft202012Validator(schema).validate((await api.client.get("/v1/findings")).json())
        assert [parameter["name"] for parameter in described["parameters"]] == ["since", "kind", "gpu"]

    with_api(check)


def test_a_page_as_markdown() -> None:
    """What the page's file says, as Markdown; the list names it."""

    async def check(api: RunningApi) -> None:
        response = await api.client.get("/v1/runbooks/gpu_lost")
        assert response.headers["content-type"] == "text/markdown; charset=utf-8"
        assert response.text == runbook("gpu_lost")
        assert (await api.client.get("/v1/runbooks")).json() == {"kinds": runbook_kinds()}

    with_api(check)


@pytest.mark.parametrize("kind", ["nothing", "gpu_lost.md", "..", "%2e%2e%2farchitecture", "..%2F..%2FREADME"])
def test_no_other_file_is_served(kind: str) -> None:
    """Names are looked up in the list, so no path leads out of it."""

    async def check(api: RunningApi) -> None:
        response = await api.client.get(f"/v1/runbooks/{kind}")
        assert response.status_code == 404

    with_api(check)


def test_every_kind_has_a_page() -> None:
    """No finding points to nowhere, and no page is about what does not exist."""
    assert set(runbook_kinds()) >= {detector.kind for detector in DETECTORS}
    for kind in runbook_kinds():
        assert str(runbook(kind)).startswith(f"# {kind}"), kind
