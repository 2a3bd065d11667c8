"""Settings and an independent MQTT client for end-to-end tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt

from tests.brokers import Mosquitto

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
client_id = "under-test"
reconnect_seconds_min = 0.1
reconnect_seconds_max = 0.5
[[subscribe]]
topic = "sensors/{{device}}/telemetry"
[[subscribe]]
topic = "home/#"
"""
UNLIMITED = ("max_queued_messages 0", "max_inflight_messages 0")


class Subscriber:
    """An independent client that collects predictions and rejections."""

    def __init__(self) -> None:
        self.predictions: dict[str, dict[int, bytes]] = {}  # by stream and seq
        self.copies = 0
        self.different = 0
        self.rejected: list[dict[str, Any]] = []

    def receive(self, topic: str, payload: bytes) -> None:
        prediction = json.loads(payload)
        if topic == "stream_lstm/rejected":
            self.rejected.append(prediction)
            return
        assert topic == f"predictions/{prediction['stream']}"
        of = self.predictions.setdefault(prediction["stream"], {})
        if prediction["seq"] in of:
            self.copies += 1
            self.different += of[prediction["seq"]] != payload
        of[prediction["seq"]] = payload

    @property
    def distinct(self) -> int:
        return sum(map(len, self.predictions.values()))

    def values(self, stream: str) -> list[float]:
        of = self.predictions[stream]
        assert sorted(of) == list(range(1, len(of) + 1))
        return [json.loads(of[seq])["value"] for seq in sorted(of)]

    async def complete(self, predictions: int, rejected: int = 0) -> None:
        async with asyncio.timeout(30):
            while self.distinct < predictions or len(self.rejected) < rejected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def client(broker: Mosquitto, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5, **options)


@asynccontextmanager
async def subscribing(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    async with client(broker) as receiver:
        await receiver.subscribe("predictions/#", qos=1)
        await receiver.subscribe("stream_lstm/rejected", qos=1)

        async def receive() -> None:
            async for message in receiver.messages:
                subscriber.receive(message.topic.value, bytes(message.payload))

        task = asyncio.create_task(receive())
        yield subscriber
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
