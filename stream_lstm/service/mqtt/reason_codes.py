"""Reason codes of a broker, and the errors made of them: one table, with advice for the operator.

Standard: MQTT 5.0, sections 2.4, 3.2.2.2 (CONNACK), 3.9.3 (SUBACK), 3.14.2.1 (DISCONNECT).
"""

from __future__ import annotations

from enum import IntEnum

from mqtt5 import ConnAckPacket, ConnAckReasonCode, DisconnectPacket, DisconnectReasonCode, SubAckReasonCode

from stream_lstm.errors import BrokerError, BrokerRefused, SessionTaken
from stream_lstm.service.mqtt.options import Filter

FAILURE = 0x80  # this code and all above it are failures (section 2.4)
TEXT_CHARACTERS_MAX = (
    200  # of a text from the broker: it may have 65,535 bytes (1.5.4), a log line should not
)
RETAIN_NOT_SUPPORTED = int(ConnAckReasonCode.RETAIN_NOT_SUPPORTED)
QOS_NOT_SUPPORTED = int(ConnAckReasonCode.QUALITY_NOT_SUPPORTED)
UNSUPPORTED_PROTOCOL = int(ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION)

USE_MQTT_5 = "use one that does (mosquitto from 1.6, EMQX, HiveMQ, VerneMQ)"
# Return codes of MQTT 3.1.1 (its section 3.2.2.3).
_RETURN_CODES = {
    0: "connection accepted",
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}

# Advice where no retry helps until a setting, here or at the broker, changes.
_LASTING = {
    0x81: "the broker cannot parse our packets: check that it speaks MQTT 5",
    0x82: "the broker does not accept our packets: check that it speaks MQTT 5",
    0x84: f"the broker does not speak MQTT 5: {USE_MQTT_5}",
    0x85: "set mqtt.client_id to a name that the broker allows",
    0x86: "check mqtt.username and mqtt.password",
    0x87: "check mqtt.username, mqtt.password and the broker's access rules",
    0x8A: "the broker's operator has banned this client",
    0x8C: "the broker requires another authentication method than user name and password",
    0x8F: "correct the topic of this subscription",
    0x90: "the broker does not allow a topic that we publish to: check mqtt.status_topic and publish.topic",
    0x9C: "set mqtt.url to the server that the broker refers to",
    0x9D: "set mqtt.url to the server that the broker refers to",
    0x9E: "the broker does not support shared subscriptions: subscribe without $share",
    0xA2: "the broker does not support wildcards: list the topics",
}
# Advice where a retry may help.
_TRANSIENT = {
    0x88: "the broker is not available yet",
    0x89: "the broker is busy",
    0x8B: "the broker is shutting down",
    0x8D: "the broker received nothing from us within the keep-alive time",
    0x93: "the broker counts more unacknowledged publications than its Receive Maximum",
    0x95: "a packet is larger than the broker accepts",
    0x96: "the publication rate is higher than the broker allows",
    0x97: "a quota of the broker is exceeded: raise it at the broker",
    0x98: "the broker's operator closed the connection",
    0x9A: "the broker does not support retained messages; the next attempt does not ask for them",
    0x9B: "the broker does not support QoS 1; the next attempt asks for a will at QoS 0",
    0x9F: "the broker limits the rate of connections",
    0xA0: "the broker limits the duration of connections",
}


def connection_refused(packet: ConnAckPacket) -> BrokerRefused:
    """The error for a CONNACK with a failure code."""
    text = _described(packet.reason_code, packet.reason_str, packet.server_reference)
    return _error(f"the broker refused the connection: {text}", packet.reason_code)


def older_protocol(return_code: int) -> BrokerRefused:
    """The error for a CONNACK of MQTT 3.1.1."""
    name = _RETURN_CODES.get(return_code, "unknown")
    answer = f"it answered with MQTT 3.1.1's return code {return_code}, {name}"
    return BrokerRefused(
        f"the broker does not speak MQTT 5 ({answer}): {USE_MQTT_5}", code=UNSUPPORTED_PROTOCOL, lasting=True
    )


def subscription_refused(entry: Filter, code: SubAckReasonCode) -> BrokerRefused:
    """The error for a SUBACK that refuses one filter."""
    return _error(f"the broker refused the subscription to {entry.pattern!r}: {_described(code)}", code)


def publish_qos_not_supported() -> BrokerRefused:
    """The error for a CONNACK whose Maximum QoS (3.2.2.3.4) is below `publish.qos`."""
    return BrokerRefused(
        "the broker supports QoS 0 only: set publish.qos to 0", code=QOS_NOT_SUPPORTED, lasting=True
    )


def disconnected(packet: DisconnectPacket) -> BrokerError:
    """The error for a DISCONNECT from the broker."""
    code = packet.reason_code
    text = _described(code, packet.reason_str, packet.server_reference)
    if code == DisconnectReasonCode.SESSION_TAKEN_OVER:
        return SessionTaken(
            f"another client connected with our mqtt.client_id ({text}): give each service its own"
        )
    return _error(f"the broker closed the connection: {text}", code)


def _error(message: str, code: IntEnum) -> BrokerRefused:
    return BrokerRefused(message, code=int(code), lasting=int(code) in _LASTING)


def _described(code: IntEnum, reason: str | None = None, server: str | None = None) -> str:
    """The code by name, the advice, and the broker's own texts."""
    number = int(code)
    text = f"{code.name.lower().replace('_', ' ')} (0x{number:02X})"
    advice = _LASTING.get(number) or _TRANSIENT.get(number)
    if advice:
        text += f"; {advice}"
    for label, value in (("reason string", reason), ("server reference", server)):
        if value:
            text += f"; {label} {value[:TEXT_CHARACTERS_MAX]!r}"
    return text
