"""`/openapi.json`: the API described from the structs it sends."""

from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec
from starlette.types import Scope, Send

from gpuwatch_agent.api.findings_route import PARAMETERS as FINDINGS_PARAMETERS
from gpuwatch_agent.api.findings_route import FindingsAnswer
from gpuwatch_agent.api.health_routes import Health, Index, Readiness
from gpuwatch_agent.api.history_route import PARAMETERS
from gpuwatch_agent.api.replies import Plain, Problem, Tagged, wants_gzip, zipped
from gpuwatch_agent.api.runbook_route import Runbooks
from gpuwatch_agent.history import HistoryAnswer
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import SPECS
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.runbooks import runbook_kinds

_ANSWERS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "/v1/snapshot": (Frame, "Everything the node says at this moment."),
    "/v1/findings": (FindingsAnswer, "What is wrong and what to do about it, and how findings came and went."),
    "/v1/runbooks": (Runbooks, "Which kinds of findings have a page that says what to do."),
    "/v1/topology": (Topology, "How the GPUs are wired."),
    "/v1/history": (HistoryAnswer, "The last hour of every number."),
    "/healthz": (Health, "Whether the process answers."),
    "/readyz": (Readiness, "Whether fresh frames are being published."),
    "/": (Index, "The paths there are."),
}
_NUMBERS = {"seconds", "since", "step"}
_LISTS = {"metrics", "gpus", "kind", "gpu"}
_OPEN: tuple[dict[str, list[str]], ...] = ({}, {"token": []})


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    structs = [Problem, *(struct for struct, _ in _ANSWERS.values())]
    _, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        # Encoding leaves no field out: what is unknown is null.
        if "properties" in schema:
            schema["required"] = list(schema["properties"])
    paths: dict[str, Any] = {
        path: {"get": _operation(path, summary, _json(struct.__name__))} for path, (struct, summary) in _ANSWERS.items()
    }
    paths["/v1/history"]["get"]["parameters"] = [_parameter(name, text) for name, text in PARAMETERS.items()]
    paths["/v1/findings"]["get"]["parameters"] = [_parameter(name, text) for name, text in FINDINGS_PARAMETERS.items()]
    paths["/v1/runbooks/{kind}"] = {"get": _runbook()}
    paths["/v1/stream"] = {
        "get": _operation(
            "/v1/stream",
            "Every frame as a server-sent event: `id` is its number, `data` a Frame. A slow reader misses frames.",
            {"text/event-stream": {"schema": {"type": "string"}}},
        )
    }
    paths["/openapi.json"] = {
        "get": _operation("/openapi.json", "This document.", {"application/json": {"schema": {"type": "object"}}})
    }
    for path in ("/v1/probes", "/v1/control"):
        paths[path] = {method: _held(path, method) for method in ("get", "post")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gpuwatch node agent",
            "version": "1",
            "summary": "What the GPUs of one node do, and what is wrong with them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Off loopback for everything but /healthz and /readyz; for probes and control always.",
                }
            },
        },
    }


def _operation(path: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": path.removeprefix("/v1").strip("/").removesuffix(".json") or "index",
        "security": list(_OPEN),
        "responses": {"200": {"description": summary, "content": content}, "default": _problem()},
    }


def _runbook() -> dict[str, Any]:
    kind = {"name": "kind", "in": "path", "required": True, "schema": {"type": "string", "enum": runbook_kinds()}}
    page = {"text/markdown": {"schema": {"type": "string"}}}
    operation = _operation("/v1/runbooks", "What a kind of finding means, how to confirm it and what to do.", page)
    parameter = {**kind, "description": "A finding's `kind`."}
    return {**operation, "operationId": "runbook", "parameters": [parameter]}


def _held(path: str, method: str) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    return {
        "summary": f"The place of {name}: this version has none.",
        "operationId": f"{method}-{name}",
        "security": [{"token": []}],
        "responses": {"501": _problem(), "default": _problem()},
    }


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "What went wrong, and what to do.",
        "content": {"application/problem+json": {"schema": schema}},
    }


def _json(struct: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct}"}}}


def _parameter(name: str, text: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in _NUMBERS:
        schema = {"type": "number"}
    elif name == "method":
        schema = {"type": "string", "enum": ["mean", "last"], "default": "mean"}
    elif name in _LISTS:
        items = {"type": "string", "enum": list(SPECS)} if name == "metrics" else {"type": "string"}
        schema = {"type": "array", "items": items}
    parameter = {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
    return {**parameter, "style": "form", "explode": False} if name in _LISTS else parameter


class OpenApiRoute(Plain):
    """Described when first asked for."""

    async def get(self, scope: Scope, send: Send) -> None:
        """Send the document."""
        plain, packed = _documents()
        await (packed if wants_gzip(scope) else plain).send(scope, send)


@cache
def _documents() -> tuple[Tagged, Tagged]:
    body = msgspec.json.encode(describe())
    tag = blake2b(body, digest_size=12).hexdigest()
    return Tagged(body, tag), Tagged(zipped(body), tag, gzipped=True)
