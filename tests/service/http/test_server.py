"""The HTTP server: metrics, health checks, authentication, allowed hosts, and limits on connections."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
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
from stream_lstm.service.http.server import HEADERS, HttpServer
from stream_lstm.service.settings import HttpSettings
from tests.service.http.harness import serve, until


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[str, list[str]]]:
    registry, obstacles = CollectorRegistry(), ["the disk is full"]
    Counter("seen", "Things.", registry=registry).inc()
    server = HttpServer(registry, lambda: obstacles)
    await server.start("127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.port}", obstacles
    await server.close()
    await server.close()  # the second time changes nothing


async def fetch(url: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.text()


async def test_metrics_are_served(served: tuple[str, list[str]]) -> None:
    status, text = await fetch(served[0] + "/metrics")
    assert status == 200
    assert "seen_total 1.0" in text


async def test_a_service_that_is_not_ready_is_alive(served: tuple[str, list[str]]) -> None:
    assert (await fetch(served[0] + "/healthz"))[0] == 200


async def test_readyz_answers_503_and_the_obstacles(served: tuple[str, list[str]]) -> None:
    status, text = await fetch(served[0] + "/readyz")
    assert status == 503
    assert "the disk is full" in text
    served[1].clear()
    assert (await fetch(served[0] + "/readyz"))[0] == 200


async def test_other_methods_and_paths_are_errors(served: tuple[str, list[str]]) -> None:
    assert (await fetch(served[0] + "/metrics", "POST"))[0] == 405
    assert (await fetch(served[0] + "/nothing"))[0] == 404


async def test_an_address_in_use_is_a_settings_error(served: tuple[str, list[str]]) -> None:
    port = int(served[0].rsplit(":", 1)[1])
    server = HttpServer(CollectorRegistry(), list)
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
        await server.start("127.0.0.1", port)


async def exchange(port: int, sent: bytes) -> bytes:
    """Everything that comes back over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(10):
        found = await reader.read()
    writer.close()
    return found


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


PATHS = ("/metrics", "/", "/api/streams", "/api/live", "/api/openapi.json", "/nothing", "//", "/healthz/")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SETTINGS = HttpSettings(token="to/ken", username="jürgen", password="päss:word")


@pytest.mark.parametrize(
    "given", ["Bearer to/ken", "bearer to/ken", basic("token", "to/ken"), basic("jürgen", "päss:word")]
)
async def test_a_token_or_a_password_authenticates(given: str) -> None:
    async with serve(None, credentials=SETTINGS.credentials()) as client:
        assert (await client.request("/metrics", headers={"Authorization": given}))[0] == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "to/ken",
        "Bearer",
        "Bearer to/ke",
        basic("", "to/ken"),
        basic("token", ""),
        basic("jürgen", "to/ken"),
        basic("token", "päss:word"),
        "Basic !!!",
    ],
)
async def test_without_credentials_only_health_checks_are_answered(given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with serve(None, credentials=SETTINGS.credentials()) as client:
        for path in PATHS:
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                status, answer, found = await client.request(path, method, headers=headers)
                assert status == 401
                assert found["www-authenticate"] == (
                    'Bearer realm="stream-lstm"\nBasic realm="stream-lstm", charset="UTF-8"'
                )
                assert method == "HEAD" or set(answer) == {"error"}
        for path in ("/healthz", "/readyz"):
            assert (await client.request(path, headers=headers))[0] == 200


async def test_a_token_that_is_no_text_does_not_authenticate() -> None:
    async with serve(None, credentials=SETTINGS.credentials()) as client:
        for more in (b"\xff", b"\xc3", b"\xed\xb3\xbf"):
            sent = b"GET /metrics HTTP/1.0\r\nAuthorization: Bearer to/ken" + more + b"\r\n\r\n"
            assert b"401 Unauthorized" in await exchange(client.server.port, sent)


async def test_a_request_that_names_another_host_is_rejected() -> None:
    async with serve(None, hosts=AllowedHosts(["plant.example"])) as client:
        for host, status in [("evil.example", 421), ("plant.example", 200), ("localhost:1", 200), ("", 421)]:
            found, answer, _ = await client.request("/metrics", headers={"Host": host})
            assert found == status, host
            assert status == 200 or "http.names" in answer["error"]
            assert (await client.request("/healthz", headers={"Host": host}))[0] == 200
        assert b"200 OK" in await exchange(client.server.port, b"GET /metrics HTTP/1.0\r\n\r\n")
    async with serve(None) as client:
        assert (await client.request("/metrics", headers={"Host": "evil.example"}))[0] == 200


async def test_security_headers_are_on_every_response() -> None:
    async with serve(None, credentials=["Bearer t"], hosts=AllowedHosts([])) as client:
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
            found, _, response_headers = await client.request(path, method, headers=headers)
            assert found == status
            for name, value in HEADERS.items():
                assert response_headers[name.lower()] == value, (path, status)


async def test_an_internal_error_is_logged_once_and_hides_its_cause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bytes:
        raise RuntimeError("a secret")

    monkeypatch.setattr(http_server.exporter, "page", fail)
    async with serve(None) as client:
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                status, answer, headers = await client.request("/metrics")
                assert (status, answer) == (500, {"error": "internal error; see the log of the service"})
                assert headers["x-content-type-options"] == "nosniff"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
    ],
)
async def test_a_request_that_is_no_http_is_answered_400_and_not_logged(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(None) as client:
        assert (await exchange(client.server.port, sent)).startswith(b"HTTP/1.0 400 Bad Request")
        assert (await client.request("/healthz"))[0] == 200
    assert not caplog.records  # clients could fill the log


async def test_a_connection_is_closed_when_it_is_idle_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_SECONDS_MAX", 0.1)
    async with serve(None) as client:
        found = await exchange(client.server.port, HEALTH)  # returns when the server closes
        assert found.startswith(b"HTTP/1.1 200 OK")


async def test_a_client_that_reads_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STALL_SECONDS_MAX", 0.5)
    monkeypatch.setattr(http_server.exporter, "page", lambda _: b"x" * 50_000_000)
    async with serve(None) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.server.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        server = client.server._runner.server  # type: ignore[union-attr]
        assert server is not None
        await until(lambda: server.connections)
        await until(lambda: not server.connections, 30.0)
        writer.transport.abort()


async def test_pipelined_requests_are_answered_in_order() -> None:
    sent = HEALTH * 3_000
    sent += b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with serve(None) as client:
        assert (await exchange(client.server.port, sent)).count(b"200 OK") == 3_001


async def test_a_server_can_start_after_it_could_not_listen(tmp_path: Path) -> None:
    async with serve(None) as client:
        server = HttpServer(CollectorRegistry(), list)
        with pytest.raises(SettingsError, match="cannot listen"):
            await server.start("127.0.0.1", client.server.port)
        await server.start("127.0.0.1", 0)
        await server.close()


async def test_scrapes_at_once_get_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def page(_: CollectorRegistry) -> bytes:
        made.append(b"%d" % len(made))
        time.sleep(0.05)
        return made[-1]

    monkeypatch.setattr(http_server.exporter, "page", page)
    async with serve(None) as client:
        for _ in range(3):
            assert (await client.request("/metrics"))[1] == b"0"
        await asyncio.sleep(0.2)
        assert (await client.request("/metrics"))[1] == b"1"
