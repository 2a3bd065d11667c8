"""Reason codes of a broker as errors, with advice for the operator."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import ConnAckPacket, ConnAckReasonCode, DisconnectPacket, DisconnectReasonCode, SubAckReasonCode

from stream_lstm.errors import BrokerRefused, SessionTaken
from stream_lstm.service.mqtt import Filter, reason_codes

LASTING = {0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x9C, 0x9D}


def codes(kind: Any) -> list[Any]:
    return [getattr(kind, name) for name in dir(kind) if name.isupper() and int(getattr(kind, name))]


@pytest.mark.parametrize("code", codes(ConnAckReasonCode), ids=lambda code: code.name)
def test_every_code_of_connack_is_named(code: Any) -> None:
    error = reason_codes.connection_refused(
        ConnAckPacket(reason_code=code, reason_str="because", server_reference="b:1")
    )
    assert isinstance(error, BrokerRefused)
    assert error.code == int(code)
    assert error.lasting is (int(code) in LASTING)
    text = str(error)
    assert f"{code.name.lower().replace('_', ' ')} (0x{int(code):02X})" in text
    assert "reason string 'because'; server reference 'b:1'" in text


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "check mqtt.username and mqtt.password"),
        (ConnAckReasonCode.NOT_AUTHORIZED, "mqtt.username"),
        (ConnAckReasonCode.CLIENT_ID_NOT_VALID, "set mqtt.client_id"),
        (ConnAckReasonCode.BANNED, "banned"),
        (ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "does not speak MQTT 5"),
        (ConnAckReasonCode.SERVER_MOVED, "set mqtt.url"),
        (ConnAckReasonCode.SERVER_BUSY, "busy"),
        (ConnAckReasonCode.QUOTA_EXCEEDED, "quota"),
    ],
)
def test_a_refused_connection_comes_with_advice(code: Any, advice: str) -> None:
    assert advice in str(reason_codes.connection_refused(ConnAckPacket(reason_code=code)))


@pytest.mark.parametrize(
    ("code", "lasting"),
    [
        (SubAckReasonCode.NOT_AUTHORIZED, True),
        (SubAckReasonCode.TOPIC_FILTER_INVALID, True),
        (SubAckReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, True),
        (SubAckReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, True),
        (SubAckReasonCode.QUOTA_EXCEEDED, False),
        (SubAckReasonCode.UNSPECIFIED_ERROR, False),
    ],
)
def test_a_refused_subscription_names_its_filter(code: Any, lasting: bool) -> None:
    error = reason_codes.subscription_refused(Filter("$share/g/plant/+", 2), code)
    assert "'$share/g/plant/+'" in str(error)
    assert error.lasting is lasting


@pytest.mark.parametrize("code", codes(DisconnectReasonCode), ids=lambda code: code.name)
def test_every_code_of_disconnect_is_named(code: Any) -> None:
    error = reason_codes.disconnected(DisconnectPacket(reason_code=code))
    assert f"{code.name.lower().replace('_', ' ')} (0x{int(code):02X})" in str(error)
    if code == DisconnectReasonCode.SESSION_TAKEN_OVER:
        assert isinstance(error, SessionTaken)
        assert "mqtt.client_id" in str(error)
    else:
        assert isinstance(error, BrokerRefused)


def test_a_normal_disconnection_is_not_lasting() -> None:
    error = reason_codes.disconnected(DisconnectPacket())
    assert isinstance(error, BrokerRefused)
    assert "normal disconnection (0x00)" in str(error)
    assert not error.lasting


def test_texts_of_the_broker_are_shortened_and_quoted() -> None:
    text = "x\n" * 5_000
    error = reason_codes.connection_refused(
        ConnAckPacket(reason_code=ConnAckReasonCode.UNSPECIFIED_ERROR, reason_str=text)
    )
    assert "\n" not in str(error)
    assert len(str(error)) < 500


def test_a_broker_without_qos_1_names_the_setting() -> None:
    error = reason_codes.publish_qos_not_supported()
    assert error.lasting
    assert "publish.qos" in str(error)
