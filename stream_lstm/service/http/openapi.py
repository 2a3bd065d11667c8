"""OpenAPI 3.1 document of the API (https://spec.openapis.org/oas/v3.1.0), generated from its endpoints."""

from __future__ import annotations

from typing import Any

import msgspec

from stream_lstm import __version__
from stream_lstm.service.http import schemas
from stream_lstm.service.http.api import ENDPOINTS, LIVE, Endpoint

TITLE = "stream_lstm"
DESCRIPTION = (
    "State, streams and predictions of a running service; read-only. Times are epoch seconds, durations "
    "seconds. If a token or a password is set, the header Authorization is required. All clients together "
    "get a twentieth of a core: beyond that, requests wait, or fail with status 503 and the header "
    "Retry-After."
)
LIVE_ANSWERS = (schemas.Overview, schemas.News, schemas.Problem)


def document() -> dict[str, Any]:
    """The document, as JSON values."""
    answers = [endpoint.answer for endpoint in ENDPOINTS.values()] + list(LIVE_ANSWERS)
    found, components = msgspec.json.schema_components(answers, ref_template="#/components/schemas/{name}")
    paths = {
        endpoint.path: _path(endpoint, {"application/json": {"schema": schema}})
        for endpoint, schema in zip(ENDPOINTS.values(), found, strict=False)
    }
    paths[LIVE.path] = _path(LIVE, {"text/event-stream": {"schema": {"type": "string"}}})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}, {"password": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _path(endpoint: Endpoint, content: dict[str, Any]) -> dict[str, Any]:
    """The path item of an endpoint, with the content of its 200 response."""
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = {
        "200": {"description": endpoint.summary, "content": content},
        "400": {"description": "a parameter is missing, unknown or wrong", "content": problem},
        "401": {"description": "a token or a password is required", "content": problem},
        "503": {
            "description": "recovering, stopping, no CPU budget left, or too many viewers",
            "content": problem,
        },
    }
    if endpoint.not_found:
        responses["404"] = {"description": "the stream does not exist", "content": problem}
    operation = {
        "operationId": endpoint.path.removeprefix("/api/").replace("/", "_"),
        "summary": endpoint.summary,
        "parameters": [
            {
                "name": parameter.name,
                "in": "query",
                "description": parameter.description,
                "required": parameter.default is None,
                "schema": parameter.schema(),
            }
            for parameter in endpoint.parameters
        ],
        "responses": dict(sorted(responses.items())),
    }
    return {"get": operation}
