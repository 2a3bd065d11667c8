"""One connection without a socket: packets that a server may send, when, and the end after any other."""

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


class Listener:
    """Listener that keeps what it receives."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.reads: list[int] = []
        self.acknowledgements: list[tuple[int, bool]] = []
        self.progresses = 0

    def arrived(self, messages: list[Any], wire_bytes: int) -> None:
        self.messages += messages
        self.reads.append(wire_bytes)

    def acknowledged(self, packet_id: int, *, accepted: bool) -> None:
        self.acknowledgements.append((packet_id, accepted))

    def progressed(self) -> None:
        self.progresses += 1


def made(*, packet_bytes_max: int = 100_000, answer_seconds_max: float = 5.0) -> tuple[Any, Wire, Listener]:
    listener = Listener()
    connection = Connection(
        listener, packet_bytes_max=packet_bytes_max, answer_seconds_max=answer_seconds_max
    )
    return connection, Wire(connection), listener


async def welcomed(**limits: Any) -> tuple[Any, Wire, Listener]:
    """A connection whose CONNACK has come."""
    connection, wire, listener = made(**limits)
    requesting = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    wire.feed(CONNACK)
    await requesting
    wire.written.clear()
    return connection, wire, listener


async def test_answers_may_come_after_messages() -> None:
    connection, wire, listener = await welcomed()
    requesting = asyncio.create_task(connection.subscribe(b"\x82\x00"))
    await asyncio.sleep(0)
    assert wire.written == b"\x82\x00"
    wire.feed(message(1) + SUBACK.write() + message(2))
    assert await requesting == SUBACK
    assert [m.packet_id for m in listener.messages] == [1, 2]
    requesting = asyncio.create_task(connection.unsubscribe(b"\xa2\x00"))
    await asyncio.sleep(0)
    answer = UnsubAckPacket(2, [UnsubAckReasonCode.SUCCESS])
    wire.feed(answer.write())
    assert await requesting == answer


@pytest.mark.parametrize("cut", [1 << 20, 3])
async def test_messages_may_follow_connack_at_once(cut: int) -> None:
    connection, wire, listener = made()
    requesting = asyncio.create_task(connection.connect(b"\x10\x00"))
    await asyncio.sleep(0)
    wire.feed(CONNACK + message(1) + message(2), cut=cut)
    assert not (await requesting).session_present
    assert [m.packet_id for m in listener.messages] == [1, 2]


@pytest.mark.parametrize(
    "wire", [message(1) + CONNACK, PINGRESP, DisconnectPacket().write(), b"HTTP/1.1 400 Bad Request\r\n" * 5]
)
@pytest.mark.parametrize("cut", [1 << 20, 1])
async def test_the_first_packet_must_be_connack(wire: bytes, cut: int) -> None:
    connection, transport, listener = made()
    requesting = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    transport.feed(wire, cut=cut)
    with pytest.raises(ProtocolError, match="check that the broker speaks MQTT 5 on this port"):
        await requesting
    assert transport.closed
    assert listener.messages == []


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
async def test_a_packet_that_a_server_must_not_send_ends_the_connection(wire: bytes) -> None:
    connection, transport, listener = await welcomed()
    transport.feed(message(1) + wire + message(2))
    why = await connection.ended
    assert isinstance(why, ProtocolError)
    assert "protocol error" in str(why)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.PROTOCOL_ERROR)]
    assert transport.closed
    assert [m.packet_id for m in listener.messages] == [1]
    assert listener.progresses


@panics
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_bytes_end_the_connection_with_a_disconnect(wire: str) -> None:
    connection, transport, listener = await welcomed()
    transport.feed(message(1) + bytes.fromhex(wire))
    assert isinstance(await connection.ended, ProtocolError)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.MALFORMED_PACKET)]
    assert transport.closed
    assert len(listener.messages) == 1


async def test_a_packet_that_is_too_large_ends_the_connection() -> None:
    connection, transport, _ = await welcomed(packet_bytes_max=200)
    transport.feed(mqtt5.PublishPacket("a", b"x" * 200).write())
    assert "packet too large" in str(await connection.ended)
    assert transport.packets() == [DisconnectPacket(reason_code=DisconnectReasonCode.PACKET_TOO_LARGE)]


async def test_a_connection_that_ended_neither_reads_nor_writes() -> None:
    connection, transport, listener = await welcomed()
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
    assert listener.messages == []
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
async def test_the_brokers_disconnect_is_the_reason_of_the_end(code: Any, kind: type) -> None:
    connection, transport, _ = await welcomed()
    transport.feed(DisconnectPacket(reason_code=code).write())
    assert type(await connection.ended) is kind
    assert transport.closed
    assert transport.written == b""  # section 3.14.4: no more packets after it


async def test_pubrel_packets_are_answered_at_once_in_one_write() -> None:
    _, transport, listener = await welcomed()
    writes = transport.writes
    transport.feed(PubRelPacket(5).write() + message(1) + PubRelPacket(6).write())
    assert transport.packets() == [PubCompPacket(5), PubCompPacket(6)]
    assert transport.writes == writes + 1
    assert len(listener.messages) == 1


async def test_pubacks_are_passed_on() -> None:
    _, transport, listener = await welcomed()
    codes = [
        PubAckReasonCode.SUCCESS,
        PubAckReasonCode.NO_MATCHING_SUBSCRIBERS,
        PubAckReasonCode.NOT_AUTHORIZED,
    ]
    progresses = listener.progresses
    transport.feed(b"".join(PubAckPacket(n, reason_code=code).write() for n, code in enumerate(codes, 3)))
    assert listener.acknowledgements == [(3, True), (4, True), (5, False)]
    assert listener.progresses == progresses + 1  # one call for the whole read


async def test_messages_alone_are_no_progress() -> None:
    _, transport, listener = await welcomed()
    progresses = listener.progresses
    transport.feed(message(1))
    assert listener.progresses == progresses


async def test_pings_are_counted_and_an_answer_without_one_is_a_fault() -> None:
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
    connection, transport, listener = await welcomed()
    transport.feed(message(1) + message(2))
    assert connection.bytes_received == len(CONNACK + message(1) + message(2))
    assert listener.reads == [len(message(1) + message(2))]


@pytest.mark.parametrize("cut", [1_000, 4_097, 1 << 20])
async def test_a_message_counts_with_all_its_bytes_over_all_reads(cut: int) -> None:
    connection, wire, listener = await welcomed(packet_bytes_max=1_000_000)
    large = PublishPacket("a", b"x" * 700_000, qos=Q1, packet_id=3).write()
    wire.feed(message(1) + large + message(2), cut=cut)
    assert len(listener.messages) == 3
    assert sum(listener.reads) == len(message(1) + large + message(2))
    connection.close(BrokerError("done"))
    await connection.closed()


async def test_flow_control_follows_the_transport() -> None:
    connection, transport, listener = await welcomed()
    progresses = listener.progresses
    connection.pause_writing()
    assert not connection.writable
    connection.resume_writing()
    assert connection.writable
    assert listener.progresses == progresses + 1
    connection.pause_reading()
    connection.pause_reading()
    assert connection.reading_paused
    assert not transport.reading
    connection.resume_reading()
    assert transport.reading


async def test_an_idle_connection_is_pinged_and_kept() -> None:
    connection, transport, _ = await welcomed()
    serving = asyncio.create_task(connection.serve_until_ended(0.4))
    for count in (1, 2, 3, 4):
        await until(lambda count=count: connection.pings_sent == count)
        transport.feed(PINGRESP)
    connection.close(BrokerError("done"))
    assert str(await serving) == "done"


async def test_a_silent_broker_ends_the_connection() -> None:
    connection, transport, _ = await welcomed()
    assert "nothing received from the broker" in str(
        await asyncio.wait_for(connection.serve_until_ended(0.4), 5)
    )
    assert transport.closed
    assert set(map(type, transport.packets())) == {PingReqPacket}  # no DISCONNECT: the connection is dead


async def test_silence_while_reading_is_paused_does_not_count() -> None:
    connection, _, _ = await welcomed()
    connection.pause_reading()
    serving = asyncio.create_task(connection.serve_until_ended(0.02))
    await until(lambda: connection.pings_sent >= 6)  # three keep-alives
    connection.resume_reading()
    assert not connection.ended.done()
    assert "nothing received" in str(await serving)


async def test_an_answer_that_does_not_come_ends_the_connection() -> None:
    connection, transport, _ = made(answer_seconds_max=0.05)
    with pytest.raises(BrokerError, match=r"while waiting for CONNACK: check that the broker speaks MQTT 5"):
        await connection.connect(b"")
    assert transport.closed


async def test_an_answer_may_be_late_while_other_packets_come() -> None:
    connection, transport, listener = await welcomed(answer_seconds_max=0.1)
    requesting = asyncio.create_task(connection.subscribe(b""))
    begun = asyncio.get_running_loop().time()
    n = 0
    while asyncio.get_running_loop().time() < begun + 0.25:
        n += 1
        transport.feed(message(n % 65_535 + 1))
        await asyncio.sleep(0.001)
    transport.feed(SUBACK.write())
    assert await requesting == SUBACK
    assert len(listener.messages) == n


async def test_an_answer_to_a_cancelled_request_is_no_fault() -> None:
    connection, transport, _ = await welcomed()
    requesting = asyncio.create_task(connection.subscribe(b""))
    await asyncio.sleep(0)
    connection._answers[SubAckPacket].cancel()
    transport.feed(SUBACK.write())
    assert not connection.ended.done()
    connection.close(BrokerError("over"))
    with pytest.raises(asyncio.CancelledError):
        await requesting


async def test_a_lost_connection_names_the_reason() -> None:
    connection, _, _ = await welcomed()
    connection.connection_lost(ConnectionResetError("reset"))
    assert str(await connection.ended) == "the connection was lost: reset"
    connection, transport, _ = made()
    requesting = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    transport.close()
    with pytest.raises(
        BrokerError, match="closed the connection without a reason, before CONNACK: check that"
    ):
        await requesting
    await connection.closed()


async def test_a_broker_that_does_not_read_the_disconnect_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.service.mqtt.connection.CLOSE_SECONDS_MAX", 0.01)
    connection, transport, _ = await welcomed()
    transport.close = lambda: None  # type: ignore[method-assign]  # its buffer is never emptied
    connection.close(BrokerError("closed"))
    await asyncio.wait_for(connection.closed(), 5)
    assert transport.closed


@panics
@settings(max_examples=300, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=3), st.integers(1, 300), st.booleans())
def test_any_bytes_give_messages_or_a_clean_end(parts: list[bytes], cut: int, begun: bool) -> None:
    async def feed() -> None:
        connection, transport, _ = await welcomed(packet_bytes_max=1_000) if begun else made()
        held = len(connection._framing._buffer)
        requesting = asyncio.create_task(connection.connect(b"")) if not begun else None
        await asyncio.sleep(0)
        for part in parts:
            transport.feed(part, cut=cut)
        assert len(connection._framing._buffer) == held
        assert transport.closed == connection.ended.done()
        if connection.ended.done():
            assert isinstance(connection.ended.result(), BrokerError)
            written = [p for p in transport.packets() if type(p) is not PubCompPacket]
            assert len(written) <= 1
            if isinstance(connection.ended.result(), ProtocolError):
                assert [type(p) for p in written] == [DisconnectPacket]
        connection.close(BrokerError("end of the test"))
        await connection.closed()
        if requesting:
            await asyncio.gather(requesting, return_exceptions=True)

    asyncio.run(feed())


def test_a_message_of_qos_0_has_no_packet_id() -> None:
    assert mqtt5.read(memoryview(message(3, Q0)))[0].packet_id is None
