"""Fixtures shared by the tests of several packages."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from tests.brokers import Mosquitto
from tests.browsers import chromium

# How fast a shared machine is today must not decide whether a property holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_connections: list[sqlite3.Connection] = []


def _note_connection(event: str, about: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect/handle":
        _connections.append(about[0])


sys.addaudithook(_note_connection)


@pytest.fixture(autouse=True)
def _no_database_is_left_open() -> Iterator[None]:
    """Python 3.13 complains of one whenever the garbage collector finds it: in some later test."""
    _connections.clear()
    yield
    left = []
    for connection in _connections:
        with suppress(sqlite3.ProgrammingError):  # it is closed
            if connection.in_transaction in (True, False):
                left.append(connection)
                connection.close()
    _connections.clear()
    assert not left, "databases are left open"


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
