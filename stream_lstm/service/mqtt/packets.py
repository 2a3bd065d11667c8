"""Encoders of the packets that the client sends.

Pure functions. `mqtt5` encodes the rare packets; the many predictions and acknowledgements are encoded here,
a batch at a time. Standard: MQTT 5.0, chapter 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PubCompPacket,
    PublishPacket,
    QoS,
    RetainHandling,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
    Will,
)

from stream_lstm.service.broker import MARK, Message
from stream_lstm.service.mqtt.framing import frame_bytes
from stream_lstm.service.mqtt.options import ClientOptions, Credentials, Filter
from stream_lstm.service.mqtt.takeover import ClientSignature

ONLINE, OFFLINE = b"online", b"offline"
SUBSCRIBE_ID, UNSUBSCRIBE_ID = 1, 2  # publications use higher packet ids, so that none is used twice
PACKET_ID_MAX = 65_535  # two bytes, not 0 (section 2.2.1)
PINGREQ = PingReqPacket().write()

_PUBACK, _PUBREC = 0x4002_0000, 0x5002_0000  # header, two more bytes, the packet id (3.4, 3.5)
_RETAIN = 1  # flag of PUBLISH (3.3.1.3)
# Most predictions are shorter: their headers are looked up. At most 16,383, two bytes of length (1.5.5).
_SHORT_BYTES = 2_048
# The properties of a PUBLISH with the mark: what follows two bytes of header and a topic of one character.
_MARKED = PublishPacket("t", b"", user_properties=[MARK]).write()[5:]
_LENGTHS = [n.to_bytes(2, "big") for n in range(_SHORT_BYTES)]


@dataclass(frozen=True, slots=True)
class Requested:
    """Features requested in CONNECT; dropped where the broker lacks them (3.2.2.3.4, 3.2.2.3.5)."""

    will_qos: int = 1
    retain: bool = True


def connect(
    options: ClientOptions, credentials: Credentials, requested: Requested, signature: ClientSignature
) -> bytes:
    """CONNECT (3.1), with a session that outlives the connection and a will that publishes `offline`."""
    will = None
    if options.status_topic:
        will = Will(
            options.status_topic,
            payload=OFFLINE,
            qos=QoS(requested.will_qos),
            retain=requested.retain,
            user_properties=signature.properties,
        )
    return ConnectPacket(
        options.client_id,
        username=credentials.username,
        password=credentials.password,
        clean_start=False,
        will=will,
        keep_alive=options.keep_alive_seconds,
        session_expiry_interval=options.session_expiry_seconds,
        receive_max=options.receive_maximum,
        max_packet_size=options.packet_bytes_max,
    ).write()


def subscribe(
    filters: Iterable[Filter],
    *,
    retained: bool,
    watched: Sequence[Filter] = (),
    identifier: int | None = None,
) -> bytes:
    """SUBSCRIBE (3.8); harmless where the session holds the subscriptions already (3.8.4).

    Args:
        retained: also receive messages retained before the first subscription.
        watched: further filters, after the others, with the retained message each time.
        identifier: of all these subscriptions, in each message that comes for them (3.8.2.1.2); None: none.
    """
    handling = RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS if retained else RetainHandling.SEND_NEVER
    topic_filters = [
        TopicFilter(
            entry.pattern,
            max_qos=QoS(entry.qos),
            no_local=not entry.pattern.startswith(
                "$share/"
            ),  # not allowed on a shared subscription (3.8.3.1)
            retain_as_published=False,
            retain_handling=handling,
        )
        for entry in filters
    ]
    topic_filters += [TopicFilter(entry.pattern, max_qos=QoS(entry.qos)) for entry in watched]
    return SubscribePacket(SUBSCRIBE_ID, topic_filters, subscription_id=identifier).write()


def unsubscribe(patterns: Sequence[str]) -> bytes:
    """UNSUBSCRIBE (3.10)."""
    return UnsubscribePacket(UNSUBSCRIBE_ID, list(patterns)).write()


def status(topic: str, text: bytes, *, retain: bool, signature: ClientSignature) -> bytes:
    """PUBLISH of the client's status, `ONLINE` or `OFFLINE`, signed."""
    return PublishPacket(topic, text, retain=retain, user_properties=signature.properties).write()


def disconnect(code: DisconnectReasonCode = DisconnectReasonCode.NORMAL_DISCONNECTION) -> bytes:
    """DISCONNECT (3.14); a normal one cancels the will."""
    return DisconnectPacket(reason_code=code).write()


def pubcomp(packet_id: int) -> bytes:
    """PUBCOMP (3.7), the answer to PUBREL."""
    return PubCompPacket(packet_id).write()


def acknowledgements(messages: Iterable[Message]) -> bytes:
    """PUBACK for QoS 1 and PUBREC for QoS 2, in the order of the messages (section 4.6)."""
    heads = [
        (_PUBREC if message.qos == 2 else _PUBACK) | number
        for message in messages
        if (number := message.packet_id)
    ]
    return struct.pack(f">{len(heads)}L", *heads)


def publications(entries: Iterable[tuple[str, bytes]], *, retain: bool) -> bytes:
    """PUBLISH at QoS 0 (3.3), one for each topic and payload, joined."""
    parts: list[bytes] = []
    heads = _RETAINED if retain else _PLAIN
    for topic, payload in entries:
        name = topic.encode()
        size = len(name)
        remaining = size + len(payload) + 2 + len(_MARKED)
        if remaining < _SHORT_BYTES:
            parts += heads[remaining], _LENGTHS[size], name, _MARKED, payload
        else:
            parts.append(PublishPacket(topic, payload, retain=retain, user_properties=[MARK]).write())
    return b"".join(parts)


def publication(topic: str, payload: bytes, *, packet_id: int, retain: bool, duplicate: bool) -> bytes:
    """PUBLISH at QoS 1; `duplicate` if it may have been sent before (3.3.1.1)."""
    return PublishPacket(
        topic,
        payload,
        qos=QoS.AT_LEAST_ONCE,
        packet_id=packet_id,
        retain=retain,
        duplicate=duplicate,
        user_properties=[MARK],
    ).write()


def adapted(packets: bytes, *, bytes_max: int | None, retain: bool) -> tuple[bytes, int]:
    """Adapt PUBLISH packets to what the broker accepts.

    Args:
        packets: any number of them, joined.
        bytes_max: larger packets are dropped (section 3.2.2.3.6).
        retain: False clears the retain flag (section 3.2.2.3.5).

    Returns:
        The packets, and the number of packets dropped.
    """
    kept, dropped = [], 0
    for packet in _split(packets):
        if bytes_max is not None and len(packet) > bytes_max:
            dropped += 1
        else:
            kept.append(packet if retain else bytes([packet[0] & ~_RETAIN]) + packet[1:])
    return b"".join(kept), dropped


def _split(packets: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(packets):
        end = start + frame_bytes(packets[start : start + 5])
        yield packets[start:end]
        start = end


def _head(first: int, remaining: int) -> bytes:
    """A fixed header: type and flags, remaining length (2.1)."""
    if remaining < 128:
        return bytes([first, remaining])
    return bytes([first, remaining & 127 | 128, remaining >> 7])


_PLAIN = [_head(0x30, n) for n in range(_SHORT_BYTES)]
_RETAINED = [_head(0x30 | _RETAIN, n) for n in range(_SHORT_BYTES)]
