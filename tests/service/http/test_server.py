"""HTTP: metrics, alive, ready and why not; who is let in, and what connections may cost."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter

from stream_lstm.errors import SettingsError
from stream_lstm.service.allowed_hosts import AllowedHosts
from stream_lstm.service.http import server as http_server
from stream_lstm.service.http.server import ALWAYS, HttpServer
from stream_lstm.service.settings import HttpSettings
from tests.service.http.scene import until, visited


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[str, list[str]]]:
    registry, obstacles = CollectorRegistry(), ["the disk is full"]
    Counter("seen", "Things.", registry=registry).inc()
    server = HttpServer(registry, lambda: obstacles)
    await server.start("127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.port}", obstacles
    await server.close()
    await server.close()  # a second time does nothing


async def fetch(url: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.text()


async def test_metrics_are_served(served: tuple[str, list[str]]) -> None:
    status, text = await fetch(served[0] + "/metrics")
    assert status == 200
    assert "seen_total 1.0" in text


async def test_alive_even_when_not_ready(served: tuple[str, list[str]]) -> None:
    assert (await fetch(served[0] + "/healthz"))[0] == 200


async def test_not_ready_says_why(served: tuple[str, list[str]]) -> None:
    status, text = await fetch(served[0] + "/readyz")
    assert status == 503
    assert "the disk is full" in text
    served[1].clear()
    assert (await fetch(served[0] + "/readyz"))[0] == 200


async def test_only_reading_is_allowed(served: tuple[str, list[str]]) -> None:
    assert (await fetch(served[0] + "/metrics", "POST"))[0] == 405
    assert (await fetch(served[0] + "/nothing"))[0] == 404


async def test_a_taken_address_is_the_operators_to_change(served: tuple[str, list[str]]) -> None:
    port = int(served[0].rsplit(":", 1)[1])
    server = HttpServer(CollectorRegistry(), list)
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
        await server.start("127.0.0.1", port)


async def talk(port: int, said: bytes) -> bytes:
    """All that comes back over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    async with asyncio.timeout(10):
        found = await reader.read()
    writer.close()
    return found


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


PATHS = ("/metrics", "/", "/api/streams", "/api/live", "/api/openapi.json", "/nothing", "//", "/healthz/")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SETTINGS = HttpSettings(token="to/ken", username="jürgen", password="päss:word")


@pytest.mark.parametrize("given", ["Bearer to/ken", basic("token", "to/ken"), basic("jürgen", "päss:word")])
async def test_who_knows_token_or_password_is_let_in(given: str) -> None:
    async with visited(None, credentials=SETTINGS.credentials()) as visitor:
        assert (await visitor.ask("/metrics", headers={"Authorization": given}))[0] == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "to/ken",
        "Bearer",
        "Bearer to/ke",
        "bearer to/ken",
        basic("", "to/ken"),
        basic("token", ""),
        basic("jürgen", "to/ken"),
        basic("token", "päss:word"),
        "Basic !!!",
    ],
)
async def test_others_get_health_and_nothing_else(given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with visited(None, credentials=SETTINGS.credentials()) as visitor:
        for path in PATHS:
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                status, answer, found = await visitor.ask(path, method, headers=headers)
                assert status == 401
                assert found["www-authenticate"] == (
                    'Bearer realm="stream-lstm"\nBasic realm="stream-lstm", charset="UTF-8"'
                )
                assert method == "HEAD" or set(answer) == {"error"}
        for path in ("/healthz", "/readyz"):
            assert (await visitor.ask(path, headers=headers))[0] == 200


async def test_a_token_with_bytes_that_are_no_text_is_not_ours() -> None:
    async with visited(None, credentials=SETTINGS.credentials()) as visitor:
        for more in (b"\xff", b"\xc3", b"\xed\xb3\xbf"):
            said = b"GET /metrics HTTP/1.0\r\nAuthorization: Bearer to/ken" + more + b"\r\n\r\n"
            assert b"401 Unauthorized" in await talk(visitor.server.port, said)


async def test_where_names_matter_others_are_refused() -> None:
    async with visited(None, hosts=AllowedHosts(["plant.example"])) as visitor:
        for host, status in [("evil.example", 421), ("plant.example", 200), ("localhost:1", 200), ("", 421)]:
            found, answer, _ = await visitor.ask("/metrics", headers={"Host": host})
            assert found == status, host
            assert status == 200 or "http.names" in answer["error"]
            assert (await visitor.ask("/healthz", headers={"Host": host}))[0] == 200
        assert b"200 OK" in await talk(visitor.server.port, b"GET /metrics HTTP/1.0\r\n\r\n")
    async with visited(None) as visitor:
        assert (await visitor.ask("/metrics", headers={"Host": "evil.example"}))[0] == 200


async def test_headers_are_on_every_answer() -> None:
    async with visited(None, credentials=["Bearer t"], hosts=AllowedHosts([])) as visitor:
        known = {"Authorization": "Bearer t"}
        for path, method, headers, status in [
            ("/metrics", "GET", known, 200),
            ("/metrics", "HEAD", known, 200),
            ("/metrics", "GET", {}, 401),
            ("/nothing", "GET", known, 404),
            ("/metrics", "DELETE", known, 405),
            ("/metrics", "GET", {"Host": "evil.example"}, 421),
            ("/healthz", "GET", {}, 200),
        ]:
            found, _, told = await visitor.ask(path, method, headers=headers)
            assert found == status
            for name, value in ALWAYS.items():
                assert told[name.lower()] == value, (path, status)


async def test_what_goes_wrong_is_told_without_saying_how(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: Any) -> bytes:
        raise RuntimeError("a secret")

    monkeypatch.setattr(http_server.exporter, "page", stumble)
    async with visited(None) as visitor:
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                status, answer, headers = await visitor.ask("/metrics")
                assert (status, answer) == (500, {"error": "something is wrong here; the log says what"})
                assert headers["x-content-type-options"] == "nosniff"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_an_error_and_the_door(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with visited(None) as visitor:
        assert (await talk(visitor.server.port, said)).startswith(b"HTTP/1.0 400 Bad Request")
        assert (await visitor.ask("/healthz"))[0] == 200
    assert not caplog.records  # or whoever likes could fill the log


async def test_only_so_many_are_let_in_at_once() -> None:
    async with visited(None, connections_max=3) as visitor:
        port = visitor.server.port
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await talk(port, b"") == b""
        _, writer = idle.pop()
        writer.close()
        said = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        async with asyncio.timeout(10):
            while b"alive" not in await talk(port, said):
                pass
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost:", HEALTH])
async def test_who_says_nothing_whole_for_long_is_let_go(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "IDLE_SECONDS_MAX", 0.1)
    async with visited(None) as visitor:
        found = await talk(visitor.server.port, said)  # returns when the other side closes
        assert found == b"" or found.startswith(b"HTTP/1.1 200 OK")


async def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "TAKEN_SECONDS_MAX", 0.5)
    monkeypatch.setattr(http_server.exporter, "page", lambda _: b"x" * 50_000_000)
    async with visited(None) as visitor:
        _, writer = await asyncio.open_connection("127.0.0.1", visitor.server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        server = visitor.server._runner.server  # type: ignore[union-attr]
        assert server is not None
        await until(lambda: server.connections)
        await until(lambda: not server.connections, 30.0)
        writer.transport.abort()


async def test_who_asks_much_without_waiting_for_answers_gets_them_in_order() -> None:
    said = HEALTH * 3_000
    said += b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with visited(None) as visitor:
        assert (await talk(visitor.server.port, said)).count(b"200 OK") == 3_001


async def test_a_server_that_could_not_listen_leaves_nothing_behind(tmp_path: Path) -> None:
    async with visited(None) as visitor:
        server = HttpServer(CollectorRegistry(), list)
        with pytest.raises(SettingsError, match="cannot listen"):
            await server.start("127.0.0.1", visitor.server.port)
        await server.start("127.0.0.1", 0)
        await server.close()
