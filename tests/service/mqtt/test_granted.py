"""What a broker grants and what that would lose; what its refusals say to a user."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    DisconnectReasonCode,
    SubAckReasonCode,
)

from stream_lstm.errors import BrokerRefused, SessionTaken
from stream_lstm.service.mqtt import ClientOptions, Filter, reason_codes
from stream_lstm.service.mqtt.granted import Granted, evaluate
from stream_lstm.service.mqtt.packets import Terms
from tests.service.mqtt.peers import Q0

FILTERS = [Filter("sensors/#", 1), Filter("$share/g/plant/+", 2)]


def verdict(
    granted: tuple[int, int] = (1, 2),
    *,
    expected: bool = False,
    terms: Terms | None = None,
    asked: dict[str, Any] | None = None,
    **answer: Any,
) -> Granted:
    options = ClientOptions(
        **{"host": "h", "client_id": "c", "filters": FILTERS, "status_topic": "s", **(asked or {})}
    )
    return evaluate(
        options,
        ConnAckPacket(**answer),
        granted,
        connection=3,
        terms=terms or Terms(),
        session_expected=expected,
    )


def test_a_broker_that_grants_everything_gives_no_findings() -> None:
    found = verdict(session_present=True, expected=True, receive_max=20)
    assert found == Granted(
        connection=3,
        session_present=True,
        session_expiry_seconds=604_800,
        receive_maximum=20,
        packet_bytes_max=None,
        max_qos=2,
        retain_available=True,
        keep_alive_seconds=30,
        wildcard_available=True,
        shared_available=True,
        granted=(("sensors/#", 1), ("$share/g/plant/+", 2)),
        findings=[],
    )


@pytest.mark.parametrize(
    ("grants", "finding"),
    [
        ({"expected": True}, "no longer has our session: events sent since .* may be missing"),
        ({"session_expiry_interval": 0}, "keeps no session: events sent while we are away are lost"),
        ({"session_expiry_interval": 3_600}, "for 3600 s, not 604800 s"),
        ({"granted": (0, 2)}, "QoS 0 to 'sensors/#', not 1: events are lost"),
        ({"granted": (1, 1)}, r"QoS 1 to '\$share/g/plant/\+', not 2: an event may come twice"),
        ({"retain_available": False}, "retains nothing"),
        ({"terms": Terms(retain=False)}, "retains nothing"),
        ({"max_packet_size": 1_000}, "at most 1000 bytes: larger predictions are left out"),
        ({"server_keep_alive": 10}, "keep-alive of 10 s"),
    ],
)
def test_what_costs_something_is_said_in_one_sentence(grants: dict[str, Any], finding: str) -> None:
    found = verdict(**grants)
    assert len(found.findings) == 1
    assert re.search(finding, found.findings[0])


def test_a_session_that_was_not_expected_is_not_missed() -> None:
    assert verdict(session_present=False).findings == []
    assert verdict(session_present=True, expected=True).findings == []


def test_more_than_was_asked_for_is_no_finding() -> None:
    found = verdict(
        granted=(2, 2),
        max_packet_size=268_435_460,
        session_expiry_interval=604_801,
        asked={"status_topic": ""},
        retain_available=False,
    )
    assert found.findings == []
    assert found.retain_available is False


@pytest.mark.parametrize(("theirs", "taken"), [(None, 30), (0, 30), (10, 10), (65_535, 30)])
def test_the_shorter_keep_alive_counts(theirs: int | None, taken: int) -> None:
    assert verdict(server_keep_alive=theirs).keep_alive_seconds == taken


def test_what_the_broker_limits_is_told() -> None:
    found = verdict(max_qos=Q0, wildcard_subscription_available=False, shared_subscription_available=False)
    assert (found.max_qos, found.wildcard_available, found.shared_available) == (0, False, False)


LASTING = {0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x9C, 0x9D}


def codes(kind: Any) -> list[Any]:
    return [getattr(kind, name) for name in dir(kind) if name.isupper() and int(getattr(kind, name))]


@pytest.mark.parametrize("code", codes(ConnAckReasonCode), ids=lambda code: code.name)
def test_every_refusal_of_connack_is_named(code: Any) -> None:
    error = reason_codes.refused(
        ConnAckPacket(reason_code=code, reason_str="because", server_reference="b:1")
    )
    assert isinstance(error, BrokerRefused)
    assert error.code == int(code)
    assert error.lasting is (int(code) in LASTING)
    text = str(error)
    assert f"{code.name.lower().replace('_', ' ')} (0x{int(code):02X})" in text
    assert "it says 'because'; it names 'b:1'" in text


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
def test_a_refusal_says_what_to_do(code: Any, advice: str) -> None:
    assert advice in str(reason_codes.refused(ConnAckPacket(reason_code=code)))


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
    error = reason_codes.not_granted(FILTERS[1], code)
    assert "'$share/g/plant/+'" in str(error)
    assert error.lasting is lasting


@pytest.mark.parametrize("code", codes(DisconnectReasonCode), ids=lambda code: code.name)
def test_every_disconnect_is_named(code: Any) -> None:
    error = reason_codes.dismissed(DisconnectPacket(reason_code=code))
    assert f"{code.name.lower().replace('_', ' ')} (0x{int(code):02X})" in str(error)
    if code == DisconnectReasonCode.SESSION_TAKEN_OVER:
        assert isinstance(error, SessionTaken)
        assert "mqtt.client_id" in str(error)
    else:
        assert isinstance(error, BrokerRefused)


def test_a_normal_farewell_lasts_no_longer_than_another_attempt() -> None:
    error = reason_codes.dismissed(DisconnectPacket())
    assert isinstance(error, BrokerRefused)
    assert "normal disconnection (0x00)" in str(error)
    assert not error.lasting


def test_what_the_broker_says_is_cut_and_quoted() -> None:
    said = "x\n" * 5_000
    error = reason_codes.refused(
        ConnAckPacket(reason_code=ConnAckReasonCode.UNSPECIFIED_ERROR, reason_str=said)
    )
    assert "\n" not in str(error)
    assert len(str(error)) < 500


def test_a_broker_without_qos_1_is_told_apart() -> None:
    error = reason_codes.publishes_at_0_only()
    assert error.lasting
    assert "publish.qos" in str(error)
