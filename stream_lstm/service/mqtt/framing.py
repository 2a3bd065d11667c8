"""Framing: bytes in, packets out, however the reads of the socket cut them.

No socket, no clock, no session. `mqtt5.read` decodes one packet; this module adds the read buffer, the limit
on a packet's size, and the treatment of packets that cannot be decoded. Standard: MQTT 5.0, sections 1.5.4
(text), 2.1.4 (remaining length), 3.3 (PUBLISH), 4.13 (malformed packets).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mqtt5 import DisconnectReasonCode, Packet, PublishPacket, QoS, read

from stream_lstm.errors import ProtocolError
from stream_lstm.service.broker import Message

READ_BYTES_MAX = 262_144  # one read of the socket: measured best from 128 KiB up
HEADER_BYTES_MAX = 5  # type and flags, then a remaining length of 1 to 4 bytes
PUBLISH = 3  # section 2.1.2
# Header of MQTT 3.1.1's CONNACK, which has two more bytes; that of MQTT 5 has at least three (section 3.2).
CONNACK_311 = b"\x20\x02"


class Fault(ProtocolError):
    """Malformed packet or protocol error of the broker (section 4.13).

    Attributes:
        code: reason code of the DISCONNECT to answer with (section 3.14.2.1).
    """

    def __init__(self, code: DisconnectReasonCode, problem: str) -> None:
        super().__init__(problem)
        self.code = code


class OlderProtocol(Fault):
    """CONNACK of MQTT 3.1.1.

    Attributes:
        return_code: see MQTT 3.1.1, section 3.2.2.3.
    """

    def __init__(self, return_code: int) -> None:
        super().__init__(DisconnectReasonCode.MALFORMED_PACKET, f"CONNACK of MQTT 3.1.1, code {return_code}")
        self.return_code = return_code


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Message whose topic or properties are not UTF-8.

    The sensor's fault, forwarded by a broker that does not check. Section 1.5.4 lets a client close the
    connection, but then one bad sensor would stop all others, at QoS 1 permanently. So it becomes a message
    without a topic, which is rejected and acknowledged in its turn. `payload` is topic, properties and
    payload as received.
    """

    payload: bytes
    qos: QoS
    packet_id: int | None
    duplicate: bool
    retain: bool
    topic: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()
    subscription_ids: tuple[int, ...] = ()


class Framing:
    """Read buffer and packet decoder of one connection.

    Args:
        packet_bytes_max: a larger packet, header included, is a fault.
        read_bytes_max: most bytes in one read.
    """

    def __init__(self, packet_bytes_max: int, *, read_bytes_max: int = READ_BYTES_MAX) -> None:
        self._packet_bytes_max = packet_bytes_max
        self._read_bytes_max = read_bytes_max
        # Untouched pages use no memory, so the buffer holds the largest packet from the start.
        self._buffer = memoryview(bytearray(packet_bytes_max + HEADER_BYTES_MAX + read_bytes_max))
        self._held = 0  # bytes of an incomplete packet, at the buffer's start
        self._wanted = 0  # size of that packet, 0 if unknown
        self._read: Callable[[memoryview], tuple[Any, int]] = read

    def get_buffer(self) -> memoryview:
        """The free part of the buffer, to read the next bytes into."""
        return self._buffer[self._held : self._held + self._read_bytes_max]

    def parse(
        self, count: int, message: Callable[[Message], object], control: Callable[[Packet], object]
    ) -> int:
        """Decode the complete packets in the buffer.

        Args:
            count: bytes just written to `get_buffer()`.
            message: called with each PUBLISH, in order.
            control: called with each other packet, in order among the messages.

        Returns:
            Total size of these packets in bytes, including bytes of earlier reads.

        Raises:
            Fault: the rest is not MQTT 5; packets before it were passed on. The buffer is unusable then.
        """
        self._held += count
        if self._held < self._wanted:  # a large packet is still arriving: no byte is decoded twice
            return 0
        self._wanted = 0
        decode, limit, rest = self._read, self._packet_bytes_max, self._buffer[: self._held]
        while rest:
            try:
                packet, size = decode(rest)
            except IndexError:
                self._wanted = self._incomplete(rest)
                break
            except ValueError as error:
                if bytes(rest[:2]) == CONNACK_311 and len(rest) > 3:
                    raise OlderProtocol(int(rest[3])) from None
                raise Fault(DisconnectReasonCode.MALFORMED_PACKET, str(error)) from None
            except BaseException as error:
                packet, size = self._recover(rest, error)
                decode = self._read
            if size > limit:
                raise _too_large(size, limit)
            if type(packet) is PublishPacket:
                if not packet.topic:  # section 3.3.2.3.4: CONNECT allows no aliases
                    raise Fault(DisconnectReasonCode.TOPIC_ALIAS_INVALID, "topic alias, none is allowed")
                message(packet)
            elif type(packet) is Unreadable:
                message(packet)
            else:
                control(packet)
            rest = rest[size:]
        found = self._held - len(rest)
        self._held = len(rest)
        if rest:
            self._buffer[: self._held] = rest
        return found

    def _incomplete(self, rest: memoryview) -> int:
        """Size of the packet at the start of `rest`; 0 if its header is incomplete."""
        size = frame_bytes(rest)
        if size > self._packet_bytes_max:
            raise _too_large(size, self._packet_bytes_max)
        if 0 < size <= len(rest):
            raise Fault(DisconnectReasonCode.MALFORMED_PACKET, "a field exceeds its packet")
        return size

    def _recover(self, rest: memoryview, error: BaseException) -> tuple[Unreadable, int]:
        """Decode a packet after a panic of mqtt5 0.8, which panics over text that is not UTF-8."""
        if type(error).__name__ != "PanicException":
            raise error
        self._read = _read_checked  # a panic also writes a trace to standard error: avoid a second one
        size = frame_bytes(rest)
        found = _unreadable(rest[:size])
        if found is None:
            raise Fault(DisconnectReasonCode.MALFORMED_PACKET, "text is not UTF-8") from None
        return found, size


def frame_bytes(view: memoryview | bytes) -> int:
    """Size of the packet at the start of `view`, header included; 0 if its header is incomplete."""
    header = _header_bytes(view)
    return header and header + sum((byte & 127) << 7 * n for n, byte in enumerate(view[1:header]))


def _header_bytes(view: memoryview | bytes) -> int:
    """Size of the fixed header: a remaining length ends with the first byte below 128."""
    for n, byte in enumerate(view[1:HEADER_BYTES_MAX], 2):
        if byte < 128:
            return n
    return 0


def _read_checked(rest: memoryview) -> tuple[Packet | Unreadable, int]:
    """`mqtt5.read` with a check of a PUBLISH's topic before: 1 µs more, and no panic."""
    size = frame_bytes(rest)
    if 0 < size <= len(rest):
        found = _unreadable(rest[:size], known=False)
        if found is not None:
            return found, size
    return read(rest)


def _unreadable(frame: memoryview, *, known: bool = True) -> Unreadable | None:
    """Decode a PUBLISH without its text.

    Args:
        frame: one complete packet.
        known: True if some text in it is known not to be UTF-8; False: the topic is checked.

    Returns:
        None if it is not a PUBLISH, if its fields exceed the packet, or if its topic is UTF-8.
    """
    qos, start = frame[0] >> 1 & 3, _header_bytes(frame) + 2
    if frame[0] >> 4 != PUBLISH or qos == 3 or start > len(frame):
        return None
    end = start + int.from_bytes(frame[start - 2 : start], "big")
    after = end + 2 if qos else end
    if after > len(frame) or (not known and _is_text(frame[start:end])):
        return None
    return Unreadable(
        payload=bytes(frame[start:end]) + bytes(frame[after:]),
        qos=QoS(qos),
        packet_id=int.from_bytes(frame[end:after], "big") if qos else None,
        duplicate=bool(frame[0] & 8),
        retain=bool(frame[0] & 1),
    )


def _is_text(view: memoryview) -> bool:
    try:
        str(view, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _too_large(size: int, limit: int) -> Fault:
    return Fault(
        DisconnectReasonCode.PACKET_TOO_LARGE, f"packet of {size} bytes, at most {limit} are accepted"
    )
