"""The API's description in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0), made of what is served."""

from __future__ import annotations

from typing import Any

import msgspec

from stream_lstm import __version__
from stream_lstm.service.http import schemas
from stream_lstm.service.http.api import ENDPOINTS, LIVE, Endpoint

TITLE = "stream_lstm"
ABOUT = (
    "What a running service sees, and its memory at work; read-only. Times are epoch seconds. Where a token "
    "or a password is set, it is asked for in the header Authorization. All who ask together get a twentieth "
    "of a core: who asks for more waits, or is told to come again (503)."
)
STREAMED = (schemas.Overview, schemas.News, schemas.Problem)


def document() -> dict[str, Any]:
    """The whole description."""
    shapes = [endpoint.answer for endpoint in ENDPOINTS.values()] + list(STREAMED)
    schemas, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    paths = {
        endpoint.path: _path(endpoint, {"application/json": {"schema": schema}})
        for endpoint, schema in zip(ENDPOINTS.values(), schemas, strict=False)
    }
    paths[LIVE.path] = _path(LIVE, {"text/event-stream": {"schema": {"type": "string"}}})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": __version__,
            "description": ABOUT,
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
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    told = {
        "200": {"description": endpoint.summary, "content": content},
        "400": {"description": "a parameter is wrong: which, and what it may be", "content": problem},
        "401": {"description": "a token or a password is wanted", "content": problem},
        "503": {"description": "memory is being restored, or too much is asked at once", "content": problem},
    }
    if endpoint.unknown:
        told["404"] = {"description": "there is no such stream", "content": problem}
    operation = {
        "operationId": endpoint.path.removeprefix("/api/").replace("/", "_"),
        "summary": endpoint.summary,
        "parameters": [
            {
                "name": parameter.name,
                "in": "query",
                "description": parameter.about,
                "required": parameter.default is None,
                "schema": parameter.schema(),
            }
            for parameter in endpoint.parameters
        ],
        "responses": dict(sorted(told.items())),
    }
    return {"get": operation}
