"""Harnesses of the contract suite: each implementation of `Broker`, against a broker that the test controls.

The broker keeps the session over connections, and confirms nothing until `confirm_all`.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random
from typing import Any

from mqtt5 import PingReqPacket, PingRespPacket, PubAckPacket, PublishPacket

from stream_lstm.service.broker import Arrival, Broker, Publication
from tests.service.mqtt.peers import Q1, ScriptedServer, options, running, until
from tests.service.scripted import ScriptedBroker, SentMessage
from tests.sim.broker import SimBroker, SimBrokerClient

TOPIC = "sensors/a"
ACKNOWLEDGED = "acknowledged"  # in place of a topic


class Harness(ABC):
    """One implementation and its broker.

    Attributes:
        broker: the implementation.
    """

    broker: Broker

    @property
    @abstractmethod
    def read(self) -> list[Publication]:
        """All that the broker has read, in order; an acknowledgement is `ACKNOWLEDGED` and a payload."""

    @abstractmethod
    async def feed(self, *payloads: bytes) -> None:
        """Send messages of QoS 1 from the broker; returns after their arrival, if there is a connection."""

    @abstractmethod
    async def disconnect(self) -> None:
        """End the connection, and allow no other until `connect`."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect again; the broker has kept the session."""

    @abstractmethod
    async def confirm_all(self) -> None:
        """Confirm everything that was delivered so far."""

    async def reconnect(self) -> None:
        """End the connection and begin the next one."""
        await self.disconnect()
        await self.connect()

    async def until_read(self, count: int) -> list[Publication]:
        """Wait until the broker has read this many items; returns all that it has read."""
        await until(lambda: len(self.read) >= count)
        return self.read

    async def take(self, count: int) -> list[Arrival]:
        """Receive at least this many messages."""
        arrivals: list[Arrival] = []
        while sum(len(arrival.packets) for arrival in arrivals) < count:
            arrivals += await asyncio.wait_for(self.broker.receive(100, lambda: 1), 10)
        return arrivals


class ScriptedHarness(Harness):
    """`ScriptedBroker`, which is implementation and broker in one."""

    def __init__(self) -> None:
        self.broker: ScriptedBroker = ScriptedBroker(hasty=False, confirms=False)

    @property
    def read(self) -> list[Publication]:
        return [_item(item) for item in self.broker.read]

    async def feed(self, *payloads: bytes) -> None:
        self.broker.feed(*(SentMessage(TOPIC, payload) for payload in payloads))

    async def disconnect(self) -> None:
        self.broker.disconnect()

    async def connect(self) -> None:
        self.broker.connect()

    async def confirm_all(self) -> None:
        self.broker.confirm_all()


class Certain(Random):
    """Draws for a simulator without faults: no delay, no cut, every draw from a range its upper end."""

    def random(self) -> float:
        return 0.99

    def randint(self, a: int, b: int) -> int:
        return b

    def expovariate(self, lambd: float = 1.0) -> float:
        return 0.0


class SimHarness(Harness):
    """`SimBrokerClient` and `SimBroker`."""

    def __init__(self) -> None:
        self._broker = SimBroker(Certain(), Counter(), [])
        self.broker: SimBrokerClient = SimBrokerClient(self._broker, cut_share=0.0, resume=0, acked_through=0)
        self.broker.held = []

    @property
    def read(self) -> list[Publication]:
        return [_item(item) for item in self._broker.read]

    async def feed(self, *payloads: bytes) -> None:
        self._broker.waiting.extend(SentMessage(TOPIC, payload) for payload in payloads)
        if not math.isnan(self.broker.connected_since):
            self.broker.read(len(payloads))

    async def disconnect(self) -> None:
        self.broker.disconnect()

    async def connect(self) -> None:
        self.broker.connect()
        self.broker.read(100)

    async def confirm_all(self) -> None:
        held, self.broker.held = self.broker.held or [], []
        for confirm in held:
            confirm()


class MqttHarness(Harness):
    """`MqttClient`, over TCP to a scripted MQTT server."""

    def __init__(self, server: ScriptedServer, client: Any) -> None:
        self.broker = self._client = client
        self._server = server
        self._open = asyncio.Event()
        self._peer: Any = None
        self._session_present = False
        self._packet_id = 0
        self._unacknowledged: dict[int, bytes] = {}  # by packet id
        self._held: list[Any] | None = []  # answers; None: they are sent at once
        self._read: list[Publication] = []

    @property
    def read(self) -> list[Publication]:
        return self._read

    async def serve(self) -> None:
        """Serve the client's connections, one after the other."""
        while True:
            peer = await self._server.peer()
            await self._open.wait()
            await peer.welcome(session_present=self._session_present)
            self._session_present, self._peer = True, peer
            self._send(self._unacknowledged, duplicate=True)
            while (packet := await peer.packet()) is not None:
                self._handle(packet)

    def _send(self, messages: dict[int, bytes], *, duplicate: bool) -> None:
        for packet_id, payload in messages.items():
            packet = PublishPacket(TOPIC, payload, qos=Q1, packet_id=packet_id, duplicate=duplicate)
            self._peer.send(packet)

    def _handle(self, packet: Any) -> None:
        answer: Any = None
        if isinstance(packet, PublishPacket):
            self._read.append((packet.topic, packet.payload))
            answer = PubAckPacket(packet.packet_id) if packet.packet_id else None
        elif isinstance(packet, PubAckPacket):
            self._read.append((ACKNOWLEDGED, self._unacknowledged.pop(packet.packet_id)))
        elif isinstance(packet, PingReqPacket):
            answer = PingRespPacket()
        if answer and self._held is not None:
            self._held.append(answer)
        elif answer:
            self._peer.send(answer)

    async def _until_arrived(self, total: int) -> None:
        await until(lambda: self._client.connected and self._client.stats.messages_total >= total)

    async def feed(self, *payloads: bytes) -> None:
        messages = dict(enumerate(payloads, self._packet_id + 1))
        self._packet_id += len(messages)
        self._unacknowledged |= messages
        if self._client.connected:
            total = self._client.stats.messages_total + len(messages)
            self._send(messages, duplicate=False)
            await self._until_arrived(total)

    async def disconnect(self) -> None:
        self._open.clear()
        self._peer.reset()
        self._held = []
        await until(lambda: not self._client.connected)

    async def connect(self) -> None:
        total = self._client.stats.messages_total + len(self._unacknowledged)
        self._open.set()
        await self._until_arrived(total)

    async def confirm_all(self) -> None:
        outbound = self._client._session.outbound
        held, self._held = self._held, None
        self._peer.send(*(held or []))
        await until(
            lambda: (
                outbound.window.confirmed == outbound.window.last
                and outbound._barrier is None
                and outbound._timer is None
            )
        )
        self._held = []


def _item(item: Any) -> Publication:
    return item if isinstance(item, tuple) else (ACKNOWLEDGED, item.payload)


@asynccontextmanager
async def _over_mqtt(publish_qos: int) -> AsyncIterator[Harness]:
    async with ScriptedServer() as server:
        settings = options(server, publish_qos=publish_qos, stop_seconds_max=0.01)
        async with running(settings, connect=False) as client:
            harness = MqttHarness(server, client)
            serving = asyncio.create_task(harness.serve())
            try:
                await harness.connect()
                yield harness
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving


@asynccontextmanager
async def _in_memory(kind: Callable[[], Harness]) -> AsyncIterator[Harness]:
    yield kind()


HARNESSES: dict[str, Callable[[], AbstractAsyncContextManager[Harness]]] = {
    "MqttClient at QoS 0": lambda: _over_mqtt(0),
    "MqttClient at QoS 1": lambda: _over_mqtt(1),
    "SimBrokerClient": lambda: _in_memory(SimHarness),
    "ScriptedBroker": lambda: _in_memory(ScriptedHarness),
}
