"""One network connection: its handshake, its keep-alive, its flow control and its end.

Holds nothing that outlives the connection; `client` does. What a server may send, and
when: MQTT 5.0, sections 3.1.4 (CONNACK first), 3.1.2.10 (keep alive), 3.6 and 3.7 (PUBREL, PUBCOMP), 3.14
(DISCONNECT), 4.13 (faults).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    Packet,
    PingRespPacket,
    PubAckPacket,
    PubRelPacket,
    SubAckPacket,
    UnsubAckPacket,
)

from stream_lstm.errors import BrokerError, ConnectionDropped, ProtocolError
from stream_lstm.service.broker import Message
from stream_lstm.service.mqtt import packets, reason_codes, tls_errors
from stream_lstm.service.mqtt.framing import Fault, Framing

WRITE_BUFFER_BYTES_MAX = 1_048_576  # from here on `writable` is False until a quarter is left
CLOSE_SECONDS_MAX = 1.0  # a broker that does not read our last words is left
SILENCE = 1.5  # keep-alives without a byte from the broker: it is gone (as 3.1.2.10 has it for clients)

HINT = "does it speak MQTT 5 on this port, without TLS (with TLS, write mqtts://)?"

Answer = TypeVar("Answer")


class Owner(Protocol):
    """Who uses a connection, and is told what happens on it; each call is within the event loop."""

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Messages came in one read, in order; with all bytes of theirs, also of reads before."""

    def acknowledged(self, packet_id: int, *, taken: bool) -> None:
        """A publication of ours has come to its end."""

    def moved(self) -> None:
        """More may be written, or more is confirmed, than a moment ago."""


class Connection(asyncio.BufferedProtocol):
    """A connection that is being made, stands, or has ended.

    Args:
        owner: is told what comes in.
        packet_bytes_max: larger packets are faults.
        answer_seconds_max: how long the broker may be silent while it owes an answer.
        hint: what to ask oneself if it never speaks MQTT.

    Attributes:
        bytes_received: so far.
        session_present: the broker kept our session, as its CONNACK says, which comes before any message.
        ended: why the connection ended, once it has; a result, never an exception.
        writable: the transport's buffer has room.
        reading_paused: the socket is not being read.
        pings_sent, pings_answered: PINGREQ and PINGRESP (3.12, 3.13), which come in order.
    """

    def __init__(
        self, owner: Owner, *, packet_bytes_max: int, answer_seconds_max: float, hint: str = HINT
    ) -> None:
        loop = asyncio.get_running_loop()
        self._hint = hint
        self._owner = owner
        self._framing = Framing(packet_bytes_max)
        self._answer_seconds_max = answer_seconds_max
        self._clock = loop.time
        self._answers: dict[type, asyncio.Future[Any]] = {}
        self._welcomed = False
        self._moved = False
        self._replies: list[bytes] = []
        self._lost: asyncio.Future[None] = loop.create_future()
        self._heard = self._pinged = loop.time()
        self.ended: asyncio.Future[BrokerError] = loop.create_future()
        self.session_present = False
        self.writable = True
        self.reading_paused = False
        self.pings_sent = self.pings_answered = 0
        self.bytes_received = 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS if there is any, stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES_MAX)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where asyncio reads to."""
        return self._framing.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if self.ended.done():
            return
        self._heard = self._clock()
        self.bytes_received += nbytes
        messages: list[Message] = []
        wire_bytes = nbytes
        take = messages.append if self._welcomed else partial(self._early, messages)
        try:
            wire_bytes = self._framing.take(nbytes, take, self._control)
        except Fault as fault:
            self._blame(fault)
        if self._replies:
            self.send(b"".join(self._replies))
            self._replies.clear()
        if messages:
            self._owner.arrived(messages, wire_bytes)
        if self._moved:
            self._moved = False
            self._owner.moved()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._lost.set_result(None)
        said = tls_errors.explained(exc)
        if said:
            self._end(BrokerError(said))
            return
        why = f"the connection was lost: {exc}" if exc else "the broker hung up"
        if self._welcomed:
            self._end(BrokerError(why) if exc else ConnectionDropped(why))
        else:
            self._end(BrokerError(f"{why} instead of answering: {self._hint}"))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.writable = False

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self.writable = True
        self._owner.moved()

    # What the owner calls.

    def send(self, content: bytes) -> None:
        """Write; nothing happens once the connection has ended."""
        if content and not self.ended.done():
            self._transport.write(content)

    async def connect(self, packet: bytes) -> ConnAckPacket:
        """Send CONNECT and wait for its answer.

        Raises:
            BrokerError: the connection ended before, or the broker was silent for too long.
        """
        return await self._ask(packet, ConnAckPacket)

    async def subscribe(self, packet: bytes) -> SubAckPacket:
        """Send SUBSCRIBE and wait for its answer, behind which other messages may come in."""
        return await self._ask(packet, SubAckPacket)

    async def unsubscribe(self, packet: bytes) -> UnsubAckPacket:
        """Send UNSUBSCRIBE and wait for its answer."""
        return await self._ask(packet, UnsubAckPacket)

    def ping(self) -> None:
        """Send PINGREQ."""
        self.pings_sent += 1
        self._pinged = self._clock()
        self.send(packets.PINGREQ)

    async def stay(self, keep_alive_seconds: float) -> BrokerError:
        """Keep the connection alive until it ends; returns why it did."""
        while not self.ended.done():
            over, _ = await asyncio.wait({self.ended}, timeout=keep_alive_seconds / 2)
            if not over:
                self._watch(keep_alive_seconds)
        return self.ended.result()

    def pause_reading(self) -> None:
        """Hold the broker back: its messages wait in the sockets and then with it."""
        if not self.reading_paused and not self.ended.done():
            self.reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.reading_paused and not self.ended.done():
            self.reading_paused = False
            self._heard = self._clock()  # while we did not listen it could not be silent
            self._transport.resume_reading()

    def close(self, why: BrokerError, code: DisconnectReasonCode | None = None) -> None:
        """End the connection, with a DISCONNECT if there is a code."""
        if code is not None:
            self.send(packets.disconnect(code))
        self._end(why)
        self._transport.close()

    async def closed(self) -> None:
        """Wait until the socket is closed; a broker that does not let us is left after a while."""
        await asyncio.wait({self._lost}, timeout=CLOSE_SECONDS_MAX)
        if not self._lost.done():
            self._transport.abort()
            await self._lost

    # What happens in between.

    async def _ask(self, packet: bytes, kind: type[Answer]) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        either: set[asyncio.Future[Any]] = {answer, self.ended}
        self._answers[kind] = answer
        self.send(packet)
        self._heard = self._clock()
        while not answer.done():
            if self.ended.done():
                raise self.ended.result()
            limit = self._heard + self._answer_seconds_max - self._clock()
            if limit > 0:
                await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            else:
                silent = f"the broker was silent for {self._answer_seconds_max:g} s and owes us"
                hint = "" if self._welcomed else f": {self._hint}"
                self.close(BrokerError(f"{silent} a {kind.__name__}{hint}"))
        return answer.result()

    def _early(self, messages: list[Message], message: Message) -> None:
        """A message in the read that may bring the CONNACK."""
        if not self._welcomed:
            raise _unexpected("a message before CONNACK")
        messages.append(message)

    def _control(self, packet: Packet) -> None:
        kind = type(packet)
        if not self._welcomed and kind is not ConnAckPacket:
            raise _unexpected(f"{kind.__name__} before CONNACK")
        act = _ACTS.get(kind)
        if act is None:
            raise _unexpected(f"{kind.__name__} from a broker")
        act(self, packet)
        self._moved = True

    def _connected(self, packet: ConnAckPacket) -> None:
        self._answered(packet)
        self.session_present = packet.session_present

    def _answered(self, packet: Packet) -> None:
        answer = self._answers.pop(type(packet), None)
        if answer is None:
            raise _unexpected(f"{type(packet).__name__} unasked")
        self._welcomed = True
        if not answer.done():
            answer.set_result(packet)

    def _acknowledged(self, packet: PubAckPacket) -> None:
        self._owner.acknowledged(packet.packet_id, taken=int(packet.reason_code) < reason_codes.REFUSED)

    def _released(self, packet: PubRelPacket) -> None:
        self._replies.append(packets.pubcomp(packet.packet_id))

    def _ponged(self, packet: PingRespPacket) -> None:
        if self.pings_answered == self.pings_sent:
            raise _unexpected("PingRespPacket unasked")
        self.pings_answered += 1

    def _dismissed(self, packet: DisconnectPacket) -> None:
        self.close(reason_codes.dismissed(packet))

    def _watch(self, keep_alive_seconds: float) -> None:
        now = self._clock()
        silent = now - self._heard
        if not self.reading_paused and silent >= SILENCE * keep_alive_seconds:
            self._end(BrokerError(f"no word from the broker for {silent:.1f} s"))
            self._transport.abort()
        elif now - self._pinged >= keep_alive_seconds / 2:
            self.ping()

    def _blame(self, fault: Fault) -> None:
        name = fault.code.name.lower().replace("_", " ")
        hint = "" if self._welcomed else f"; {self._hint}"
        self.close(ProtocolError(f"the broker broke MQTT 5 ({name}): {fault}{hint}"), fault.code)

    def _end(self, why: BrokerError) -> None:
        if not self.ended.done():
            self.ended.set_result(why)
            self._owner.moved()


def _unexpected(what: str) -> Fault:
    return Fault(DisconnectReasonCode.PROTOCOL_ERROR, what)


_ACTS: dict[type, Callable[[Connection, Any], None]] = {
    ConnAckPacket: Connection._connected,
    SubAckPacket: Connection._answered,
    UnsubAckPacket: Connection._answered,
    PubAckPacket: Connection._acknowledged,
    PubRelPacket: Connection._released,
    PingRespPacket: Connection._ponged,
    DisconnectPacket: Connection._dismissed,
}
