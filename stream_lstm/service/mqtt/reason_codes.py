"""What a broker's reason codes mean to the operator: one table, and errors made of it.

Standard: MQTT 5.0, sections 2.4, 3.2.2.2 (CONNACK), 3.9.3 (SUBACK), 3.14.2.1 (DISCONNECT).
"""

from __future__ import annotations

from enum import IntEnum

from mqtt5 import ConnAckPacket, ConnAckReasonCode, DisconnectPacket, DisconnectReasonCode, SubAckReasonCode

from stream_lstm.errors import BrokerError, BrokerRefused, SessionTaken
from stream_lstm.service.mqtt.options import Filter

REFUSED = 0x80  # from here on a reason code is a failure (section 2.4)
TEXT_CHARACTERS_MAX = 200  # of what the broker says itself
NO_RETAIN = int(ConnAckReasonCode.RETAIN_NOT_SUPPORTED)
NO_QOS = int(ConnAckReasonCode.QUALITY_NOT_SUPPORTED)

# What to do about it. These last: no retry helps until somebody changes something.
_LASTING = {
    0x81: "the broker cannot read what we send: does it speak MQTT 5?",
    0x82: "the broker does not accept what we send: does it speak MQTT 5?",
    0x84: "it does not speak MQTT 5: use one that does (mosquitto from 1.6, EMQX, HiveMQ, VerneMQ)",
    0x85: "set mqtt.client_id to a name that the broker allows",
    0x86: "check mqtt.username and mqtt.password",
    0x87: "check mqtt.username, mqtt.password and the broker's access rules",
    0x8A: "the broker's operator has banned this client",
    0x8C: "the broker wants another way to sign in than user name and password",
    0x8F: "correct the topic of this subscription",
    0x90: "we may not publish to a topic that is set: check mqtt.status_topic and publish.topic",
    0x9C: "set mqtt.url to the server that it names",
    0x9D: "set mqtt.url to the server that it names",
    0x9E: "the broker has no shared subscriptions: subscribe without $share",
    0xA2: "the broker allows no wildcards: name the topics",
}
_PASSING = {
    0x88: "the broker is not available yet",
    0x89: "the broker is busy",
    0x8B: "the broker is shutting down",
    0x8D: "the broker heard nothing from us in time",
    0x93: "the broker counts more unconfirmed publications than it allows",
    0x95: "a packet of ours is larger than the broker takes",
    0x96: "the broker finds that we publish too much",
    0x97: "a quota of the broker is used up: raise it there",
    0x98: "the broker's operator closed the connection",
    0x9A: "it retains nothing; from now on we do not ask it to",
    0x9B: "it does not offer QoS 1; from now on our will asks for QoS 0",
    0x9F: "the broker limits how often clients connect",
    0xA0: "the broker limits how long clients stay",
}


def refused(answer: ConnAckPacket) -> BrokerRefused:
    """A CONNACK that says no."""
    words = _words(answer.reason_code, answer.reason_str, answer.server_reference)
    return _refusal(f"the broker refused the connection: {words}", answer.reason_code)


def not_granted(entry: Filter, code: SubAckReasonCode) -> BrokerRefused:
    """A SUBACK that says no to one filter."""
    return _refusal(f"the broker refused the subscription to {entry.pattern!r}: {_words(code)}", code)


def publishes_at_0_only() -> BrokerRefused:
    """A CONNACK whose Maximum QoS (3.2.2.3.4) is below what we are to publish at."""
    return BrokerRefused("the broker takes QoS 0 only: set publish.qos to 0", code=NO_QOS, lasting=True)


def dismissed(farewell: DisconnectPacket) -> BrokerError:
    """The broker's DISCONNECT."""
    code = farewell.reason_code
    words = _words(code, farewell.reason_str, farewell.server_reference)
    if code == DisconnectReasonCode.SESSION_TAKEN_OVER:
        return SessionTaken(
            f"another client connected with our mqtt.client_id ({words}): give each service one of its own"
        )
    return _refusal(f"the broker closed the connection: {words}", code)


def _refusal(message: str, code: IntEnum) -> BrokerRefused:
    return BrokerRefused(message, code=int(code), lasting=int(code) in _LASTING)


def _words(code: IntEnum, said: str | None = None, server: str | None = None) -> str:
    """The code by name, what to do about it, and what the broker says itself."""
    number = int(code)
    text = f"{code.name.lower().replace('_', ' ')} (0x{number:02X})"
    advice = _LASTING.get(number) or _PASSING.get(number)
    if advice:
        text += f"; {advice}"
    for label, value in (("it says", said), ("it names", server)):
        if value:
            text += f"; {label} {value[:TEXT_CHARACTERS_MAX]!r}"
    return text
