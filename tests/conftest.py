"""Fixtures that more than one room's tests need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto
from browsers import chromium
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

# How fast a shared machine is today must not decide whether a property holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts brokers: `mosquitto(*lines, persistent=False)`; all are killed after the test."""
    started: list[Mosquitto] = []

    def start(*lines: str, **options: bool) -> Mosquitto:
        folder = tmp_path / f"mosquitto-{len(started)}"
        folder.mkdir()
        started.append(Mosquitto(folder, *lines, **options))
        return started[-1].start()

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium, closed after the test; a test that needs it fails where there is none."""
    async with chromium() as started:
        yield started
