"""One connection without a socket: what a broker may say, when, and what happens if it says anything else."""

from __future__ import annotations

import asyncio
from typing import Any

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PublishPacket,
    PubRelPacket,
    SubAckPacket,
    SubAckReasonCode,
    UnsubAckPacket,
    UnsubAckReasonCode,
)

from stream_lstm.errors import BrokerError, BrokerRefused, ProtocolError, SessionTaken
from stream_lstm.service.mqtt.connection import Connection
from tests.service.mqtt.peers import Q0, Q1, Wire, message, until
from tests.service.mqtt.test_framing import MALFORMED, mutated, panics

CONNACK = ConnAckPacket().write()
PINGRESP = PingRespPacket().write()
SUBACK = SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE])


class Owner:
    """Remembers what a connection tells it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.reads: list[int] = []
        self.acknowledgements: list[tuple[int, bool]] = []
        self.moves = 0

    def arrived(self, messages: list[Any], wire_bytes: int) -> None:
        self.messages += messages
        self.reads.append(wire_bytes)

    def acknowledged(self, packet_id: int, *, taken: bool) -> None:
        self.acknowledgements.append((packet_id, taken))

    def moved(self) -> None:
        self.moves += 1


def made(*, packet_bytes_max: int = 100_000, answer_seconds_max: float = 5.0) -> tuple[Any, Wire, Owner]:
    owner = Owner()
    connection = Connection(owner, packet_bytes_max=packet_bytes_max, answer_seconds_max=answer_seconds_max)
    return connection, Wire(connection), owner


async def welcomed(**limits: Any) -> tuple[Any, Wire, Owner]:
    """A connection whose CONNACK has come."""
    connection, wire, owner = made(**limits)
    asking = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    wire.feed(CONNACK)
    await asking
    wire.written.clear()
    return connection, wire, owner


async def test_questions_are_answered_even_behind_messages() -> None:
    connection, wire, owner = await welcomed()
    asking = asyncio.create_task(connection.subscribe(b"\x82\x00"))
    await asyncio.sleep(0)
    assert wire.written == b"\x82\x00"
    wire.feed(message(1) + SUBACK.write() + message(2))
    assert await asking == SUBACK
    assert [m.packet_id for m in owner.messages] == [1, 2]
    asking = asyncio.create_task(connection.unsubscribe(b"\xa2\x00"))
    await asyncio.sleep(0)
    answer = UnsubAckPacket(2, [UnsubAckReasonCode.SUCCESS])
    wire.feed(answer.write())
    assert await asking == answer


@pytest.mark.parametrize("cut", [1 << 20, 3])
async def test_messages_may_follow_connack_at_once(cut: int) -> None:
    connection, wire, owner = made()
    asking = asyncio.create_task(connection.connect(b"\x10\x00"))
    await asyncio.sleep(0)
    wire.feed(CONNACK + message(1) + message(2), cut=cut)
    assert not (await asking).session_present
    assert [m.packet_id for m in owner.messages] == [1, 2]


@pytest.mark.parametrize(
    "wire", [message(1) + CONNACK, PINGRESP, DisconnectPacket().write(), b"HTTP/1.1 400 Bad Request\r\n" * 5]
)
@pytest.mark.parametrize("cut", [1 << 20, 1])
async def test_a_broker_says_connack_first(wire: bytes, cut: int) -> None:
    connection, transport, owner = made()
    asking = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    transport.feed(wire, cut=cut)
    with pytest.raises(ProtocolError, match="does it speak MQTT 5 on this port"):
        await asking
    assert transport.closed
    assert owner.messages == []


UNEXPECTED = {
    "second connack": CONNACK,
    "suback unasked": SUBACK.write(),
    "pingresp unasked": PINGRESP,
    "connect": mqtt5.ConnectPacket("c").write(),
    "pubrec": mqtt5.PubRecPacket(1).write(),
    "pubcomp": PubCompPacket(1).write(),
    "subscribe": mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write(),
    "unsubscribe": mqtt5.UnsubscribePacket(1, ["a"]).write(),
    "pingreq": PingReqPacket().write(),
    "auth": mqtt5.AuthPacket(authentication_method="m").write(),
}


@pytest.mark.parametrize("wire", UNEXPECTED.values(), ids=UNEXPECTED)
async def test_what_a_broker_may_not_send_ends_the_connection(wire: bytes) -> None:
    connection, transport, owner = await welcomed()
    transport.feed(message(1) + wire + message(2))
    why = await connection.ended
    assert isinstance(why, ProtocolError)
    assert "protocol error" in str(why)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.PROTOCOL_ERROR)]
    assert transport.closed
    assert [m.packet_id for m in owner.messages] == [1]
    assert owner.moves


@panics
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_bytes_end_the_connection_and_the_broker_is_told(wire: str) -> None:
    connection, transport, owner = await welcomed()
    transport.feed(message(1) + bytes.fromhex(wire))
    assert isinstance(await connection.ended, ProtocolError)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.MALFORMED_PACKET)]
    assert transport.closed
    assert len(owner.messages) == 1


async def test_too_large_a_packet_ends_the_connection() -> None:
    connection, transport, _ = await welcomed(packet_bytes_max=200)
    transport.feed(mqtt5.PublishPacket("a", b"x" * 200).write())
    assert "packet too large" in str(await connection.ended)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.PACKET_TOO_LARGE)]


async def test_after_its_end_a_connection_neither_reads_nor_writes() -> None:
    connection, transport, owner = await welcomed()
    connection.close(BrokerError("enough"))
    connection.close(BrokerError("again"))
    room = connection.get_buffer(-1)
    room[: len(message(1))] = message(1)
    connection.buffer_updated(len(message(1)))
    connection.send(b"x")
    connection.ping()
    connection.pause_reading()
    connection.resume_reading()
    assert str(await connection.ended) == "enough"
    assert owner.messages == []
    assert transport.written == b""
    assert transport.reading


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (DisconnectReasonCode.NORMAL_DISCONNECTION, BrokerRefused),
        (DisconnectReasonCode.SERVER_SHUTTING_DOWN, BrokerRefused),
        (DisconnectReasonCode.SESSION_TAKEN_OVER, SessionTaken),
    ],
)
async def test_the_brokers_farewell_is_the_reason_of_the_end(code: Any, kind: type) -> None:
    connection, transport, _ = await welcomed()
    transport.feed(DisconnectPacket(reason_code=code).write())
    assert type(await connection.ended) is kind
    assert transport.closed
    assert transport.written == b""  # section 3.14.4: no more packets after it


async def test_releases_are_completed_at_once_in_one_write() -> None:
    _, transport, owner = await welcomed()
    writes = transport.writes
    transport.feed(PubRelPacket(5).write() + message(1) + PubRelPacket(6).write())
    assert transport.packets() == [PubCompPacket(5), PubCompPacket(6)]
    assert transport.writes == writes + 1
    assert len(owner.messages) == 1


async def test_acknowledgements_of_ours_are_passed_on() -> None:
    _, transport, owner = await welcomed()
    codes = [
        PubAckReasonCode.SUCCESS,
        PubAckReasonCode.NO_MATCHING_SUBSCRIBERS,
        PubAckReasonCode.NOT_AUTHORIZED,
    ]
    moves = owner.moves
    transport.feed(b"".join(PubAckPacket(n, reason_code=code).write() for n, code in enumerate(codes, 3)))
    assert owner.acknowledgements == [(3, True), (4, True), (5, False)]
    assert owner.moves == moves + 1  # one look for the whole read


async def test_messages_alone_move_nothing() -> None:
    _, transport, owner = await welcomed()
    moves = owner.moves
    transport.feed(message(1))
    assert owner.moves == moves


async def test_pings_are_counted_and_never_more_answered_than_sent() -> None:
    connection, transport, _ = await welcomed()
    connection.ping()
    connection.ping()
    transport.feed(PINGRESP)
    assert (connection.pings_sent, connection.pings_answered) == (2, 1)
    transport.feed(PINGRESP)
    assert not connection.ended.done()
    transport.feed(PINGRESP)
    assert isinstance(await connection.ended, ProtocolError)


async def test_bytes_are_counted() -> None:
    connection, transport, owner = await welcomed()
    transport.feed(message(1) + message(2))
    assert connection.bytes_received == len(CONNACK + message(1) + message(2))
    assert owner.reads == [len(message(1) + message(2))]


@pytest.mark.parametrize("cut", [1_000, 4_097, 1 << 20])
async def test_a_message_counts_with_all_its_bytes_in_however_many_reads_it_comes(cut: int) -> None:
    connection, wire, owner = await welcomed(packet_bytes_max=1_000_000)
    large = PublishPacket("a", b"x" * 700_000, qos=Q1, packet_id=3).write()
    wire.feed(message(1) + large + message(2), cut=cut)
    assert len(owner.messages) == 3
    assert sum(owner.reads) == len(message(1) + large + message(2))
    connection.close(BrokerError("done"))
    await connection.closed()


async def test_flow_control_follows_the_transport() -> None:
    connection, transport, owner = await welcomed()
    moves = owner.moves
    connection.pause_writing()
    assert not connection.writable
    connection.resume_writing()
    assert connection.writable
    assert owner.moves == moves + 1
    connection.pause_reading()
    connection.pause_reading()
    assert connection.reading_paused
    assert not transport.reading
    connection.resume_reading()
    assert transport.reading


async def test_an_idle_connection_is_pinged_and_stays() -> None:
    connection, transport, _ = await welcomed()
    staying = asyncio.create_task(connection.stay(0.4))
    for count in (1, 2, 3, 4):
        await until(lambda count=count: connection.pings_sent == count)
        transport.feed(PINGRESP)
    connection.close(BrokerError("done"))
    assert str(await staying) == "done"


async def test_a_silent_broker_is_left() -> None:
    connection, transport, _ = await welcomed()
    assert "no word from the broker" in str(await asyncio.wait_for(connection.stay(0.4), 5))
    assert transport.closed
    assert set(map(type, transport.packets())) == {PingReqPacket}  # there is nobody to say goodbye to


async def test_whom_we_do_not_listen_to_may_be_silent() -> None:
    connection, _, _ = await welcomed()
    connection.pause_reading()
    staying = asyncio.create_task(connection.stay(0.02))
    await until(lambda: connection.pings_sent >= 6)  # three keep-alives
    connection.resume_reading()
    assert not connection.ended.done()
    assert "no word" in str(await staying)


async def test_an_answer_that_does_not_come_ends_the_connection() -> None:
    connection, transport, _ = made(answer_seconds_max=0.05)
    with pytest.raises(BrokerError, match=r"owes us a ConnAckPacket: does it speak MQTT 5"):
        await connection.connect(b"")
    assert transport.closed


async def test_an_answer_may_be_late_while_the_broker_talks() -> None:
    connection, transport, owner = await welcomed(answer_seconds_max=0.1)
    asking = asyncio.create_task(connection.subscribe(b""))
    begun = asyncio.get_running_loop().time()
    n = 0
    while asyncio.get_running_loop().time() < begun + 0.25:
        n += 1
        transport.feed(message(n % 65_535 + 1))
        await asyncio.sleep(0.001)
    transport.feed(SUBACK.write())
    assert await asking == SUBACK
    assert len(owner.messages) == n


async def test_an_answer_to_a_question_that_was_given_up_is_no_fault() -> None:
    connection, transport, _ = await welcomed()
    asking = asyncio.create_task(connection.subscribe(b""))
    await asyncio.sleep(0)
    connection._answers[SubAckPacket].cancel()
    transport.feed(SUBACK.write())
    assert not connection.ended.done()
    connection.close(BrokerError("over"))
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_lost_connection_says_why() -> None:
    connection, _, _ = await welcomed()
    connection.connection_lost(ConnectionResetError("reset"))
    assert str(await connection.ended) == "the connection was lost: reset"
    connection, transport, _ = made()
    asking = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    transport.close()
    with pytest.raises(BrokerError, match="the broker hung up instead of answering: does it speak MQTT 5"):
        await asking
    await connection.closed()


async def test_a_broker_that_does_not_read_our_last_words_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.service.mqtt.connection.CLOSE_SECONDS_MAX", 0.01)
    connection, transport, _ = await welcomed()
    transport.close = lambda: None  # type: ignore[method-assign]  # its buffer is never emptied
    connection.close(BrokerError("bye"))
    await asyncio.wait_for(connection.closed(), 5)
    assert transport.closed


@panics
@settings(max_examples=300, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=3), st.integers(1, 300), st.booleans())
def test_any_bytes_give_messages_or_a_clean_end(parts: list[bytes], cut: int, begun: bool) -> None:
    async def feed() -> None:
        connection, transport, _ = await welcomed(packet_bytes_max=1_000) if begun else made()
        held = len(connection._framing._buffer)
        asking = asyncio.create_task(connection.connect(b"")) if not begun else None
        await asyncio.sleep(0)
        for part in parts:
            transport.feed(part, cut=cut)
        assert len(connection._framing._buffer) == held
        assert transport.closed == connection.ended.done()
        if connection.ended.done():
            assert isinstance(connection.ended.result(), BrokerError)
            said = [p for p in transport.packets() if type(p) is not PubCompPacket]
            assert len(said) <= 1
            if isinstance(connection.ended.result(), ProtocolError):
                assert [type(p) for p in said] == [DisconnectPacket]
        connection.close(BrokerError("end of the test"))
        await connection.closed()
        if asking:
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(feed())


def test_a_message_is_a_message_at_any_qos() -> None:
    assert mqtt5.read(memoryview(message(3, Q0)))[0].packet_id is None
