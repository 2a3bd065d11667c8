"""Bytes in, packets out: finds the packets in what a socket delivers, however it is cut.

Holds no socket, no clock and no session. `mqtt5.read` decodes one packet; here is the buffer around it, the
limit on a packet's size, and the verdict on what it cannot read. Standard: MQTT 5.0, sections 1.5.4 (text),
2.1.4 (remaining length), 3.3 (PUBLISH), 4.13 (malformed packets).
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


class Fault(ProtocolError):
    """What the broker sent is not MQTT 5.

    Attributes:
        code: what a DISCONNECT tells the broker (section 3.14.2.1).
    """

    def __init__(self, code: DisconnectReasonCode, problem: str) -> None:
        super().__init__(problem)
        self.code = code


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message whose text is not UTF-8: the sensor's fault, passed on by a broker that does not check.

    Section 1.5.4 lets us close the connection over it, but then one bad sensor would stop all others, and at
    QoS 1 for ever. So it goes on as a message without a topic, which nothing accepts, and is acknowledged in
    its turn. `payload` is topic, properties and payload as they came.
    """

    payload: bytes
    qos: QoS
    packet_id: int | None
    duplicate: bool
    retain: bool
    topic: str = ""


class Framing:
    """A buffer to read into, and the packets in it.

    Args:
        packet_bytes_max: a larger packet, header included, is a fault.
        read_bytes_max: most bytes in one read.
    """

    def __init__(self, packet_bytes_max: int, *, read_bytes_max: int = READ_BYTES_MAX) -> None:
        self._packet_bytes_max = packet_bytes_max
        self._read_bytes_max = read_bytes_max
        # Untouched pages cost nothing, so the largest packet has room from the start.
        self._buffer = memoryview(bytearray(packet_bytes_max + HEADER_BYTES_MAX + read_bytes_max))
        self._held = 0  # bytes of an incomplete packet, at the buffer's start
        self._wanted = 0  # size of that packet, 0 while unknown
        self._read: Callable[[memoryview], tuple[Any, int]] = read

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return self._buffer[self._held : self._held + self._read_bytes_max]

    def take(
        self, count: int, message: Callable[[Message], object], control: Callable[[Packet], object]
    ) -> int:
        """Find the packets in what has arrived.

        Args:
            count: bytes just written to `room()`.
            message: called with each PUBLISH, in order.
            control: called with each other packet, in its place among them.

        Returns:
            How many bytes the packets have that were found: not all of them may have come just now.

        Raises:
            Fault: the rest is not MQTT 5; what came before it was passed on. The buffer is of no more use.
        """
        self._held += count
        if self._held < self._wanted:  # a large packet is still arriving: nothing is looked at twice
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
                raise Fault(DisconnectReasonCode.MALFORMED_PACKET, str(error)) from None
            except BaseException as error:
                packet, size = self._panicked(rest, error)
                decode = self._read
            if size > limit:
                raise _too_large(size, limit)
            if type(packet) is PublishPacket:
                if not packet.topic:  # section 3.3.2.3.4: we allow no aliases
                    raise Fault(
                        DisconnectReasonCode.TOPIC_ALIAS_INVALID, "a topic alias, and none is allowed"
                    )
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
        """The size of the packet that begins here; 0 while its header is incomplete."""
        size = frame_bytes(rest)
        if size > self._packet_bytes_max:
            raise _too_large(size, self._packet_bytes_max)
        if 0 < size <= len(rest):
            raise Fault(DisconnectReasonCode.MALFORMED_PACKET, "a packet runs beyond its own end")
        return size

    def _panicked(self, rest: memoryview, error: BaseException) -> tuple[Unreadable, int]:
        """Make the best of a packet over which mqtt5 0.8 panicked, as it does over text that is not UTF-8."""
        if type(error).__name__ != "PanicException":
            raise error
        self._read = _read_warily  # a panic also writes a trace to standard error: have no second one
        size = frame_bytes(rest)
        found = _stand_in(rest[:size])
        if found is None:
            raise Fault(DisconnectReasonCode.MALFORMED_PACKET, "text that is not UTF-8") from None
        return found, size


def frame_bytes(view: memoryview | bytes) -> int:
    """The size of the packet that begins here, header included; 0 while its header is incomplete."""
    header = _header_bytes(view)
    return header and header + sum((byte & 127) << 7 * n for n, byte in enumerate(view[1:header]))


def _header_bytes(view: memoryview | bytes) -> int:
    """The size of the fixed header: a remaining length ends with the first byte below 128."""
    for n, byte in enumerate(view[1:HEADER_BYTES_MAX], 2):
        if byte < 128:
            return n
    return 0


def _read_warily(rest: memoryview) -> tuple[Packet | Unreadable, int]:
    """As `mqtt5.read`, but looks at a PUBLISH's topic first: 1 µs more, and no panic."""
    size = frame_bytes(rest)
    if 0 < size <= len(rest):
        found = _stand_in(rest[:size], suspect=False)
        if found is not None:
            return found, size
    return read(rest)


def _stand_in(frame: memoryview, *, suspect: bool = True) -> Unreadable | None:
    """A PUBLISH as far as it can be told without its text.

    Args:
        frame: one whole packet.
        suspect: something in it is known not to be text; otherwise its topic is looked at.

    Returns:
        None where it is no PUBLISH, where its parts do not fit in it, or where nothing is wrong with it.
    """
    qos, start = frame[0] >> 1 & 3, _header_bytes(frame) + 2
    if frame[0] >> 4 != PUBLISH or qos == 3 or start > len(frame):
        return None
    end = start + int.from_bytes(frame[start - 2 : start], "big")
    after = end + 2 if qos else end
    if after > len(frame) or (not suspect and _is_text(frame[start:end])):
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
        DisconnectReasonCode.PACKET_TOO_LARGE, f"a packet of {size} bytes, and we said at most {limit}"
    )
