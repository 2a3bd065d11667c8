"""Publisher of sensor readings and subscriber of predictions, over raw sockets, straight to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.attack import packets
from tests.attack.packets import Packet, Splitter

RECONNECT_SECONDS = 0.02
IN_FLIGHT_MAX = 500  # of the publisher


class RawClient:
    """MQTT client that reconnects until it is cancelled."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name
        self.writer: asyncio.StreamWriter | None = None  # while connected

    async def run(self) -> None:
        """Connect again and again."""
        while True:
            try:
                await self._connection()
            except OSError:
                pass
            finally:
                self.writer = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(packets.connect(self._name))
            splitter = Splitter()
            while some := await reader.read(65_536):
                for packet in splitter.feed(some):
                    if packet.kind == packets.CONNACK:
                        assert packet.body[1] < packets.FAILURE, f"CONNACK {packet.body!r}"
                        self.writer = writer
                        self._begin()
                    else:
                        self._handle(packet)
        finally:
            writer.close()

    def _send(self, content: bytes) -> None:
        if self.writer and not self.writer.is_closing():
            self.writer.write(content)

    def _begin(self) -> None:
        """The connection stands."""

    def _handle(self, packet: Packet) -> None:
        """Handle a packet."""


class Publisher(RawClient):
    """Publishes at QoS 1, each message until the broker acknowledges it, in order.

    Attributes:
        sent: topic and payload of each message.
        acked: for each, the time on the loop's clock when the broker acknowledged it; 0.0: not yet.
        repeated: numbers of the messages that were sent again after a connection was lost.
        unheard: messages that the broker acknowledged and had no subscriber for.
    """

    def __init__(self, port: int, name: str = "sensors") -> None:
        super().__init__(port, name)
        self.sent: list[tuple[str, bytes]] = []
        self.acked: list[float] = []
        self.repeated: set[int] = set()
        self.unheard = 0
        self._in_flight: dict[int, int] = {}  # number by packet id, oldest first
        self._packet_id = 0
        self._acknowledged = asyncio.Event()

    @property
    def full(self) -> bool:
        """True if too many messages are in flight for another one."""
        return len(self._in_flight) >= IN_FLIGHT_MAX

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish now, or when the connection stands."""
        self._packet_id = self._packet_id % 65_535 + 1
        self._in_flight[self._packet_id] = len(self.sent)
        self.sent.append((topic, payload))
        self.acked.append(0.0)
        self._send(packets.publish(topic, payload, self._packet_id))

    async def space(self) -> None:
        """Wait until there is space in flight."""
        while self.full:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    async def drain(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while self._in_flight:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _begin(self) -> None:
        for packet_id, number in self._in_flight.items():
            self.repeated.add(number)
            self._send(packets.publish(*self.sent[number], packet_id, duplicate=True))

    def _handle(self, packet: Packet) -> None:
        if packet.kind == packets.PUBACK:
            packet_id, reason = packets.read_puback(packet)
            assert reason < packets.FAILURE, f"PUBACK {reason:#x}"
            self.unheard += reason != 0
            if (number := self._in_flight.pop(packet_id, None)) is not None:
                self.acked[number] = asyncio.get_running_loop().time()
                self._acknowledged.set()


class Subscriber(RawClient):
    """Subscribes at QoS 1 with a session that the broker keeps, so that it misses nothing while away."""

    def __init__(self, port: int, pattern: str, take: Callable[[bytes], None], name: str = "reader") -> None:
        super().__init__(port, name)
        self._pattern = pattern
        self._take = take
        self.subscribed = asyncio.Event()

    def _begin(self) -> None:
        self._send(packets.subscribe(self._pattern))

    def _handle(self, packet: Packet) -> None:
        if packet.kind == packets.SUBACK:
            self.subscribed.set()
        elif packet.kind == packets.PUBLISH:
            publish = packets.read_publish(packet)
            self._take(publish.payload)
            if publish.packet_id:
                self._send(packets.puback(publish.packet_id))
