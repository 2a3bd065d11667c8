"""The few packets of MQTT 5.0 that a publisher, a subscriber and a reader of a byte stream need."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

# Types of control packets (section 2.1.2).
CONNACK, PUBLISH, PUBACK, SUBACK, PINGREQ, PINGRESP = 2, 3, 4, 9, 12, 13
FAILURE = 0x80  # reason codes from here on are errors (section 2.4)
FOR_EVER = 0xFFFFFFFF  # session expiry interval: none (section 3.1.2.11.2)


class Packet(NamedTuple):
    """A control packet: its type, the flags of its first byte, and all after the fixed header."""

    kind: int
    flags: int
    body: bytes


class Publish(NamedTuple):
    """A PUBLISH packet (section 3.3)."""

    topic: str
    payload: bytes
    packet_id: int  # 0 at QoS 0
    duplicate: bool


class Splitter:
    """Cuts a byte stream into packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, some: bytes) -> Iterator[Packet]:
        """Add bytes; yields the packets that are complete."""
        content, at = self._rest + some, 0
        while True:
            end, header = _end(content, at)
            if not end or end > len(content):
                break
            yield Packet(content[at] >> 4, content[at] & 0xF, content[at + header : end])
            at = end
        self._rest = content[at:]


def _end(content: bytes, at: int) -> tuple[int, int]:
    """Where the packet at `at` ends, and the size of its fixed header; zeros if that is not complete."""
    length = 0
    for n, byte in enumerate(content[at + 1 : at + 5]):
        length |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return at + 2 + n + length, 2 + n
    return 0, 0


def _variable(number: int) -> bytes:
    """A variable byte integer (section 1.5.5)."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _packet(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([first]) + _variable(len(body)) + body


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def connect(client_id: str, *, keep_alive: int = 60) -> bytes:
    """CONNECT that continues the session, which does not expire (section 3.1)."""
    properties = struct.pack(">BIBH", 0x11, FOR_EVER, 0x21, 65_535)  # session expiry, Receive Maximum
    flags = struct.pack(">BBH", 5, 0x00, keep_alive)
    return _packet(0x10, _text("MQTT"), flags, _variable(len(properties)), properties, _text(client_id))


def subscribe(pattern: str) -> bytes:
    """SUBSCRIBE to one filter at QoS 1 (section 3.8)."""
    return _packet(0x82, struct.pack(">HB", 1, 0), _text(pattern), b"\x01")


def publish(topic: str, payload: bytes, packet_id: int, *, duplicate: bool = False) -> bytes:
    """PUBLISH at QoS 1."""
    return _packet(0x3A if duplicate else 0x32, _text(topic), struct.pack(">HB", packet_id, 0), payload)


def puback(packet_id: int) -> bytes:
    """PUBACK of success (section 3.4)."""
    return _packet(0x40, struct.pack(">H", packet_id))


def read_publish(packet: Packet) -> Publish:
    """The content of a PUBLISH packet."""
    body = packet.body
    end = 2 + int.from_bytes(body[:2])
    topic, packet_id = body[2:end].decode(), 0
    if packet.flags & 0b110:
        packet_id, end = int.from_bytes(body[end : end + 2]), end + 2
    length, digits = 0, 0
    while True:  # length of the properties
        byte = body[end]
        length |= (byte & 0x7F) << 7 * digits
        end, digits = end + 1, digits + 1
        if byte < 0x80:
            break
    return Publish(topic, body[end + length :], packet_id, bool(packet.flags & 0b1000))


def read_puback(packet: Packet) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK."""
    return int.from_bytes(packet.body[:2]), packet.body[2] if len(packet.body) > 2 else 0
