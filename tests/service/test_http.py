"""HTTP: metrics, alive, ready and why not; and an address that is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter

from stream_lstm.errors import SettingsError
from stream_lstm.service.http import HttpServer


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
