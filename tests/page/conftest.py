"""A service with a real mosquitto and sensors that publish continuously."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest
import pytest_asyncio

from tests.brokers import Mosquitto, free_port
from tests.service.running import Running

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
reconnect_seconds_min = 0.1
reconnect_seconds_max = 0.5
[[subscribe]]
topic = "sensors/#"
"""
SENSORS = 6
PAUSE_SECONDS = 0.05  # between two readings of each sensor


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto("max_queued_messages 0", "max_inflight_messages 0")


@pytest.fixture
def service(broker: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    settings = SETTINGS.format(port=broker.port)
    with Running(tmp_path / "service", settings, http=f"port = {free_port()}") as running:
        yield running


def reading(sensor: int, n: int) -> float:
    """A sine for each sensor, with its own period; sensor 0 also jumps now and then."""
    jump = 30.0 if sensor == 0 and n % 150 > 140 else 0.0
    return round(20.0 + sensor + 3.0 * math.sin(n / (6.0 + sensor)) + 0.1 * math.sin(n * 1.7) + jump, 3)


async def publish_readings(port: int, stop: asyncio.Event) -> None:
    """Publish until `stop` is set; Python 3.11's `wait_for`, in `publish`, may swallow a cancellation."""
    async with aiomqtt.Client("127.0.0.1", port, identifier="sensors") as client:
        for n in itertools.count():
            if stop.is_set():
                return
            for sensor in range(SENSORS):
                payload = {"time": 1.7e9 + 60.0 * n, "value": reading(sensor, n)}
                await client.publish(f"sensors/pump{sensor}", json.dumps(payload), qos=1)
            await asyncio.sleep(PAUSE_SECONDS if n > 40 else 0.0)


@pytest_asyncio.fixture
async def active_service(broker: Mosquitto, service: Running) -> AsyncIterator[Running]:
    """The service, with sensors that publish."""
    stop = asyncio.Event()
    publishing = asyncio.create_task(publish_readings(broker.port, stop))
    yield service
    stop.set()
    async with asyncio.timeout(20):
        await publishing
