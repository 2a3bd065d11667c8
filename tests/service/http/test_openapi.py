"""The OpenAPI document is valid, and every answer of a running service conforms to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.http.openapi import document
from tests.core.models import KINDS, random_model
from tests.service.http.harness import MODEL, Client, Harness, open_harness, serve, until

DOCUMENT = document()
MODELS = {"default": MODEL} | {name: random_model(**changes) for name, changes in KINDS.items()}
LIVE_SCHEMAS = {"overview": "Overview", "news": "News", "gone": "Problem"}


def check(answer: Any, schema: dict[str, Any]) -> None:
    """Validate an answer against a schema of the document."""
    jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(answer)


def schema_of(path: str, status: int = 200) -> dict[str, Any]:
    """Schema of a response."""
    responses = DOCUMENT["paths"][path]["get"]["responses"]
    schema: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return schema


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(inner)


def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_every_endpoint_and_parameter_is_described() -> None:
    assert sorted(DOCUMENT["paths"]) == sorted([LIVE.path, *(e.path for e in ENDPOINTS.values())])
    for endpoint in [LIVE, *ENDPOINTS.values()]:
        described = DOCUMENT["paths"][endpoint.path]["get"]["parameters"]
        assert [parameter["name"] for parameter in described] == [p.name for p in endpoint.parameters]
        assert ("404" in DOCUMENT["paths"][endpoint.path]["get"]["responses"]) == endpoint.not_found
    operations = [path["get"]["operationId"] for path in DOCUMENT["paths"].values()]
    assert len(set(operations)) == len(operations)
    for name in DOCUMENT["components"]["schemas"]:
        schema = DOCUMENT["components"]["schemas"][name]
        assert schema["type"] == "object"
        assert schema["description"]
    references = {found["$ref"] for found in objects(DOCUMENT) if "$ref" in found}
    assert references | {"#/components/schemas/News"} == {  # of the live feed
        f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]
    }


async def busy(harness: Harness) -> None:
    """Warm and cold streams, alerts, rejections, and streams on disk."""
    for n in range(45):
        await harness.apply(["a", "<b>"], [[20.0 + n % 3 + (1e6 if n > 42 else 0.0)] * harness.features] * 2)
    await harness.apply(["cold"], [[1.0] * harness.features])
    harness.reject("late", payload=b"\xff")
    harness.obstacles.append("the disk is full")
    harness.counters.newest_time = harness.now
    harness.counters.latency.add(0.002)
    await harness.apply(["d", "e"], [[1.0] * harness.features] * 2)


@pytest.mark.parametrize("kind", MODELS)
async def test_every_answer_conforms_to_its_schema(kind: str, tmp_path: Path) -> None:
    async with (
        open_harness(tmp_path / "state.db", model=MODELS[kind], limits={"streams_max": 4}) as harness,
        serve(harness.context) as client,
    ):
        check(await client.get("/api/overview"), schema_of("/api/overview"))
        check(await client.get("/api/streams"), schema_of("/api/streams"))
        await busy(harness)
        for endpoint in ENDPOINTS.values():
            queries: list[dict[str, str]] = [{}]
            if endpoint.not_found:
                queries = [{"name": name} for name in ("a", "<b>", "cold", "d", "e")]
            for query in queries:
                check(await client.get(endpoint.path, **query), schema_of(endpoint.path))
        on_disk = [name for name in ("a", "<b>", "cold", "d", "e") if name not in harness.memories]
        assert (await client.get("/api/stream", name=on_disk[0]))["where"] == "disk"
        assert (await client.get("/api/openapi.json")) == DOCUMENT


async def test_every_error_conforms_to_its_schema(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        async with serve(harness.context, credentials=["Bearer t"]) as client:
            status, answer, _ = await client.request("/api/streams")
            assert status == 401
            check(answer, schema_of("/api/streams", 401))
        async with serve(None) as client:
            status, answer, _ = await client.request("/api/streams")
            assert status == 503
            check(answer, schema_of("/api/streams", 503))
        async with serve(harness.context) as client:
            for path, query, wanted in [
                ("/api/streams", {"limit": "no"}, 400),
                ("/api/stream", {"name": "unknown"}, 404),
                ("/api/stream/insides", {"name": "unknown"}, 404),
            ]:
                status, answer, _ = await client.request(path, **query)
                assert status == wanted
                check(answer, schema_of(path, wanted))


@pytest.mark.parametrize("kind", ["default", "pair", "classes"])
async def test_every_live_message_conforms_to_its_schema(kind: str, tmp_path: Path) -> None:
    async with (
        open_harness(tmp_path / "state.db", model=MODELS[kind]) as harness,
        serve(harness.context) as client,
    ):
        await busy(harness)
        kinds = await asyncio.gather(live_kinds(client, harness, "a"), live_kinds(client, harness, "unknown"))
        assert kinds == [{"overview", "news"}, {"overview", "gone"}]


async def live_kinds(client: Client, harness: Harness, name: str) -> set[str]:
    """Kinds of the live messages about a stream, each validated."""
    kinds: set[str] = set()
    feed = client.api.feed
    async with asyncio.timeout(20), client.session.get(f"{client.url}/api/live?name={name}") as answer:
        kind = ""
        await until(lambda: all(watch.after is not None for watch in feed._watches.values()))
        await harness.apply(["a"], [[1.0] * harness.features])
        async for line in answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                check(json.loads(value), {"$ref": f"#/components/schemas/{LIVE_SCHEMAS[kind]}"})
                kinds.add(kind)
                if len(kinds) == 2:
                    break
    return kinds
