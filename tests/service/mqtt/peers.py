"""Peers of the MQTT client under test: a transport without a socket, and a scripted MQTT server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import mqtt5
from mqtt5 import ConnAckPacket, PublishPacket, QoS, SubAckPacket, SubAckReasonCode

from stream_lstm.service.broker import MARK
from stream_lstm.service.mqtt import ClientOptions, Filter, Granted, MqttClient
from stream_lstm.service.mqtt.framing import frame_bytes

DEADLINE_SECONDS = 10.0
ACCEPTING_STEPS = 5  # of the event loop, until an accepted socket has its transport: asyncio takes three
Q0, Q1, Q2 = QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE


def message(n: int, qos: QoS = Q1, *, topic: str = "sensors/a", duplicate: bool = False) -> bytes:
    """A PUBLISH with this number as payload and, above QoS 0, as packet id."""
    return PublishPacket(
        topic, b"%d" % n, qos=qos, packet_id=n if qos != Q0 else None, duplicate=duplicate
    ).write()


async def until(condition: Callable[[], object], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not true in time"
        await asyncio.sleep(0.001)


class RecordingObserver:
    """Observer that keeps what it receives."""

    def __init__(self) -> None:
        self.grants: list[Granted] = []
        self.losses: list[tuple[str, float]] = []

    def connected(self, granted: Granted) -> None:
        self.grants.append(granted)

    def settled(self) -> None:
        """Of no interest here."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        self.losses.append((reason, retry_seconds))


def published(topic: str, payload: bytes, **more: Any) -> PublishPacket:
    """A publication of the client's."""
    return PublishPacket(topic, payload, user_properties=[MARK], **more)


def options(where: Any, **changes: Any) -> ClientOptions:
    """Options for a server, with short waits."""
    given: dict[str, Any] = {
        "host": where.host,
        "port": where.port,
        "client_id": "stream",
        "filters": [Filter("sensors/#", 1)],
        "backoff_seconds_min": 0.01,
        "backoff_seconds_max": 0.05,
        "barrier_seconds_min": 0.005,
        "stop_seconds_max": 2.0,
    }
    return ClientOptions(**{**given, **changes})


@asynccontextmanager
async def running(settings: ClientOptions, *, connect: bool = True, **extra: Any) -> AsyncIterator[Any]:
    """A running client, with its observer as `seen` and its task as `task`; with `connect`, connected."""
    seen = RecordingObserver()
    client: Any = MqttClient(settings, observer=seen, **extra)
    client.seen = seen
    task = client.task = asyncio.create_task(client.run())
    try:
        if connect:
            await until(lambda: client.connected or task.done())
            assert client.connected, seen.losses
        yield client
    finally:
        if not task.done():
            await client.stop()
            await asyncio.wait_for(task, DEADLINE_SECONDS)


async def take(client: MqttClient, count: int) -> list[Any]:
    """Receive at least `count` messages."""
    arrivals: list[Any] = []
    while sum(len(arrival.packets) for arrival in arrivals) < count:
        arrivals += await asyncio.wait_for(client.receive(65_536), DEADLINE_SECONDS)
    return arrivals


def payloads(arrivals: list[Any]) -> list[bytes]:
    return [packet.payload for arrival in arrivals for packet in arrival.packets]


class Wire(asyncio.Transport):
    """Transport without a socket, which keeps what is written."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.closed = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def feed(self, content: bytes, *, cut: int = 1 << 62) -> None:
        """Make the protocol read, at most `cut` bytes at a time."""
        while content and not self.closed:
            room = self.protocol.get_buffer(-1)
            piece = content[: min(len(room), cut)]
            room[: len(piece)] = piece
            self.protocol.buffer_updated(len(piece))
            content = content[len(piece) :]

    def packets(self) -> list[Any]:
        """Decode and remove what was written."""
        found, rest = [], bytes(self.written)
        self.written.clear()
        while rest:
            packet, size = mqtt5.read(memoryview(rest))
            found.append(packet)
            rest = rest[size:]
        return found


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connect: Any = None

    async def packet(self) -> Any:
        """The next packet; None at the end of the connection."""
        frame = b""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(DEADLINE_SECONDS):  # unlike `wait_for` it never loses a cancellation
                while not (size := frame_bytes(frame)):
                    frame += await self.reader.readexactly(1)
                frame += await self.reader.readexactly(size - len(frame))
            return mqtt5.read(memoryview(frame))[0]
        return None

    async def expect(self, kind: type) -> Any:
        """The next packet, which must be of this kind; answers pings before it."""
        while True:
            packet = await self.packet()
            if type(packet) is kind:
                return packet
            assert type(packet) is mqtt5.PingReqPacket, f"{packet} instead of {kind}"
            self.send(mqtt5.PingRespPacket())

    def send(self, *what: Any) -> None:
        """Send packets, or bytes."""
        self.writer.write(b"".join(w if isinstance(w, bytes) else w.write() for w in what))

    async def welcome(self, *, granted: int = 1, **connack: Any) -> Any:
        """Answer CONNECT and SUBSCRIBE; returns the CONNECT."""
        self.connect = await self.expect(mqtt5.ConnectPacket)
        self.send(ConnAckPacket(**connack))
        subscribe = await self.expect(mqtt5.SubscribePacket)
        codes = [SubAckReasonCode(granted)] * len(subscribe.topic_filters)
        self.send(SubAckPacket(subscribe.packet_id, codes))
        return self.connect

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class ScriptedServer:
    """MQTT server whose connections a test takes one by one, and scripts."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self.connections = 0

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for _ in range(ACCEPTING_STEPS):  # a connection on its way in must be closed, too
            await asyncio.sleep(0)
        for peer in self._all:
            peer.reset()
            with suppress(ConnectionError):
                await peer.writer.wait_closed()
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._all.append(Peer(reader, writer))
        self._peers.put_nowait(self._all[-1])

    async def peer(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._peers.get()


async def welcome(broker: ScriptedServer, **connack: Any) -> Peer:
    """The next connection, with CONNECT and SUBSCRIBE answered."""
    peer = await broker.peer()
    await peer.welcome(**connack)
    return peer
