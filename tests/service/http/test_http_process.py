"""The API of the service as a process, with a real mosquitto: answers match what is published; no secrets."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stream_lstm.events import REASONS
from stream_lstm.service.http.api import ENDPOINTS, LIVE
from tests.brokers import Mosquitto
from tests.service.end_to_end import UNLIMITED, client, subscribing
from tests.service.running import Running, until

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "plant/#"
stream = "{{topic}}"
time = ["t"]
fields = ["v"]
[limits]
payload_bytes_max = 4096
key_bytes_max = 4096
shutdown_seconds_max = 3.0
"""
NAMES = [
    "plant/<script>alert(1)</script>",
    "plant/\"quoted\" & 'so' &amp;",
    "plant/\u202etxt.exe\u202c\u2066",
    "plant/%2e%2e/%00?a=b&name=c",
    "plant/" + "ä" * 2_040,
]
BAD: dict[str, tuple[str, bytes]] = {
    "empty": ("plant/bad", b""),
    "too_large": ("plant/bad", b"<b>" * 2_000),
    "malformed": ("plant/bad", b"<script>alert(1)</script>\xff\x00"),
    "wrong_type": ("plant/bad", b'{"v": "<img src=x onerror=alert(1)>"}'),
    "missing_field": ("plant/bad", b'{"w": 1}'),
    "not_finite": ("plant/bad", b'{"v": NaN}'),
    "out_of_range": ("plant/bad", b'{"v": 1e200}'),
    "bad_time": ("plant/bad", b'{"v": 1, "t": 9e99}'),
    "bad_key": ("plant/" + "\u202e<b>" * 1_700, b'{"v": 1}'),  # 10 kB
}


def get(running: Running, path: str) -> Any:
    status, answer = running.get(path)
    assert status == 200, answer
    return json.loads(answer)


def total(running: Running, name: str = "predictions") -> int:
    return int(get(running, "/api/overview")[name])


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto(*UNLIMITED)


async def test_answers_and_live_news_match_the_published_predictions(
    broker: Mosquitto, tmp_path: Path
) -> None:
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        async with (
            client(broker) as publisher,
            subscribing(broker) as subscriber,
            aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session,
        ):
            news: list[dict[str, Any]] = []
            following = asyncio.create_task(_follow(session, NAMES[0], news))
            for n in range(40):
                for name in NAMES:
                    payload = json.dumps({"v": 20.0 + n % 5, "t": 1.7e9 + n})
                    await publisher.publish(name, payload, qos=1)
                await asyncio.sleep(0)
            await subscriber.complete(40 * len(NAMES))
            async with session.get("/api/streams", params={"sort": "name"}) as answer:
                page = await answer.json()
            assert [line["name"] for line in page["streams"]] == sorted(f"{name}:v" for name in NAMES)
            for name in NAMES:
                predictions = [
                    json.loads(payload) for payload in subscriber.predictions[f"{name}:v"].values()
                ]
                async with session.get("/api/stream", params={"name": f"{name}:v"}) as answer:
                    assert answer.status == 200
                    stream = await answer.json()
                for event, prediction in zip(stream["events"], predictions, strict=True):
                    for field in ("seq", "time", "value", "prediction", "interval", "kind"):
                        assert event[field] == prediction[field], field
                async with session.get("/api/stream/insides", params={"name": f"{name}:v"}) as answer:
                    insides = await answer.json()
                seqs = [inside["seq"] for inside in insides["events"]]  # from the last keyframe on
                assert seqs == list(range(41 - len(seqs), 41))
            async with asyncio.timeout(60):
                while not news or news[-1]["events"][-1]["seq"] < 40:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            following.cancel()
            published = {
                seq: json.loads(payload) for seq, payload in subscriber.predictions[f"{NAMES[0]}:v"].items()
            }
            for new in news:
                for event in new["events"]:
                    assert event["prediction"] == published[event["seq"]]["prediction"]
        assert running.stop() == 0


async def _follow(session: aiohttp.ClientSession, name: str, news: list[dict[str, Any]]) -> None:
    async with session.get(
        "/api/live", params={"name": f"{name}:v"}, timeout=aiohttp.ClientTimeout()
    ) as answer:
        kind = ""
        async for line in answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            kind = value if field == "event" else kind
            if field == "data" and kind == "news":
                news.append(json.loads(value))


async def test_rejected_messages_are_shown_as_short_text(broker: Mosquitto, tmp_path: Path) -> None:
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        async with client(broker) as publisher:
            for topic, payload in BAD.values():
                for _ in range(12):
                    await publisher.publish(topic, payload, qos=1)
        until(lambda: get(running, "/api/rejected")["total"] == 12 * len(BAD), running)
        _, answer = running.get("/api/rejected")
        assert len(answer) < len(REASONS) * 10 * 8_000
        for found in json.loads(answer)["reasons"]:
            if found["reason"] not in BAD:
                assert found["count"] == 0
                continue
            topic, payload = BAD[found["reason"]]
            assert (found["count"], len(found["examples"])) == (12, 10)
            for example in found["examples"]:
                assert topic.startswith(example["topic"])
                assert len(example["topic"]) <= 1_024
                assert example["payload_bytes"] == len(payload)
                shown = payload[:1_024].decode("utf-8", "backslashreplace")
                assert example["payload"] == shown
        assert running.stop() == 0


SECRETS = {
    "mqtt.password": "SECRET-of-the-broker",
    "http.token": "SECRET-token",
    "http.password": "SECRET-of-ada",
}


def get_with(running: Running, authorization: str, path: str) -> tuple[int, str]:
    """Request with the header Authorization."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.port}{path}", headers={"Authorization": authorization}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_secrets_are_in_no_answer_and_every_path_needs_one(broker: Mosquitto, tmp_path: Path) -> None:
    settings = SETTINGS.format(port=broker.port).replace(
        "[[subscribe]]", f'username = "u"\npassword = "{SECRETS["mqtt.password"]}"\n[[subscribe]]', 1
    )
    http = "\n".join(
        [
            "port = 0",
            f'token = "{SECRETS["http.token"]}"',
            'username = "ada"',
            f'password = "{SECRETS["http.password"]}"',
        ]
    )
    with Running(tmp_path / "service", settings, http=http) as running:
        accepted = [
            f"Bearer {SECRETS['http.token']}",
            basic("token", SECRETS["http.token"]),
            basic("ada", SECRETS["http.password"]),
        ]
        async with client(broker) as publisher:
            await publisher.publish("plant/a", b'{"v": 1}', qos=1)
            await publisher.publish("plant/a", b"no", qos=1)
        query = "?name=plant/a:v"
        until(lambda: get_with(running, accepted[0], f"/api/stream{query}")[0] == 200, running)
        paths = [e.path + (query if e.not_found else "") for e in ENDPOINTS.values()]
        paths += ["/", "/metrics", "/api/openapi.json"]
        for path in [*paths, "/api/live", "/static/app.js", "/nothing"]:
            assert running.get(path)[0] == 401
            assert get_with(running, "Bearer SECRET", path)[0] == 401
        for path in paths:
            for authorization in accepted:
                status, answer = get_with(running, authorization, path)
                assert (status, "SECRET" in answer) == (200, False), path
                assert base64.b64encode(b"SECRET")[:7].decode() not in answer
        assert running.get("/healthz")[0] == running.get("/readyz")[0] == 200
        assert running.stop() == 0
        assert "SECRET" not in running.log


@pytest.mark.parametrize(
    ("http", "status"),
    [("page = false", 404), ("recent_events_max = 0", 200)],
    ids=["no page", "no history"],
)
async def test_the_page_and_the_history_can_be_switched_off(
    broker: Mosquitto, tmp_path: Path, http: str, status: int
) -> None:
    with Running(
        tmp_path / "service", SETTINGS.format(port=broker.port), http=f"port = 0\n{http}"
    ) as running:
        async with client(broker) as publisher, subscribing(broker) as subscriber:
            for n in range(40):
                await publisher.publish("plant/a", json.dumps({"v": n}), qos=1)
            await publisher.publish("plant/a", b"no", qos=1)
            await subscriber.complete(40, 1)
        for path in ("/", "/static/app.js", "/api/streams", "/api/openapi.json", "/api/overview"):
            assert running.get(path)[0] == status
        assert running.metrics()["stream_lstm_predictions_published_total"] == 40
        if status == 200:
            stream = get(running, "/api/stream?name=plant/a:v")
            assert (stream["events_total"], stream["events"]) == (40, [])
            assert 0.0 <= stream["anomaly"] < 1.0  # of the last event: bookkeeping, no history
            assert get(running, "/api/stream/insides?name=plant/a:v")["events"] == []
            assert get(running, "/api/rejected")["total"] == 1
            assert total(running) == 40
        assert running.stop() == 0


async def test_dns_rebinding_is_rejected(broker: Mosquitto, tmp_path: Path) -> None:
    http = 'port = 0\nnames = ["plant.example"]'
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port), http=http) as running:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session:
            for host, status in [("evil.example", 421), ("plant.example", 200), ("localhost:8080", 200)]:
                async with session.get("/api/overview", headers={"Host": host}) as answer:
                    assert answer.status == status
        assert running.stop() == 0


@pytest.mark.parametrize("slow", [False, True], ids=["reading", "not reading"])
async def test_the_service_stops_in_time_with_twenty_viewers(
    broker: Mosquitto, tmp_path: Path, slow: bool
) -> None:
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        async with client(broker) as publisher, AsyncExitStack() as stack:
            await publisher.publish("plant/a", b'{"v": 1}', qos=1)
            for _ in range(20):
                if slow:
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
                    connection.sendall(b"GET /api/live?name=plant/a:v HTTP/1.1\r\nHost: localhost\r\n\r\n")
                else:
                    session = await stack.enter_async_context(aiohttp.ClientSession())
                    url = f"http://127.0.0.1:{running.port}{LIVE.path}?name=plant/a:v"
                    answer = await stack.enter_async_context(session.get(url))
                    assert answer.status == 200
            until(lambda: total(running, "viewers") == 20 and total(running) == 1, running)
            begun = time.monotonic()
            running.signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait) == 0
            assert time.monotonic() - begun < 3.0 + 2.0
        assert not [line for line in running.lines if line["level"] == "error"]
        running.start()  # a second time
        until(lambda: get(running, "/api/streams")["total"] == 1, running)
        assert get(running, "/api/stream?name=plant/a:v")["anomaly"] is None
        assert running.stop() == 0
