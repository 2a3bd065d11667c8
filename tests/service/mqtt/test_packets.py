"""Packets that the client sends: our encoders against those of mqtt5, and the fields that must be set."""

from __future__ import annotations

from typing import Any

import mqtt5
from hypothesis import example, given
from hypothesis import strategies as st
from mqtt5 import DisconnectReasonCode, PubAckPacket, PublishPacket, PubRecPacket, QoS, RetainHandling

from stream_lstm.service.mqtt import ClientOptions, Credentials, Filter, packets
from stream_lstm.service.mqtt.framing import Unreadable
from stream_lstm.service.mqtt.packets import Requested
from stream_lstm.service.mqtt.takeover import ClientSignature, Run
from tests.service.mqtt.peers import Q0, Q1, Q2, published

SIGNATURE = ClientSignature(Run(12, "ab", "stream"), b"key")
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
def test_many_publications_are_encoded_as_mqtt5_encodes_each(
    entries: list[tuple[str, bytes]], retain: bool
) -> None:
    expected = b"".join(published(topic, payload, retain=retain).write() for topic, payload in entries)
    assert packets.publications(entries, retain=retain) == expected


def publish(n: int, qos: QoS) -> PublishPacket:
    return PublishPacket("t", b"", qos=qos, packet_id=None if qos == Q0 else n)


def test_acknowledgements_come_in_the_order_of_the_messages() -> None:
    messages = [publish(9, Q1), publish(1, Q0), publish(65_535, Q2), publish(300, Q1)]
    unreadable = Unreadable(payload=b"", qos=QoS(2), packet_id=5, duplicate=False, retain=False)
    expected = [PubAckPacket(9), PubRecPacket(65_535), PubAckPacket(300), PubRecPacket(5)]
    assert packets.acknowledgements([*messages, unreadable]) == b"".join(p.write() for p in expected)


def test_messages_of_qos_0_give_no_acknowledgements() -> None:
    assert packets.acknowledgements([publish(1, Q0)]) == b""


def test_connect_sets_every_field_with_an_unsuitable_default() -> None:
    connect = read(packets.connect(OPTIONS, CREDENTIALS, Requested(), SIGNATURE))
    assert connect.clean_start is False
    assert connect.receive_max == 65_534
    assert b"\x21\xff\xfe" in packets.connect(
        OPTIONS, CREDENTIALS, Requested(), SIGNATURE
    )  # Receive Maximum, on the wire
    assert connect.session_expiry_interval == 604_800
    assert connect.keep_alive == 30
    assert connect.max_packet_size == 1_048_576
    assert connect.topic_alias_max == 0
    assert (connect.client_id, connect.username, connect.password) == ("stream", "u", b"\0secret\xff")
    will = connect.will
    assert (will.topic, will.payload, will.qos, will.retain) == ("s/status", b"offline", 1, True)
    assert will.user_properties == SIGNATURE.properties


def test_connect_leaves_out_features_that_the_broker_lacks() -> None:
    will = read(packets.connect(OPTIONS, CREDENTIALS, Requested(will_qos=0, retain=False), SIGNATURE)).will
    assert (will.qos, will.retain) == (0, False)


def test_without_a_status_topic_there_is_no_will() -> None:
    assert (
        read(
            packets.connect(ClientOptions(host="h", client_id="c"), CREDENTIALS, Requested(), SIGNATURE)
        ).will
        is None
    )


def test_subscriptions_exclude_our_own_and_retained_messages() -> None:
    wire = packets.subscribe([Filter("a/+", 0), Filter("$share/g/b/#", 2)], retained=False)
    plain, shared = read(wire).topic_filters
    assert (plain.pattern, plain.max_qos, plain.no_local) == ("a/+", 0, True)
    assert plain.retain_handling == RetainHandling.SEND_NEVER
    assert plain.retain_as_published is False
    assert (shared.max_qos, shared.no_local) == (2, False)


def test_retained_messages_are_requested_once_if_set() -> None:
    (entry,) = read(packets.subscribe([Filter("a")], retained=True)).topic_filters
    assert entry.retain_handling == RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS


def test_watched_topics_include_retained_and_our_own_messages() -> None:
    _, status = read(packets.subscribe([Filter("a")], retained=False, watched=[Filter("s", 0)])).topic_filters
    assert (status.pattern, status.max_qos, status.no_local) == ("s", 0, False)
    assert status.retain_handling == RetainHandling.SEND_ALWAYS


def test_small_packets_are_encoded_correctly() -> None:
    assert read(packets.unsubscribe(["a", "b/#"])).patterns == ["a", "b/#"]
    assert read(packets.pubcomp(7)) == mqtt5.PubCompPacket(7)
    assert read(packets.PINGREQ) == mqtt5.PingReqPacket()
    assert read(packets.disconnect()) == mqtt5.DisconnectPacket()
    assert read(packets.disconnect(DisconnectReasonCode.PROTOCOL_ERROR)).reason_code == 0x82
    assert read(packets.status("s", packets.ONLINE, retain=True, signature=SIGNATURE)) == PublishPacket(
        "s", b"online", retain=True, user_properties=SIGNATURE.properties
    )
    assert read(packets.publication("t", b"x", packet_id=5, retain=True, duplicate=True)) == published(
        "t", b"x", qos=Q1, packet_id=5, retain=True, duplicate=True
    )


def test_packets_are_adapted_to_what_the_broker_accepts() -> None:
    entries = [("a", b"x" * n) for n in (1, 200, 2, 20_000)]
    wire = packets.publications(entries, retain=True)
    small = packets.publications([entries[0], entries[2]], retain=False)
    assert packets.adapted(wire, bytes_max=100, retain=False) == (small, 2)
    assert packets.adapted(wire, bytes_max=None, retain=True) == (wire, 0)
