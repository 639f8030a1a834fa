"""The document describes what is really sent."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gpuwatch_agent.api.openapi import describe
from support.running_api import RunningApi, with_api
from support.sample_frames import blind_frame

REFUSED = ["/nope", "/v1/history?metrics=x", "/v1/control", "/v1/probes"]


def schema_of(document: dict[str, Any], path: str, status: str, media_type: str) -> dict[str, Any]:
    """The schema of one response, able to find the components it points to."""
    content = document["paths"][path]["get"]["responses"][status]["content"]
    return {**content[media_type]["schema"], "components": document["components"]}


def test_the_document_is_valid() -> None:
    """It passes the official rules of OpenAPI 3.1."""
    OpenAPIV31SpecValidator(describe()).validate()


def test_every_route_is_described_and_no_other() -> None:
    """What is served and what is described are the same paths."""

    async def check(api: RunningApi) -> None:
        document = (await api.client.get("/openapi.json")).json()
        links = (await api.client.get("/")).json()["links"]
        assert set(document["paths"]) == {*links, "/", "/v1/runbooks/{kind}", "/v1/probes", "/v1/control"}

    with_api(check)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/snapshot",
        "/v1/findings",
        "/v1/runbooks",
        "/v1/topology",
        "/v1/history",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ],
)
def test_answers_are_as_described(path: str) -> None:
    """Every answer validates, for a full node and for one without a driver."""

    async def check(api: RunningApi) -> None:
        document = (await api.client.get("/openapi.json")).json()
        schema = schema_of(document, path, "200", "application/json")
        jsonschema.Draft202012Validator(schema).validate((await api.client.get(path)).json())
        api.hub.publish(blind_frame())
        jsonschema.Draft202012Validator(schema).validate((await api.client.get(path)).json())

    with_api(check)


@pytest.mark.parametrize("path", REFUSED)
def test_problems_are_as_described(path: str) -> None:
    """Errors validate as problems, too."""

    async def check(api: RunningApi) -> None:
        schema = schema_of(describe(), "/v1/history", "default", "application/problem+json")
        response = await api.client.get(path)
        assert response.status_code >= 400
        jsonschema.Draft202012Validator(schema).validate(response.json())

    with_api(check)


def test_a_wrong_answer_would_be_noticed() -> None:
    """The schemas are strict enough to refuse a frame without its GPUs, or with a name for a number."""
    schema = schema_of(describe(), "/v1/snapshot", "200", "application/json")
    validator = jsonschema.Draft202012Validator(schema)
    assert not validator.is_valid({"schema": 1, "node": "x"})
    assert not validator.is_valid({"schema": "one"})
