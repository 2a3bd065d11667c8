"""The API over real HTTP: statuses, headers, what each answers, and what looking may not do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
import yarl

from stream_lstm import __version__
from stream_lstm.events import REASONS
from stream_lstm.service.http import live_feed as feed_module
from stream_lstm.service.http import routes as site_module
from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.http.cpu_budget import SAVED_SECONDS_MAX
from stream_lstm.service.http.server import ALWAYS
from tests.core.models import KINDS, random_model
from tests.service.http.scene import MODEL, Scene, Visitor, scene, until, visited

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'&",
    "\u202eevil\u202c",
    "\x7f\u2028\n\r\0",
    "../../etc",
    "ä" * 2_048,
    "",
]
QUERIES: dict[str, dict[str, Any]] = {"stream": {"name": "a"}, "insides": {"name": "a"}}


@pytest_asyncio.fixture
async def looked(tmp_path: Path) -> AsyncIterator[tuple[Scene, Visitor]]:
    async with scene(tmp_path / "state.db") as set_up:
        for n in range(40):
            await set_up.come(["a", "b"], [20.0 + n % 3, 5.0])
        async with visited(set_up.view) as visitor:
            yield set_up, visitor


async def spoken(visitor: Visitor, **query: Any) -> AsyncIterator[tuple[str, Any]]:
    """The live feed, event by event."""
    async with visitor.session.get(visitor.url + LIVE.path, params=query) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        for name, value in ALWAYS.items():
            assert answer.headers[name] == value
        kind = ""
        async for line in answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                yield kind, json.loads(value)


async def first(of: AsyncIterator[tuple[str, Any]], kind: str) -> Any:
    async with asyncio.timeout(20):
        async for found, told in of:
            if found == kind:
                return told
    raise AssertionError(f"no {kind} came")


@pytest.mark.parametrize("name", ENDPOINTS)
async def test_everything_is_read_with_get_and_nothing_else(looked: tuple[Scene, Visitor], name: str) -> None:
    _, visitor = looked
    path, query = ENDPOINTS[name].path, QUERIES.get(name, {})
    status, answer, headers = await visitor.ask(path, **query)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert answer
    for header, value in ALWAYS.items():
        assert headers[header.lower()] == value
    assert "access-control-allow-origin" not in headers
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        status, problem, headers = await visitor.ask(path, method, **query)
        assert (status, problem["error"]) == (405, "method not allowed")
        assert headers["allow"] == "GET,HEAD"
    assert (await visitor.ask(path, "HEAD", **query))[:2] == (200, b"")


@pytest.mark.parametrize("name", [*ENDPOINTS, "live"])
async def test_while_memory_is_restored_and_at_the_end_it_says_to_come_again(
    tmp_path: Path, name: str
) -> None:
    path = LIVE.path if name == "live" else ENDPOINTS[name].path
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come(["a"], [1.0])
        async with visited(None) as visitor:
            status, answer, headers = await visitor.ask(path, **QUERIES.get(name, {}))
            assert (status, answer["error"], headers["retry-after"]) == (503, "memory is being restored", "1")
            visitor.site.open(set_up.view)
            if name != "live":
                assert (await visitor.ask(path, **QUERIES.get(name, {})))[0] == 200
            await visitor.site.close()
            status, answer, headers = await visitor.ask(path, **QUERIES.get(name, {}))
            assert (status, answer["error"], headers["retry-after"]) == (503, "the service is stopping", "1")


@pytest.mark.parametrize(
    ("path", "query", "status", "parameter"),
    [
        ("/api/streams", {"sort": "size"}, 400, "sort"),
        ("/api/streams", {"limit": "501"}, 400, "limit"),
        ("/api/streams", {"offset": "-1"}, 400, "offset"),
        ("/api/streams", {"<b>": ""}, 400, "<b>"),
        ("/api/overview", {"a": "b"}, 400, "a"),
        ("/api/stream", {}, 400, "name"),
        ("/api/stream", {"name": "nobody"}, 404, "name"),
        ("/api/stream", {"name": "a", "events": "2001"}, 400, "events"),
        ("/api/stream/insides", {"name": "nobody"}, 404, "name"),
        ("/api/stream/insides", {"name": "a", "layer": "1"}, 400, "layer"),
        ("/api/stream/insides", {"name": "a", "layer": "9"}, 400, "layer"),
        ("/api/live", {"name": "a", "layer": "1"}, 400, "layer"),
        ("/api/live", {"nmae": "a"}, 400, "nmae"),
    ],
)
async def test_what_is_asked_wrongly_is_told_by_parameter(
    looked: tuple[Scene, Visitor], path: str, query: dict[str, str], status: int, parameter: str
) -> None:
    found, answer, headers = await looked[1].ask(path, **query)
    assert (found, answer["parameter"]) == (status, parameter)
    assert headers["content-type"].startswith("application/json")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_that_mean_harm_are_names(tmp_path: Path, name: str) -> None:
    async with scene(tmp_path / "state.db") as set_up, visited(set_up.view) as visitor:
        for path in ("/api/stream", "/api/stream/insides"):
            status, answer, _ = await visitor.ask(path, name=name)
            assert (status, answer["error"]) == (404, f"there is no stream {name[:200]!r}")
        assert (await visitor.told("/api/streams", search=name))["total"] == 0
        await set_up.come([name], [1.0])
        assert (await visitor.told("/api/stream", name=name))["name"] == name
        assert (await visitor.told("/api/stream/insides", name=name))["name"] == name
        await asyncio.sleep(0)
        of = spoken(visitor, name=name)
        assert (await first(of, "overview"))["streams"]["memory"] == 1


@pytest.mark.parametrize("raw", ["%ff", "%ed%a0%80", "%c3", "%00", "a&name=b", "%", "%zz", "+"])
async def test_queries_that_are_no_text_are_answered(looked: tuple[Scene, Visitor], raw: str) -> None:
    _, visitor = looked
    for path in ("/api/stream?name=", "/api/streams?search=", "/api/stream/insides?name=", "/api/overview?"):
        url = yarl.URL(visitor.url + path + raw, encoded=True)
        async with visitor.session.get(url) as answer:
            assert answer.status in (200, 400, 404)
            assert await answer.json()


async def test_an_overview_says_how_things_stand(looked: tuple[Scene, Visitor]) -> None:
    set_up, visitor = looked
    set_up.obstacles.append("the disk is full")
    told = await visitor.told("/api/overview")
    assert (told["version"], told["model"], told["events"]) == (__version__, MODEL.id, 80)
    assert (told["ready"], told["obstacles"]) == (False, ["the disk is full"])
    assert told["streams"]["memory"] == 2


async def test_a_list_is_ordered_as_its_order_says(looked: tuple[Scene, Visitor]) -> None:
    _, visitor = looked

    async def names(**query: str) -> list[str]:
        return [line["name"] for line in (await visitor.told("/api/streams", **query))["streams"]]

    assert await names(sort="name") == await names(sort="name", order="ascending") == ["a", "b"]
    assert await names(sort="name", order="descending") == ["b", "a"]
    assert await names(sort="events", search="B") == ["b"]
    assert await names(offset="1", sort="name") == ["b"]


async def test_alerts_are_told_newest_first(looked: tuple[Scene, Visitor]) -> None:
    set_up, visitor = looked
    assert (await visitor.told("/api/alerts")) == {"total": 0, "alerts": []}
    for n in range(60):
        await set_up.come(["a"], [20.0 + n % 3])
    published = []
    for value in (9_000.0, 20.0, 20.0, 9e9):
        published += await set_up.come(["a"], [value])
    told = await visitor.told("/api/alerts")
    alerts = [said for said in reversed(published) if said["alert"]]
    assert alerts
    assert told["total"] == len(alerts) == len(told["alerts"])
    for alert, said in zip(told["alerts"], alerts, strict=True):
        for name in ("seq", "time", "kind", "value", "expected"):
            assert alert[name] == said[name]
        assert (alert["name"], alert["anomaly"]) == ("a", round(said["anomaly"], 3))


async def test_what_was_refused_is_told_as_text_for_every_reason(looked: tuple[Scene, Visitor]) -> None:
    set_up, visitor = looked
    for reason in REASONS:
        set_up.refuse(reason, topic="<b>\u202e", payload=b"<script>\xff\x00\n" + b"x" * 5_000, detail="'\"&")
        set_up.refuse(reason, payload=reason.encode())
    told = await visitor.told("/api/rejected")
    assert told["total"] == 2 * len(REASONS)
    assert {found["reason"]: found["meaning"] for found in told["reasons"]} == REASONS
    for found in told["reasons"]:
        newest, oldest = found["examples"]
        assert (found["count"], newest["payload"]) == (2, found["reason"])
        assert oldest["payload"].startswith("<script>\\xff\x00\nxxx")
        assert oldest["payload_bytes"] == 5_011
        assert len(oldest["payload"]) <= 1_024 + 3
        assert (oldest["topic"], oldest["detail"]) == ("<b>\u202e", "'\"&")


@pytest.mark.parametrize("kind", ["far", "fixed", "classes", "stacked"])
async def test_the_model_tells_of_itself(kind: str, tmp_path: Path) -> None:
    model = random_model(**KINDS[kind])
    of = model.spec
    async with scene(tmp_path / "state.db", model=model) as set_up, visited(set_up.view) as visitor:
        told = await visitor.told("/api/model")
        assert told["id"] == model.id
        for name in (
            "name",
            "readout",
            "scaling",
            "features",
            "targets",
            "labels",
            "inputs",
            "layers",
            "units",
        ):
            assert told[name] == getattr(of, name), name
        assert (told["horizon"], told["source"]) == (of.horizon, "the default model inside")
        first_layer = 4 * (of.inputs_width * of.units + of.units**2 + of.units)
        others = (of.layers - 1) * 4 * (2 * of.units**2 + of.units)
        assert told["weights"] == first_layer + others + of.units * of.outputs + of.outputs
        assert told["memory_bytes_per_stream"] == set_up.memories.row_type.itemsize


async def test_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    async with (
        scene(
            tmp_path / "state.db",
            mqtt={"username": "u", "password": "SECRET-1"},
            http={"token": "SECRET-2", "username": "v", "password": "SECRET-3"},
        ) as set_up,
        visited(set_up.view) as visitor,
    ):
        told = await visitor.told("/api/settings")
        assert "SECRET" not in json.dumps(told)
        assert told["mqtt"]["password"] == told["http"]["token"] == told["http"]["password"] == "*" * 10
        assert told["limits"]["streams_max"] == 100_000


async def test_the_feed_tells_live(looked: tuple[Scene, Visitor]) -> None:
    set_up, visitor = looked
    of = spoken(visitor, name="a")
    assert (await first(of, "overview"))["viewers"] == 1
    feed = visitor.site._api.feed  # type: ignore[union-attr]
    await until(lambda: all(watch.after for watch in feed._watches.values()))
    (said,) = await set_up.come(["a"], [21.0])
    news = await first(of, "news")
    assert (news["after"], news["events"][0]["prediction"]) == (40, said["prediction"])
    assert len(news["insides"][0]["forget"]) == 64
    gone = spoken(visitor, name="nobody")
    assert (await first(gone, "gone"))["parameter"] == "name"
    await of.aclose()  # type: ignore[attr-defined]
    await gone.aclose()  # type: ignore[attr-defined]
    await until(lambda: feed.viewers == 0)
    await until(lambda: feed._ticking is not None and feed._ticking.done())


async def test_as_many_look_as_may_and_head_looks_at_nothing(tmp_path: Path) -> None:
    async with (
        scene(tmp_path / "state.db", http={"viewers_max": 1}) as set_up,
        visited(set_up.view) as visitor,
        visitor.session.get(visitor.url + LIVE.path) as looking,
    ):
        assert looking.status == 200
        status, answer, headers = await visitor.ask(LIVE.path)
        assert (status, headers["retry-after"]) == (503, "10")
        assert "http.viewers_max" in answer["error"]
        assert (await visitor.ask(LIVE.path, "HEAD"))[0] == 405


async def test_who_takes_nothing_loses_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "WRITE_SECONDS_MAX", 0.2)
    async with scene(tmp_path / "state.db") as set_up, visited(set_up.view) as visitor:
        _, writer = await asyncio.open_connection("127.0.0.1", visitor.server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /api/live HTTP/1.1\r\nHost: a\r\n\r\n")
        feed = visitor.site._api.feed  # type: ignore[union-attr]
        await until(lambda: feed.viewers == 1)
        (viewer,) = feed._viewers
        async with asyncio.timeout(20):
            while feed.viewers:
                viewer.tell("news", b"x" * 1_000_000)
                await asyncio.sleep(0.001)
        server = visitor.server._runner.server  # type: ignore[union-attr]
        assert server is not None
        await until(lambda: not server.connections)
        writer.transport.abort()


async def test_who_asks_too_much_waits_and_is_told_when_to_come_again(
    looked: tuple[Scene, Visitor],
) -> None:
    _, visitor = looked
    budget = visitor.site._api.budget  # type: ignore[union-attr]
    budget.spend(SAVED_SECONDS_MAX + 1.0)
    for path in ("/api/streams", "/api/overview", "/api/alerts", "/api/settings", LIVE.path):
        status, answer, headers = await visitor.ask(path)
        assert status == 503
        assert "too much is asked at once" in answer["error"]
        assert 10 < int(headers["retry-after"]) <= 21
    assert (await visitor.ask("/"))[0] == 200  # what lies there is given
    assert (await visitor.ask("/healthz"))[0] == 200


async def test_every_answer_is_paid_for(looked: tuple[Scene, Visitor]) -> None:
    _, visitor = looked
    budget = visitor.site._api.budget  # type: ignore[union-attr]
    for name, endpoint in ENDPOINTS.items():
        before = budget.spent
        await visitor.told(endpoint.path, **QUERIES.get(name, {}))
        assert budget.spent - before >= site_module.REQUEST_SECONDS


async def test_a_flood_of_questions_leaves_the_line_its_turns(looked: tuple[Scene, Visitor]) -> None:
    set_up, visitor = looked
    stop, status = asyncio.Event(), set()

    async def flood(n: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            found, _, _ = await visitor.ask("/api/streams", search=f"{n}-{count}")
            status.add(found)

    flooding = [asyncio.create_task(flood(n)) for n in range(60)]
    longest, end = 0.0, time.perf_counter() + 1.5
    while time.perf_counter() < end:
        begun = time.perf_counter()
        await set_up.come(["a"], [20.0])
        longest = max(longest, time.perf_counter() - begun)
    stop.set()
    await asyncio.gather(*flooding)
    assert longest < 2.0
    assert status <= {200, 503}


async def test_at_the_end_viewers_are_sent_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "TICK_SECONDS", 60.0)
    async with scene(tmp_path / "state.db") as set_up, visited(set_up.view) as visitor:
        await set_up.come(["a"], [1.0])
        ends = [asyncio.create_task(_drained(visitor)) for _ in range(20)]
        await until(lambda: visitor.site._api.feed.viewers == 20)  # type: ignore[union-attr]
        begun = time.perf_counter()
        await visitor.server.close()
        assert time.perf_counter() - begun < 1.5
        await asyncio.gather(*ends)


async def _drained(visitor: Visitor) -> None:
    async with aiohttp.ClientSession() as session, session.get(visitor.url + LIVE.path) as answer:
        async for _ in answer.content:
            pass


async def test_other_paths_say_what_there_is(looked: tuple[Scene, Visitor]) -> None:
    status, answer, _ = await looked[1].ask("/api/nothing")
    assert (status, answer["error"]) == (404, "not found")
    assert answer["see"] == ["/", "/api/openapi.json", "/metrics", "/healthz", "/readyz"]
    async with visited(looked[0].view, page=False) as visitor:
        for path in ("/", "/static/index.html", "/api/streams", "/api/live", "/api/openapi.json"):
            status, answer, _ = await visitor.ask(path)
            assert (status, answer["see"]) == (404, ["/metrics", "/healthz", "/readyz"])


async def test_numbers_that_are_not_are_null(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, visited(set_up.view) as visitor:
        for value in (1e100, -1e100, 1e100, 0.0):
            await set_up.come(["a"], [value])
        told = await visitor.told("/api/stream", name="a")
        assert [event["value"] for event in told["events"]] == [1e100, -1e100, 1e100, 0.0]
        assert all(np.isfinite(event["interval"]).all() for event in told["events"][1:])
