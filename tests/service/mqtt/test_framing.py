"""Framing: one table of packets, whole, cut at every byte, and malformed."""

from __future__ import annotations

from typing import Any

import mqtt5
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mqtt5 import (
    AuthPacket,
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    DisconnectReasonCode,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubAckReasonCode,
    UnsubAckPacket,
    UnsubAckReasonCode,
)

from stream_lstm.service.mqtt import framing
from stream_lstm.service.mqtt.framing import Fault, Framing, Unreadable, frame_bytes
from tests.service.mqtt.peers import Q0, Q1, Q2, message

# mqtt5 reports the exception behind its panic to `sys.unraisablehook`, of which pytest makes a warning.
panics = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TABLE = {
    "connack": ConnAckPacket(session_present=True, receive_max=20, max_qos=Q1, assigned_client_id="x"),
    "refusal": ConnAckPacket(reason_code=ConnAckReasonCode.NOT_AUTHORIZED, reason_str="no"),
    "publish 0": PublishPacket("a/b", b"21.5"),
    "publish 1": PublishPacket("a/b", b"{}", qos=Q1, packet_id=65_535, duplicate=True),
    "publish 2": PublishPacket("a/ä/€/😀", b"\xff\x00", qos=Q2, packet_id=1, retain=True),
    "publish empty": PublishPacket("a", b"", qos=Q1, packet_id=7),
    "publish 127": PublishPacket("a", b"x" * (127 - 4)),
    "publish 128": PublishPacket("a", b"x" * (128 - 4)),
    "publish 16383": PublishPacket("a", b"x" * (16_383 - 4)),
    "publish 16384": PublishPacket("a", b"x" * (16_384 - 4)),
    "publish properties": PublishPacket(
        "a/b",
        b"21.5",
        qos=Q1,
        packet_id=9,
        content_type="text",
        response_topic="r",
        correlation_data=b"\0\1",
        subscription_ids=[1, 300],
        message_expiry_interval=60,
        payload_format_indicator=1,
        user_properties=[("k", "v"), ("k", "w")],
    ),
    "puback": PubAckPacket(3, reason_code=PubAckReasonCode.NO_MATCHING_SUBSCRIBERS),
    "pubrel": PubRelPacket(4),
    "suback": SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE], reason_str="ok"),
    "unsuback": UnsubAckPacket(2, [UnsubAckReasonCode.SUCCESS]),
    "pingresp": PingRespPacket(),
    "disconnect": DisconnectPacket(reason_code=DisconnectReasonCode.SERVER_SHUTTING_DOWN),
    "auth": AuthPacket(authentication_method="m", authentication_data=b"d"),
}


class Taken:
    """A framing, and the packets it decoded."""

    def __init__(self, packet_bytes_max: int = 1_048_576, read_bytes_max: int = 262_144) -> None:
        self.framing = Framing(packet_bytes_max, read_bytes_max=read_bytes_max)
        self.messages: list[Any] = []
        self.controls: list[Any] = []

    def feed(self, content: bytes, *, cut: int = 1 << 62) -> Taken:
        while content:
            room = self.framing.get_buffer()
            piece = content[: min(cut, len(room))]
            room[: len(piece)] = piece
            self.framing.parse(len(piece), self.messages.append, self.controls.append)
            content = content[len(piece) :]
        return self

    @property
    def all(self) -> list[Any]:
        return self.messages + self.controls


@pytest.mark.parametrize("packet", TABLE.values(), ids=TABLE)
def test_every_packet_is_decoded_as_encoded(packet: Any) -> None:
    assert Taken().feed(packet.write()).all == [packet]


@pytest.mark.parametrize("packet", TABLE.values(), ids=TABLE)
def test_a_packet_may_be_cut_at_any_byte(packet: Any) -> None:
    wire = packet.write()
    for at in range(1, len(wire)) if len(wire) < 1_000 else (1, 2, 3, 4, 5, 6, len(wire) - 1):
        taken = Taken().feed(wire[:at])
        assert taken.all == []
        assert taken.feed(wire[at:]).all == [packet]


def test_packets_come_out_in_order_byte_by_byte() -> None:
    wire = b"".join(packet.write() for packet in TABLE.values())
    whole, single = Taken().feed(wire), Taken().feed(wire, cut=1)
    assert single.all == whole.all
    assert len(whole.all) == len(TABLE)


def test_messages_and_other_packets_are_passed_on_in_order() -> None:
    order: list[Any] = []
    both = Framing(1_000)
    wire = message(1) + PingRespPacket().write() + message(2)
    both.get_buffer()[: len(wire)] = wire
    both.parse(len(wire), order.append, order.append)
    assert [type(packet) for packet in order] == [PublishPacket, PingRespPacket, PublishPacket]


@pytest.mark.parametrize("cut", [1 << 20, 1_000, 7])
def test_a_burst_of_small_messages_is_decoded_whole(cut: int) -> None:
    wire = b"".join(message(n, Q0) for n in range(1, 1_001))
    taken = Taken().feed(wire, cut=cut)
    assert [m.payload for m in taken.messages] == [b"%d" % n for n in range(1, 1_001)]


def sized(total: int) -> bytes:
    """A PUBLISH of so many bytes, header included."""
    packets = (PublishPacket("a", b"x" * (total - header - 4)).write() for header in (2, 3, 4, 5))
    return next(packet for packet in packets if len(packet) == total)


@pytest.mark.parametrize("limit", [128, 4_096, 300_000, 1_048_576])
@pytest.mark.parametrize("cut", [1 << 20, 65_536])
def test_a_packet_of_the_limit_is_accepted_and_one_byte_more_is_not(limit: int, cut: int) -> None:
    taken = Taken(limit).feed(message(1) + sized(limit) + message(2), cut=cut)
    assert len(taken.messages) == 3
    with pytest.raises(Fault, match="at most") as caught:
        Taken(limit).feed(sized(limit + 1), cut=cut)
    assert caught.value.code == DisconnectReasonCode.PACKET_TOO_LARGE


def test_a_packet_that_is_too_large_is_a_fault_from_its_header_on() -> None:
    wire = PublishPacket("a", b"x" * 2_000).write()
    with pytest.raises(Fault):
        Taken(1_000).feed(wire[:3])


def test_a_large_packet_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(view: memoryview) -> Any:
        calls.append(len(view))
        return mqtt5.read(view)

    monkeypatch.setattr(framing, "read", counted)
    wire = PublishPacket("a", b"x" * 1_000_000).write()
    taken = Taken().feed(wire, cut=1_000)
    assert len(taken.messages) == 1
    assert len(calls) == 2  # once for the header, once for the complete packet


def test_packets_before_a_fault_are_passed_on() -> None:
    taken = Taken()
    with pytest.raises(Fault):
        taken.feed(message(1) + PingRespPacket().write() + b"\x00\x00")
    assert len(taken.messages) == len(taken.controls) == 1


MALFORMED = {
    "type 0": "00 00",
    "endless length": "30 ff ff ff ff 7f",
    "overlong length": "30 85 00 00 01 61 00 78",
    "qos 3": "36 06 00 01 61 00 01 00",
    "empty frame": "30 00",
    "topic beyond the packet": "30 05 00 09 61 00 00",
    "topic beyond, more bytes behind": "30 05 00 09 61 00 00 30 05 00 01 61 00 78",
    "properties beyond the packet": "30 05 00 01 61 09 01 30 05 00 01 61 00 78",
    "unknown property": "30 07 00 01 61 03 7f 00 01",
    "property twice": "30 09 00 01 61 04 01 00 01 00 78",
    "alias 0": "30 07 00 01 61 03 23 00 00",
    "no topic, no alias": "30 03 00 00 00",
    "no packet id": "32 04 00 01 61 00",
    "flags of pingresp": "d1 00",
    "pingresp with content": "d0 01 00",
    "flags of pubrel": "60 02 00 01",
    "connack of 3.1.1": "20 02 00 00",
    "reserved connack flags": "20 03 02 00 00",
    "unknown reason": "20 03 00 01 00",
    "receive maximum 0": "20 06 00 00 03 21 00 00",
    "text is not UTF-8": "20 08 00 00 05 1f 00 02 ff fe",
}


@panics
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("cut", [1 << 20, 1])
def test_a_malformed_packet_is_a_fault(wire: str, cut: int) -> None:
    with pytest.raises(Fault) as caught:
        Taken().feed(bytes.fromhex(wire), cut=cut)
    assert caught.value.code == DisconnectReasonCode.MALFORMED_PACKET


def test_a_field_that_exceeds_its_packet_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbounded(view: memoryview) -> Any:
        raise IndexError

    monkeypatch.setattr(framing, "read", unbounded)
    with pytest.raises(Fault, match="a field exceeds its packet"):
        Taken().feed(message(1))


def test_a_topic_alias_is_a_fault_as_none_is_allowed() -> None:
    with pytest.raises(Fault) as caught:
        Taken().feed(bytes.fromhex("30 06 00 00 03 23 00 01"))
    assert caught.value.code == DisconnectReasonCode.TOPIC_ALIAS_INVALID


LATIN = b"sensors/\xb0C"  # "sensors/°C" in Latin-1


def unreadable(n: int, qos: int = 1, *, flags: int = 0, topic: bytes = LATIN) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (n.to_bytes(2, "big") if qos else b"") + b"\0" + b"%d" % n
    return bytes([0x30 | qos << 1 | flags, len(body)]) + body


@panics
@pytest.mark.parametrize("cut", [1 << 20, 1])
def test_a_message_whose_topic_is_not_utf_8_does_not_stop_the_others(cut: int) -> None:
    wire = message(1) + unreadable(2, flags=9) + message(3) + unreadable(4, 0) + unreadable(5, 2) + message(6)
    taken = Taken().feed(wire, cut=cut)
    assert [m.packet_id for m in taken.messages] == [1, 2, 3, None, 5, 6]
    assert [m.topic for m in taken.messages] == ["sensors/a", "", "sensors/a", "", "", "sensors/a"]
    second = taken.messages[1]
    assert type(second) is Unreadable
    assert (second.qos, second.duplicate, second.retain) == (1, True, True)
    assert second.payload == LATIN + b"\x002"
    assert taken.messages[3].qos == 0


@panics
def test_after_the_first_such_message_the_decoder_does_not_panic_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    taken = Taken().feed(unreadable(1))
    assert capfd.readouterr().err
    taken.feed(unreadable(2) + message(3) + unreadable(4) + PingRespPacket().write(), cut=3)
    assert len(taken.all) == 5
    assert capfd.readouterr().err == ""


@panics
@pytest.mark.parametrize("wire", [*MALFORMED.values(), "32 05 00 02 ff fe 00", "30 80 80 00"])
def test_malformed_packets_are_faults_after_such_a_message_too(wire: str) -> None:
    with pytest.raises(Fault):
        Taken().feed(unreadable(1) + bytes.fromhex(wire))


@panics
def test_a_message_whose_properties_are_not_utf_8_is_passed_on_as_well() -> None:
    body = b"\0\1a" + b"\x05\x03\x00\x02\xff\xfe" + b"21.5"
    taken = Taken().feed(bytes([0x30, len(body)]) + body)
    assert taken.messages[0].payload == b"a" + body[3:]


def test_other_exceptions_of_the_decoder_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(view: memoryview) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(framing, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Taken().feed(message(1))


def test_the_size_of_a_packet_comes_from_its_header() -> None:
    for packet in TABLE.values():
        wire = packet.write()
        sizes = {frame_bytes(wire[:n]) for n in range(min(len(wire), 6) + 1)}
        assert sizes - {0} == {len(wire)}


VALID = [packet.write() for packet in TABLE.values() if len(packet.write()) < 1_000]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid packets with bytes changed, removed and inserted, or any bytes."""
    wire = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        if wire:
            at = draw(st.integers(0, len(wire) - 1))
            wire[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(wire) + draw(st.binary(max_size=8))


@panics
@settings(max_examples=400, deadline=None)
@given(mutated(), st.integers(1, 64))
@example(b"\x30\x80\x80\x00", 1)
@example(unreadable(1) + b"\x30\x80\x80\x00", 64)
def test_any_bytes_give_packets_or_a_fault_however_they_are_cut(wire: bytes, cut: int) -> None:
    results = []
    for size in (cut, 1 << 20):
        taken = Taken(512, read_bytes_max=64)
        size_before = len(taken.framing._buffer)
        try:
            taken.feed(wire, cut=size)
            fault = None
        except Fault as caught:
            fault = int(caught.code)
        assert len(taken.framing._buffer) == size_before
        results.append((taken.messages, taken.controls, fault))
    assert results[0] == results[1]


def test_a_qos_of_the_decoder_is_truthy_even_at_0() -> None:
    assert bool(QoS(0)) is True  # so no code may test `if message.qos`
