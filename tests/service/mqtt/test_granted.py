"""Features that a broker grants, and the warnings about those it does not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
)

from stream_lstm.service.mqtt import ClientOptions, Filter
from stream_lstm.service.mqtt.granted import Granted, evaluate
from stream_lstm.service.mqtt.packets import Requested
from tests.service.mqtt.peers import Q0

FILTERS = [Filter("sensors/#", 1), Filter("$share/g/plant/+", 2)]


def made(
    qos: tuple[int, ...] = (1, 2),
    *,
    expected: bool = False,
    requested: Requested | None = None,
    asked: dict[str, Any] | None = None,
    **answer: Any,
) -> Granted:
    options = ClientOptions(
        **{"host": "h", "client_id": "c", "filters": FILTERS, "status_topic": "s", **(asked or {})}
    )
    return evaluate(
        options,
        ConnAckPacket(**answer),
        qos,
        connection=3,
        requested=requested or Requested(),
        session_expected=expected,
    )


def test_a_broker_that_grants_everything_gives_no_findings() -> None:
    found = made(session_present=True, expected=True, receive_max=20)
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
        identifiers_available=True,
        subscriptions=(("sensors/#", 1), ("$share/g/plant/+", 2)),
        findings=[],
    )


@pytest.mark.parametrize(
    ("grants", "finding"),
    [
        ({"expected": True}, "has lost the session: events sent since .* may be missing"),
        (
            {"session_expiry_interval": 0},
            "keeps no session: events sent while the service is disconnected are lost",
        ),
        ({"session_expiry_interval": 3_600}, "for 3600 s, not 604800 s"),
        ({"qos": (0, 2)}, "QoS 0 to 'sensors/#', not 1: events are lost"),
        ({"qos": (1, 1)}, r"QoS 1 to '\$share/g/plant/\+', not 2: a message may arrive twice"),
        ({"retain_available": False}, "does not support retained messages"),
        ({"requested": Requested(retain=False)}, "does not support retained messages"),
        ({"max_packet_size": 1_000}, "at most 1000 bytes: larger predictions are dropped"),
        ({"server_keep_alive": 10}, "keep-alive of 10 s"),
    ],
)
def test_each_missing_feature_is_one_finding(grants: dict[str, Any], finding: str) -> None:
    found = made(**grants)
    assert len(found.findings) == 1
    assert re.search(finding, found.findings[0])


def test_a_missing_session_that_was_not_expected_is_no_finding() -> None:
    assert made(session_present=False).findings == []
    assert made(session_present=True, expected=True).findings == []


def test_more_than_requested_is_no_finding() -> None:
    found = made(
        qos=(2, 2),
        max_packet_size=268_435_460,
        session_expiry_interval=604_801,
        asked={"status_topic": ""},
        retain_available=False,
    )
    assert found.findings == []
    assert found.retain_available is False


@pytest.mark.parametrize(("theirs", "used"), [(None, 30), (0, 30), (10, 10), (65_535, 30)])
def test_the_shorter_keep_alive_is_used(theirs: int | None, used: int) -> None:
    assert made(server_keep_alive=theirs).keep_alive_seconds == used


def test_limits_of_the_broker_are_taken_over() -> None:
    found = made(max_qos=Q0, wildcard_subscription_available=False, shared_subscription_available=False)
    assert (found.max_qos, found.wildcard_available, found.shared_available) == (0, False, False)


def test_overlapping_filters_without_identifiers_are_told() -> None:
    filters = [Filter("sensors/#", 1), Filter("home/+", 1), Filter("sensors/+/v", 1)]
    asked = {"filters": filters}
    assert made(asked=asked, qos=(1, 1, 1)).findings == []
    (told,) = made(asked=asked, qos=(1, 1, 1), subscription_id_available=False).findings
    assert "'sensors/#' and 'sensors/+/v' overlap" in told
