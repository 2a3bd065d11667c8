"""What we send: our quick encoders against mqtt5's, and every packet against the rules that it must keep."""

from __future__ import annotations

from typing import Any

import mqtt5
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mqtt5 import DisconnectReasonCode, PubAckPacket, PublishPacket, PubRecPacket, QoS, RetainHandling

from stream_lstm.service.mqtt import ClientOptions, Credentials, Filter, packets
from stream_lstm.service.mqtt.framing import Unreadable
from stream_lstm.service.mqtt.packets import Terms
from stream_lstm.service.mqtt.takeover import ClientSignature
from tests.service.mqtt.peers import Q0, Q1, Q2

MARK = ClientSignature(12, "ab", "stream")
OPTIONS = ClientOptions(host="h", client_id="stream", status_topic="s/status")
CREDENTIALS = Credentials("u", b"\0secret\xff")


def read(wire: bytes) -> Any:
    packet, size = mqtt5.read(memoryview(wire))
    assert size == len(wire)
    return packet


topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=40)


@given(st.lists(st.tuples(topics, st.binary(max_size=300))), st.booleans())
@example([("a", b"x" * n) for n in (0, 120, 122, 123, 124, 125, 2_042, 2_043, 2_044, 2_045, 16_400)], False)
@example([("ä" * 1_100, b"")], True)
@example([("a" * 65_535, b"x" * 70_000)], True)
def test_many_publications_are_encoded_as_mqtt5_does_each(
    entries: list[tuple[str, bytes]], retain: bool
) -> None:
    expected = b"".join(PublishPacket(topic, payload, retain=retain).write() for topic, payload in entries)
    assert packets.publications(entries, retain=retain) == expected


def publish(n: int, qos: QoS) -> PublishPacket:
    return PublishPacket("t", b"", qos=qos, packet_id=None if qos == Q0 else n)


def test_acknowledgements_come_in_the_order_of_the_messages() -> None:
    messages = [publish(9, Q1), publish(1, Q0), publish(65_535, Q2), publish(300, Q1)]
    stand_in = Unreadable(payload=b"", qos=QoS(2), packet_id=5, duplicate=False, retain=False)
    expected = [PubAckPacket(9), PubRecPacket(65_535), PubAckPacket(300), PubRecPacket(5)]
    assert packets.acknowledgements([*messages, stand_in]) == b"".join(p.write() for p in expected)


def test_nothing_to_acknowledge_is_nothing() -> None:
    assert packets.acknowledgements([publish(1, Q0)]) == b""


def test_connect_says_everything_that_has_a_dangerous_default() -> None:
    connect = read(packets.connect(OPTIONS, CREDENTIALS, Terms(), MARK))
    assert connect.clean_start is False
    assert connect.receive_max == 65_534
    assert b"\x21\xff\xfe" in packets.connect(
        OPTIONS, CREDENTIALS, Terms(), MARK
    )  # Receive Maximum, on the wire
    assert connect.session_expiry_interval == 604_800
    assert connect.keep_alive == 30
    assert connect.max_packet_size == 1_048_576
    assert connect.topic_alias_max == 0
    assert (connect.client_id, connect.username, connect.password) == ("stream", "u", b"\0secret\xff")
    will = connect.will
    assert (will.topic, will.payload, will.qos, will.retain) == ("s/status", b"offline", 1, True)
    assert will.user_properties == [("owner", "12 ab stream")]


def test_connect_asks_for_less_where_it_must() -> None:
    will = read(packets.connect(OPTIONS, CREDENTIALS, Terms(will_qos=0, retain=False), MARK)).will
    assert (will.qos, will.retain) == (0, False)


def test_without_a_status_topic_there_is_no_will() -> None:
    assert (
        read(packets.connect(ClientOptions(host="h", client_id="c"), CREDENTIALS, Terms(), MARK)).will is None
    )


def test_subscriptions_ask_for_no_copies_of_our_own_and_nothing_retained() -> None:
    wire = packets.subscribe([Filter("a/+", 0), Filter("$share/g/b/#", 2)], retained=False)
    plain, shared = read(wire).topic_filters
    assert (plain.pattern, plain.max_qos, plain.no_local) == ("a/+", 0, True)
    assert plain.retain_handling == RetainHandling.SEND_NEVER
    assert plain.retain_as_published is False
    assert (shared.max_qos, shared.no_local) == (2, False)


def test_what_is_retained_is_asked_for_once_if_wanted() -> None:
    (entry,) = read(packets.subscribe([Filter("a")], retained=True)).topic_filters
    assert entry.retain_handling == RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS


def test_what_is_watched_is_read_each_time_and_heard_even_from_our_own_id() -> None:
    _, status = read(packets.subscribe([Filter("a")], retained=False, watched=[Filter("s", 0)])).topic_filters
    assert (status.pattern, status.max_qos, status.no_local) == ("s", 0, False)
    assert status.retain_handling == RetainHandling.SEND_ALWAYS


def test_the_small_packets_are_what_they_should_be() -> None:
    assert read(packets.unsubscribe(["a", "b/#"])).patterns == ["a", "b/#"]
    assert read(packets.pubcomp(7)) == mqtt5.PubCompPacket(7)
    assert read(packets.PINGREQ) == mqtt5.PingReqPacket()
    assert read(packets.disconnect()) == mqtt5.DisconnectPacket()
    assert read(packets.disconnect(DisconnectReasonCode.PROTOCOL_ERROR)).reason_code == 0x82
    assert read(packets.status("s", packets.ONLINE, retain=True, mark=MARK)) == PublishPacket(
        "s", b"online", retain=True, user_properties=[("owner", "12 ab stream")]
    )
    assert read(packets.publication("t", b"x", packet_id=5, retain=True, duplicate=True)) == PublishPacket(
        "t", b"x", qos=Q1, packet_id=5, retain=True, duplicate=True
    )


def test_packets_are_adapted_to_a_broker_of_little_means() -> None:
    entries = [("a", b"x" * n) for n in (1, 200, 2, 20_000)]
    wire = packets.publications(entries, retain=True)
    small = packets.publications([entries[0], entries[2]], retain=False)
    assert packets.adapted(wire, bytes_max=100, retain=False) == (small, 2)
    assert packets.adapted(wire, bytes_max=None, retain=True) == (wire, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"keep_alive_seconds": 0}, "keep_alive"),
        ({"receive_maximum": 65_535}, "receive_maximum"),
        ({"packet_bytes_max": 127}, "packet_bytes_max"),
        ({"backoff_seconds_min": 40.0}, "backoff"),
        ({"inbox_messages_max": 0}, "limit"),
    ],
)
def test_options_that_cannot_work_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ClientOptions(host="h", client_id="c", **change)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(CREDENTIALS)
