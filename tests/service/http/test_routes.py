"""The API over real HTTP: statuses, headers, the answer of each endpoint, and what clients may cost."""

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
from stream_lstm.service.http import live_feed, routes
from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.http.cpu_budget import SAVED_SECONDS_MAX
from stream_lstm.service.http.server import HEADERS
from tests.core.models import KINDS, random_model
from tests.service.http.harness import MODEL, Client, Harness, open_harness, serve, until

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
async def served(tmp_path: Path) -> AsyncIterator[tuple[Harness, Client]]:
    async with open_harness(tmp_path / "state.db") as harness:
        for n in range(40):
            await harness.apply(["a", "b"], [20.0 + n % 3, 5.0])
        async with serve(harness.context) as client:
            yield harness, client


async def live_messages(client: Client, **query: Any) -> AsyncIterator[tuple[str, Any]]:
    """Kind and data of each message of the live feed."""
    async with client.session.get(client.url + LIVE.path, params=query) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        for name, value in HEADERS.items():
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
        async for found, answer in of:
            if found == kind:
                return answer
    raise AssertionError(f"no {kind} came")


@pytest.mark.parametrize("name", ENDPOINTS)
async def test_every_endpoint_allows_get_and_head_only(served: tuple[Harness, Client], name: str) -> None:
    _, client = served
    path, query = ENDPOINTS[name].path, QUERIES.get(name, {})
    status, answer, headers = await client.request(path, **query)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert answer
    for header, value in HEADERS.items():
        assert headers[header.lower()] == value
    assert "access-control-allow-origin" not in headers
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        status, problem, headers = await client.request(path, method, **query)
        assert (status, problem["error"]) == (405, "method not allowed")
        assert headers["allow"] == "GET,HEAD"
    assert (await client.request(path, "HEAD", **query))[:2] == (200, b"")


@pytest.mark.parametrize("name", [*ENDPOINTS, "live"])
async def test_during_recovery_and_after_the_stop_every_endpoint_answers_503(
    tmp_path: Path, name: str
) -> None:
    path = LIVE.path if name == "live" else ENDPOINTS[name].path
    async with open_harness(tmp_path / "state.db") as harness:
        await harness.apply(["a"], [1.0])
        async with serve(None) as client:
            status, answer, headers = await client.request(path, **QUERIES.get(name, {}))
            assert (status, answer["error"], headers["retry-after"]) == (
                503,
                "memory is being recovered",
                "1",
            )
            client.routes.open(harness.context)
            if name != "live":
                assert (await client.request(path, **QUERIES.get(name, {})))[0] == 200
            await client.routes.close()
            status, answer, headers = await client.request(path, **QUERIES.get(name, {}))
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
        ("/api/stream", {"name": "unknown"}, 404, "name"),
        ("/api/stream", {"name": "a", "events": "2001"}, 400, "events"),
        ("/api/stream/insides", {"name": "unknown"}, 404, "name"),
        ("/api/stream/insides", {"name": "a", "layer": "1"}, 400, "layer"),
        ("/api/stream/insides", {"name": "a", "layer": "9"}, 400, "layer"),
        ("/api/live", {"name": "a", "layer": "1"}, 400, "layer"),
        ("/api/live", {"nmae": "a"}, 400, "nmae"),
    ],
)
async def test_an_error_names_the_wrong_parameter(
    served: tuple[Harness, Client], path: str, query: dict[str, str], status: int, parameter: str
) -> None:
    found, answer, headers = await served[1].request(path, **query)
    assert (found, answer["parameter"]) == (status, parameter)
    assert headers["content-type"].startswith("application/json")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_a_name_like_any_other(tmp_path: Path, name: str) -> None:
    async with open_harness(tmp_path / "state.db") as harness, serve(harness.context) as client:
        for path in ("/api/stream", "/api/stream/insides"):
            status, answer, _ = await client.request(path, name=name)
            assert (status, answer["error"]) == (404, f"stream {name[:200]!r} does not exist")
        assert (await client.get("/api/streams", search=name))["total"] == 0
        await harness.apply([name], [1.0])
        assert (await client.get("/api/stream", name=name))["name"] == name
        assert (await client.get("/api/stream/insides", name=name))["name"] == name
        await asyncio.sleep(0)
        messages = live_messages(client, name=name)
        assert (await first(messages, "overview"))["streams"]["memory"] == 1


@pytest.mark.parametrize("raw", ["%ff", "%ed%a0%80", "%c3", "%00", "a&name=b", "%", "%zz", "+"])
async def test_a_query_that_is_no_text_gets_an_answer(served: tuple[Harness, Client], raw: str) -> None:
    _, client = served
    for path in ("/api/stream?name=", "/api/streams?search=", "/api/stream/insides?name=", "/api/overview?"):
        url = yarl.URL(client.url + path + raw, encoded=True)
        async with client.session.get(url) as answer:
            assert answer.status in (200, 400, 404)
            assert await answer.json()


async def test_an_overview_has_version_model_and_obstacles(served: tuple[Harness, Client]) -> None:
    harness, client = served
    harness.obstacles.append("the disk is full")
    answer = await client.get("/api/overview")
    assert (answer["version"], answer["model"], answer["events"]) == (__version__, MODEL.id, 80)
    assert (answer["ready"], answer["obstacles"]) == (False, ["the disk is full"])
    assert answer["streams"]["memory"] == 2


async def test_a_list_is_sorted_as_its_parameters_say(served: tuple[Harness, Client]) -> None:
    _, client = served

    async def names(**query: str) -> list[str]:
        return [line["name"] for line in (await client.get("/api/streams", **query))["streams"]]

    assert await names(sort="name") == await names(sort="name", order="ascending") == ["a", "b"]
    assert await names(sort="name", order="descending") == ["b", "a"]
    assert await names(sort="events", search="B") == ["b"]
    assert await names(offset="1", sort="name") == ["b"]


async def test_alerts_are_those_published_newest_first(served: tuple[Harness, Client]) -> None:
    harness, client = served
    assert (await client.get("/api/alerts")) == {"total": 0, "alerts": []}
    for n in range(60):
        await harness.apply(["a"], [20.0 + n % 3])
    published = []
    for value in (9_000.0, 20.0, 20.0, 9e9):
        published += await harness.apply(["a"], [value])
    answer = await client.get("/api/alerts")
    alerts = [prediction for prediction in reversed(published) if prediction["alert"]]
    assert alerts
    assert answer["total"] == len(alerts) == len(answer["alerts"])
    for alert, prediction in zip(answer["alerts"], alerts, strict=True):
        for name in ("seq", "time", "kind", "value", "expected"):
            assert alert[name] == prediction[name]
        assert (alert["name"], alert["anomaly"]) == ("a", round(prediction["anomaly"], 3))


async def test_rejected_messages_are_shown_as_text_for_every_reason(served: tuple[Harness, Client]) -> None:
    harness, client = served
    for reason in REASONS:
        harness.reject(reason, topic="<b>\u202e", payload=b"<script>\xff\x00\n" + b"x" * 5_000, detail="'\"&")
        harness.reject(reason, payload=reason.encode())
    answer = await client.get("/api/rejected")
    assert answer["total"] == 2 * len(REASONS)
    assert {found["reason"]: found["meaning"] for found in answer["reasons"]} == REASONS
    for found in answer["reasons"]:
        newest, oldest = found["examples"]
        assert (found["count"], newest["payload"]) == (2, found["reason"])
        assert oldest["payload"].startswith("<script>\\xff\x00\nxxx")
        assert oldest["payload_bytes"] == 5_011
        assert len(oldest["payload"]) <= 1_024 + 3
        assert (oldest["topic"], oldest["detail"]) == ("<b>\u202e", "'\"&")


@pytest.mark.parametrize("kind", ["far", "fixed", "classes", "stacked"])
async def test_the_model_is_described(kind: str, tmp_path: Path) -> None:
    model = random_model(**KINDS[kind])
    spec = model.spec
    async with open_harness(tmp_path / "state.db", model=model) as harness, serve(harness.context) as client:
        answer = await client.get("/api/model")
        assert answer["id"] == model.id
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
            assert answer[name] == getattr(spec, name), name
        assert (answer["horizon"], answer["source"]) == (spec.horizon, "the built-in default model")
        first_layer = 4 * (spec.inputs_width * spec.units + spec.units**2 + spec.units)
        others = (spec.layers - 1) * 4 * (2 * spec.units**2 + spec.units)
        assert answer["weights"] == first_layer + others + spec.units * spec.outputs + spec.outputs
        assert answer["memory_bytes_per_stream"] == harness.memories.record_bytes


async def test_secrets_in_the_settings_are_masked(tmp_path: Path) -> None:
    async with (
        open_harness(
            tmp_path / "state.db",
            mqtt={"username": "u", "password": "SECRET-1"},
            http={"token": "SECRET-2", "username": "v", "password": "SECRET-3"},
        ) as harness,
        serve(harness.context) as client,
    ):
        answer = await client.get("/api/settings")
        assert "SECRET" not in json.dumps(answer)
        assert answer["mqtt"]["password"] == answer["http"]["token"] == answer["http"]["password"] == "*" * 10
        assert answer["limits"]["streams_max"] == 100_000


async def test_the_live_feed_sends_news_of_a_stream(served: tuple[Harness, Client]) -> None:
    harness, client = served
    messages = live_messages(client, name="a")
    assert (await first(messages, "overview"))["viewers"] == 1
    feed = client.api.feed
    await until(lambda: all(watch.after for watch in feed._watches.values()))
    (prediction,) = await harness.apply(["a"], [21.0])
    news = await first(messages, "news")
    assert (news["after"], news["events"][0]["prediction"]) == (40, prediction["prediction"])
    assert len(news["insides"][0]["forget"]) == 64
    gone = live_messages(client, name="unknown")
    assert (await first(gone, "gone"))["parameter"] == "name"
    await messages.aclose()  # type: ignore[attr-defined]
    await gone.aclose()  # type: ignore[attr-defined]
    await until(lambda: feed.viewers == 0)
    await until(lambda: feed._ticking is not None and feed._ticking.done())


async def test_the_live_feed_limits_its_viewers_and_allows_no_head(tmp_path: Path) -> None:
    async with (
        open_harness(tmp_path / "state.db", http={"viewers_max": 1}) as harness,
        serve(harness.context) as client,
        client.session.get(client.url + LIVE.path) as live,
    ):
        assert live.status == 200
        status, answer, headers = await client.request(LIVE.path)
        assert (status, headers["retry-after"]) == (503, "10")
        assert "http.viewers_max" in answer["error"]
        assert (await client.request(LIVE.path, "HEAD"))[0] == 405


async def test_a_viewer_that_reads_nothing_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "WRITE_SECONDS_MAX", 0.2)
    async with open_harness(tmp_path / "state.db") as harness, serve(harness.context) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /api/live HTTP/1.1\r\nHost: a\r\n\r\n")
        feed = client.api.feed
        await until(lambda: feed.viewers == 1)
        (viewer,) = feed._viewers
        async with asyncio.timeout(20):
            while feed.viewers:
                viewer.send("news", b"x" * 1_000_000)
                await asyncio.sleep(0.001)
        server = client.server._runner.server  # type: ignore[union-attr]
        assert server is not None
        await until(lambda: not server.connections)
        writer.transport.abort()


async def test_an_overdrawn_budget_answers_503_with_the_time_to_retry(
    served: tuple[Harness, Client],
) -> None:
    _, client = served
    budget = client.api.budget
    budget.spend(SAVED_SECONDS_MAX + 1.0)
    for path in ("/api/streams", "/api/overview", "/api/alerts", "/api/settings", LIVE.path):
        status, answer, headers = await client.request(path)
        assert status == 503
        assert "CPU budget is used up" in answer["error"]
        assert 10 < int(headers["retry-after"]) <= 21
    assert (await client.request("/"))[0] == 200  # files and health checks cost next to nothing
    assert (await client.request("/healthz"))[0] == 200


async def test_every_answer_is_charged(served: tuple[Harness, Client]) -> None:
    _, client = served
    budget = client.api.budget
    for name, endpoint in ENDPOINTS.items():
        before = budget.spent
        await client.get(endpoint.path, **QUERIES.get(name, {}))
        assert budget.spent - before >= routes.REQUEST_SECONDS


async def test_the_pipeline_runs_during_a_flood_of_requests(served: tuple[Harness, Client]) -> None:
    harness, client = served
    stop, status = asyncio.Event(), set()

    async def flood(n: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            found, _, _ = await client.request("/api/streams", search=f"{n}-{count}")
            status.add(found)

    flooding = [asyncio.create_task(flood(n)) for n in range(60)]
    longest, end = 0.0, time.perf_counter() + 1.5
    while time.perf_counter() < end:
        begun = time.perf_counter()
        await harness.apply(["a"], [20.0])
        longest = max(longest, time.perf_counter() - begun)
    stop.set()
    await asyncio.gather(*flooding)
    assert longest < 2.0
    assert status <= {200, 503}


async def test_the_stop_disconnects_viewers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "TICK_SECONDS", 60.0)
    async with open_harness(tmp_path / "state.db") as harness, serve(harness.context) as client:
        await harness.apply(["a"], [1.0])
        ends = [asyncio.create_task(_drained(client)) for _ in range(20)]
        await until(lambda: client.api.feed.viewers == 20)
        begun = time.perf_counter()
        await client.server.close()
        assert time.perf_counter() - begun < 1.5
        await asyncio.gather(*ends)


async def _drained(client: Client) -> None:
    async with aiohttp.ClientSession() as session, session.get(client.url + LIVE.path) as answer:
        async for _ in answer.content:
            pass


async def test_an_unknown_path_answers_404_with_the_known_ones(served: tuple[Harness, Client]) -> None:
    status, answer, _ = await served[1].request("/api/nothing")
    assert (status, answer["error"]) == (404, "not found")
    assert answer["see"] == ["/", "/api/openapi.json", "/metrics", "/healthz", "/readyz"]
    async with serve(served[0].context, page=False) as client:
        for path in ("/", "/static/index.html", "/api/streams", "/api/live", "/api/openapi.json"):
            status, answer, _ = await client.request(path)
            assert (status, answer["see"]) == (404, ["/metrics", "/healthz", "/readyz"])


async def test_extreme_values_are_finite_in_json(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, serve(harness.context) as client:
        for value in (1e100, -1e100, 1e100, 0.0):
            await harness.apply(["a"], [value])
        answer = await client.get("/api/stream", name="a")
        assert [event["value"] for event in answer["events"]] == [1e100, -1e100, 1e100, 0.0]
        assert all(np.isfinite(event["interval"]).all() for event in answer["events"][1:])
