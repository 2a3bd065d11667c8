"""The description is valid OpenAPI, and what a running service answers is as described."""

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
from tests.service.http.scene import MODEL, Scene, Visitor, scene, until, visited

DOCUMENT = document()
MODELS = {"default": MODEL} | {name: random_model(**changes) for name, changes in KINDS.items()}
LIVE_SHAPES = {"overview": "Overview", "news": "News", "gone": "Problem"}


def check(answer: Any, schema: dict[str, Any]) -> None:
    """Hold an answer against a schema of the document."""
    jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(answer)


def described(path: str, status: int = 200) -> dict[str, Any]:
    """The schema of an answer."""
    responses = DOCUMENT["paths"][path]["get"]["responses"]
    schema: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return schema


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(inner)


def test_the_description_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_everything_that_is_served_is_described() -> None:
    assert sorted(DOCUMENT["paths"]) == sorted([LIVE.path, *(e.path for e in ENDPOINTS.values())])
    for endpoint in [LIVE, *ENDPOINTS.values()]:
        asked = DOCUMENT["paths"][endpoint.path]["get"]["parameters"]
        assert [parameter["name"] for parameter in asked] == [p.name for p in endpoint.parameters]
        assert ("404" in DOCUMENT["paths"][endpoint.path]["get"]["responses"]) == endpoint.unknown
    identifiers = [path["get"]["operationId"] for path in DOCUMENT["paths"].values()]
    assert len(set(identifiers)) == len(identifiers)
    for name in DOCUMENT["components"]["schemas"]:
        shape = DOCUMENT["components"]["schemas"][name]
        assert shape["type"] == "object"
        assert shape["description"]
    references = {found["$ref"] for found in objects(DOCUMENT) if "$ref" in found}
    assert references | {"#/components/schemas/News"} == {  # which only the live feed tells
        f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]
    }


async def busy(set_up: Scene) -> None:
    """Streams of every age, alerts, refusals, gaps; one on disk."""
    for n in range(45):
        await set_up.come(["a", "<b>"], [[20.0 + n % 3 + (1e6 if n > 42 else 0.0)] * set_up.wide] * 2)
    await set_up.come(["young"], [[1.0] * set_up.wide])
    set_up.refuse("late", payload=b"\xff")
    set_up.obstacles.append("the disk is full")
    set_up.counters.newest_time = set_up.now
    set_up.counters.latency.add(0.002)
    await set_up.come(["d", "e"], [[1.0] * set_up.wide] * 2)


@pytest.mark.parametrize("kind", MODELS)
async def test_every_answer_is_as_described(kind: str, tmp_path: Path) -> None:
    async with (
        scene(tmp_path / "state.db", model=MODELS[kind], limits={"streams_max": 4}) as set_up,
        visited(set_up.view) as visitor,
    ):
        check(await visitor.told("/api/overview"), described("/api/overview"))
        check(await visitor.told("/api/streams"), described("/api/streams"))
        await busy(set_up)
        for endpoint in ENDPOINTS.values():
            queries: list[dict[str, str]] = [{}]
            if endpoint.unknown:
                queries = [{"name": name} for name in ("a", "<b>", "young", "d", "e")]
            for query in queries:
                check(await visitor.told(endpoint.path, **query), described(endpoint.path))
        away = [name for name in ("a", "<b>", "young", "d", "e") if name not in set_up.memories]
        assert (await visitor.told("/api/stream", name=away[0]))["where"] == "disk"
        assert (await visitor.told("/api/openapi.json")) == DOCUMENT


async def test_problems_are_as_described(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        async with visited(set_up.view, credentials=["Bearer t"]) as visitor:
            status, answer, _ = await visitor.ask("/api/streams")
            assert status == 401
            check(answer, described("/api/streams", 401))
        async with visited(None) as visitor:
            status, answer, _ = await visitor.ask("/api/streams")
            assert status == 503
            check(answer, described("/api/streams", 503))
        async with visited(set_up.view) as visitor:
            for path, query, wanted in [
                ("/api/streams", {"limit": "no"}, 400),
                ("/api/stream", {"name": "nobody"}, 404),
                ("/api/stream/insides", {"name": "nobody"}, 404),
            ]:
                status, answer, _ = await visitor.ask(path, **query)
                assert status == wanted
                check(answer, described(path, wanted))


@pytest.mark.parametrize("kind", ["default", "pair", "classes"])
async def test_what_is_told_live_is_as_described(kind: str, tmp_path: Path) -> None:
    async with (
        scene(tmp_path / "state.db", model=MODELS[kind]) as set_up,
        visited(set_up.view) as visitor,
    ):
        await busy(set_up)
        kinds = await asyncio.gather(heard(visitor, set_up, "a"), heard(visitor, set_up, "nobody"))
        assert kinds == [{"overview", "news"}, {"overview", "gone"}]


async def heard(visitor: Visitor, set_up: Scene, name: str) -> set[str]:
    """Kinds of what came of a stream, each held against its shape."""
    kinds: set[str] = set()
    feed = visitor.site._api.feed  # type: ignore[union-attr]
    async with asyncio.timeout(20), visitor.session.get(f"{visitor.url}/api/live?name={name}") as answer:
        kind = ""
        await until(lambda: all(watch.after is not None for watch in feed._watches.values()))
        await set_up.come(["a"], [[1.0] * set_up.wide])
        async for line in answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                check(json.loads(value), {"$ref": f"#/components/schemas/{LIVE_SHAPES[kind]}"})
                kinds.add(kind)
                if len(kinds) == 2:
                    break
    return kinds
