"""Fixtures for tests of the MQTT client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def deadline() -> AsyncIterator[None]:
    """Fail a test that takes longer than 30 seconds."""
    async with asyncio.timeout(30):
        yield
