"""One network connection: handshake packets, keep-alive, flow control and its end.

Holds nothing that outlives the connection; `stream_lstm.service.mqtt.session` does. Packets that a server may
send: MQTT 5.0, sections 3.1.4 (CONNACK first), 3.1.2.10 (keep alive), 3.6 and 3.7 (PUBREL, PUBCOMP), 3.14
(DISCONNECT), 4.13 (errors).
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
from stream_lstm.service.mqtt.framing import Fault, Framing, OlderProtocol

# Above this, `writable` is False until a quarter is left. A trade-off: it bounds the memory for a slow broker
# and exceeds asyncio's default of 64 KiB so that a large delivery does not stop the next one.
WRITE_BUFFER_BYTES_MAX = 1_048_576
CLOSE_SECONDS_MAX = 1.0  # a trade-off: time to write DISCONNECT, against the delay of the next attempt
KEEP_ALIVE_GRACE = (
    1.5  # keep-alives without a byte end the connection: the server's rule (3.1.2.10), mirrored
)

HINT = "check that the broker speaks MQTT 5 on this port without TLS (with TLS, write mqtts://)"

Answer = TypeVar("Answer")


class ConnectionListener(Protocol):
    """Receives what happens on a connection; all calls come from the event loop."""

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Messages of one read, in order; `wire_bytes` is their total size, including earlier reads."""

    def acknowledged(self, packet_id: int, *, accepted: bool) -> None:
        """The broker acknowledged a publication."""

    def progressed(self) -> None:
        """Writing may be possible again, more may be confirmed, or the connection has ended."""


class Connection(asyncio.BufferedProtocol):
    """Network connection to a broker.

    Args:
        listener: receives messages and acknowledgements.
        packet_bytes_max: larger packets are faults.
        answer_seconds_max: time without a byte from the broker after which an awaited answer times out.
        hint: for the error if the broker does not answer CONNECT with a CONNACK.

    Attributes:
        bytes_received: so far.
        session_present: the CONNACK's flag: True if the broker kept the session.
        ended: result is the reason why the connection ended; it never raises.
        writable: True if the transport's write buffer is below its limit.
        reading_paused: True if the socket is not read.
        pings_sent: PINGREQ packets (3.12).
        pings_answered: PINGRESP packets (3.13), which come in order.
    """

    def __init__(
        self,
        listener: ConnectionListener,
        *,
        packet_bytes_max: int,
        answer_seconds_max: float,
        hint: str = HINT,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._hint = hint
        self._listener = listener
        self._framing = Framing(packet_bytes_max)
        self._answer_seconds_max = answer_seconds_max
        self._clock = loop.time
        self._answers: dict[type, asyncio.Future[Any]] = {}
        self._connack_received = False
        self._progressed = False
        self._replies: list[bytes] = []
        self._closed: asyncio.Future[None] = loop.create_future()
        self._last_received = self._last_ping = loop.time()
        self.ended: asyncio.Future[BrokerError] = loop.create_future()
        self.session_present = False
        self.writable = True
        self.reading_paused = False
        self.pings_sent = self.pings_answered = 0
        self.bytes_received = 0

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS if set, is established."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES_MAX)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next read."""
        return self._framing.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Decode the bytes of one read, and pass on what they hold."""
        if self.ended.done():
            return
        self._last_received = self._clock()
        self.bytes_received += nbytes
        messages: list[Message] = []
        wire_bytes = nbytes
        take = messages.append if self._connack_received else partial(self._take_checked, messages)
        try:
            wire_bytes = self._framing.parse(nbytes, take, self._control)
        except Fault as fault:
            self._close_on_fault(fault)
        if self._replies:
            self.send(b"".join(self._replies))
            self._replies.clear()
        if messages:
            self._listener.arrived(messages, wire_bytes)
        if self._progressed:
            self._progressed = False
            self._listener.progressed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._closed.set_result(None)
        tls_error = tls_errors.explained(exc)
        if tls_error:
            self._end(BrokerError(tls_error))
            return
        reason = (
            f"the connection was lost: {exc}" if exc else "the broker closed the connection without a reason"
        )
        if self._connack_received:
            self._end(BrokerError(reason) if exc else ConnectionDropped(reason))
        else:
            self._end(BrokerError(f"{reason}, before CONNACK: {self._hint}"))

    def pause_writing(self) -> None:
        """The transport's write buffer is above its limit."""
        self.writable = False

    def resume_writing(self) -> None:
        """The transport's write buffer has space again."""
        self.writable = True
        self._listener.progressed()

    # Calls of the client.

    def send(self, content: bytes) -> None:
        """Write bytes; does nothing after the connection has ended."""
        if content and not self.ended.done():
            self._transport.write(content)

    async def connect(self, packet: bytes) -> ConnAckPacket:
        """Send CONNECT and wait for CONNACK.

        Raises:
            BrokerError: the connection ended first, or no byte came for `answer_seconds_max`.
        """
        return await self._request(packet, ConnAckPacket)

    async def subscribe(self, packet: bytes) -> SubAckPacket:
        """Send SUBSCRIBE and wait for SUBACK; messages may come before it."""
        return await self._request(packet, SubAckPacket)

    async def unsubscribe(self, packet: bytes) -> UnsubAckPacket:
        """Send UNSUBSCRIBE and wait for UNSUBACK."""
        return await self._request(packet, UnsubAckPacket)

    def ping(self) -> None:
        """Send PINGREQ."""
        self.pings_sent += 1
        self._last_ping = self._clock()
        self.send(packets.PINGREQ)

    async def serve_until_ended(self, keep_alive_seconds: float) -> BrokerError:
        """Keep the connection alive until it ends; returns the reason of its end."""
        while not self.ended.done():
            ended, _ = await asyncio.wait({self.ended}, timeout=keep_alive_seconds / 2)
            if not ended:
                self._check_keep_alive(keep_alive_seconds)
        return self.ended.result()

    def pause_reading(self) -> None:
        """Stop reading: messages wait in the sockets' buffers and then at the broker (backpressure)."""
        if not self.reading_paused and not self.ended.done():
            self.reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.reading_paused and not self.ended.done():
            self.reading_paused = False
            self._last_received = self._clock()  # the pause does not count as silence of the broker
            self._transport.resume_reading()

    def close(self, reason: BrokerError, code: DisconnectReasonCode | None = None) -> None:
        """End the connection, with a DISCONNECT if there is a code."""
        if code is not None:
            self.send(packets.disconnect(code))
        self._end(reason)
        self._transport.close()

    async def closed(self) -> None:
        """Wait until the socket is closed; abort it if the broker does not read the rest in time."""
        await asyncio.wait({self._closed}, timeout=CLOSE_SECONDS_MAX)
        if not self._closed.done():
            self._transport.abort()
            await self._closed

    # Requests and packets.

    async def _request(self, packet: bytes, kind: type[Answer]) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        either: set[asyncio.Future[Any]] = {answer, self.ended}
        self._answers[kind] = answer
        self.send(packet)
        self._last_received = self._clock()
        while not answer.done():
            if self.ended.done():
                raise self.ended.result()
            limit = self._last_received + self._answer_seconds_max - self._clock()
            if limit > 0:
                await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            else:
                silence = f"nothing received from the broker for {self._answer_seconds_max:g} s"
                hint = "" if self._connack_received else f": {self._hint}"
                self.close(BrokerError(f"{silence} while waiting for {_name(kind)}{hint}"))
        return answer.result()

    def _take_checked(self, messages: list[Message], message: Message) -> None:
        """Take a message of a read that may hold the CONNACK."""
        if not self._connack_received:
            raise _protocol_error("PUBLISH before CONNACK")
        messages.append(message)

    def _control(self, packet: Packet) -> None:
        kind = type(packet)
        if not self._connack_received and kind is not ConnAckPacket:
            raise _protocol_error(f"{_name(kind)} before CONNACK")
        action = _ACTIONS.get(kind)
        if action is None:
            raise _protocol_error(f"{_name(kind)} from a server")
        action(self, packet)
        self._progressed = True

    def _on_connack(self, packet: ConnAckPacket) -> None:
        self._on_answer(packet)
        self.session_present = packet.session_present

    def _on_answer(self, packet: Packet) -> None:
        answer = self._answers.pop(type(packet), None)
        if answer is None:
            raise _protocol_error(f"{_name(type(packet))} without a request")
        self._connack_received = True
        if not answer.done():
            answer.set_result(packet)

    def _on_puback(self, packet: PubAckPacket) -> None:
        accepted = int(packet.reason_code) < reason_codes.FAILURE
        self._listener.acknowledged(packet.packet_id, accepted=accepted)

    def _on_pubrel(self, packet: PubRelPacket) -> None:
        self._replies.append(packets.pubcomp(packet.packet_id))

    def _on_pingresp(self, packet: PingRespPacket) -> None:
        if self.pings_answered == self.pings_sent:
            raise _protocol_error("PINGRESP without a request")
        self.pings_answered += 1

    def _on_disconnect(self, packet: DisconnectPacket) -> None:
        self.close(reason_codes.disconnected(packet))

    def _check_keep_alive(self, keep_alive_seconds: float) -> None:
        now = self._clock()
        silent_seconds = now - self._last_received
        if not self.reading_paused and silent_seconds >= KEEP_ALIVE_GRACE * keep_alive_seconds:
            silence = f"nothing received from the broker for {silent_seconds:.1f} s"
            self._end(BrokerError(f"{silence}, the keep-alive is {keep_alive_seconds:g} s"))
            self._transport.abort()
        elif now - self._last_ping >= keep_alive_seconds / 2:
            self.ping()

    def _close_on_fault(self, fault: Fault) -> None:
        if isinstance(fault, OlderProtocol) and not self._connack_received:
            self.close(reason_codes.older_protocol(fault.return_code))  # it knows no DISCONNECT with a code
            return
        name = fault.code.name.lower().replace("_", " ")
        hint = "" if self._connack_received else f"; {self._hint}"
        self.close(ProtocolError(f"the broker violated MQTT 5 ({name}): {fault}{hint}"), fault.code)

    def _end(self, reason: BrokerError) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
            self._listener.progressed()


def _name(kind: type) -> str:
    """A packet's name as in the standard: CONNACK for ConnAckPacket."""
    return kind.__name__.removesuffix("Packet").upper()


def _protocol_error(problem: str) -> Fault:
    return Fault(DisconnectReasonCode.PROTOCOL_ERROR, problem)


_ACTIONS: dict[type, Callable[[Connection, Any], None]] = {
    ConnAckPacket: Connection._on_connack,
    SubAckPacket: Connection._on_answer,
    UnsubAckPacket: Connection._on_answer,
    PubAckPacket: Connection._on_puback,
    PubRelPacket: Connection._on_pubrel,
    PingRespPacket: Connection._on_pingresp,
    DisconnectPacket: Connection._on_disconnect,
}
