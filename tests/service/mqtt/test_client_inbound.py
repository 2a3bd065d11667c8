"""MqttClient: messages in, their acknowledgement, and which of them are late."""

from __future__ import annotations

import asyncio

import mqtt5
import pytest
from mqtt5 import ConnAckPacket, PubAckPacket, PublishPacket, PubRecPacket, SubAckPacket, SubAckReasonCode

from stream_lstm.service.mqtt import inbound
from stream_lstm.service.mqtt.connection import Connection
from tests.service.mqtt.peers import (
    Q0,
    Q2,
    ScriptedServer,
    message,
    options,
    payloads,
    published,
    running,
    take,
    until,
    welcome,
)

pytestmark = pytest.mark.usefixtures("deadline")


async def test_messages_carry_their_connection_and_arrival_time() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker), connect=False, clock=lambda: 1_234.5) as client,
    ):
        peer = await welcome(broker)
        peer.send(message(1), message(2, Q0), message(3, Q2))
        arrivals = await take(client, 3)
        assert payloads(arrivals) == [b"1", b"2", b"3"]
        assert {(a.connection, a.time) for a in arrivals} == {(1, 1_234.5)}
        assert client.stats.messages_total == client.stats.unacknowledged == 3
        assert client.stats.inbox_messages == client.stats.inbox_bytes == 0
        assert client.stats.received_bytes_total > 3 * len(message(1, Q0))
        assert client.stats.receive_maximum == 65_534


async def test_receive_returns_at_most_messages_max_and_does_not_wait_for_more() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        waiting = asyncio.create_task(client.receive(10))
        await until(lambda: client.connected)
        assert not waiting.done()
        peer.send(message(1))
        assert payloads(await waiting) == [b"1"]
        peer.send(*[message(n) for n in range(2, 9)])
        await until(lambda: client.stats.inbox_messages == 7)
        assert payloads(await client.receive(3)) == [b"2", b"3", b"4"]
        assert payloads(await client.receive(100)) == [b"5", b"6", b"7", b"8"]


async def test_receive_waits_for_least_until_reconsider_lowers_it() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        wanted = [3]
        waiting = asyncio.create_task(client.receive(10, lambda: wanted[0]))
        peer.send(message(1), message(2))
        await until(lambda: client.stats.inbox_messages == 2)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        peer.send(message(3))
        assert payloads(await waiting) == [b"1", b"2", b"3"]
        waiting = asyncio.create_task(client.receive(10, lambda: wanted[0]))
        peer.send(message(4))
        await until(lambda: client.stats.inbox_messages == 1)
        wanted[0] = 1
        client.reconsider()
        assert payloads(await waiting) == [b"4"]


async def test_acknowledgements_follow_the_publications_in_the_order_of_the_messages() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        peer.send(message(9), message(4, Q2), message(7, Q0), message(1))
        arrivals = await take(client, 4)
        await client.deliver(1, [("p", b"x"), ("q", b"y")], arrivals)
        assert await peer.packet() == published("p", b"x")
        assert await peer.packet() == published("q", b"y")
        assert [await peer.packet() for _ in range(3)] == [PubAckPacket(9), PubRecPacket(4), PubAckPacket(1)]
        assert client.stats.unacknowledged == 0
        peer.send(mqtt5.PubRelPacket(4))
        assert await peer.expect(mqtt5.PubCompPacket) == mqtt5.PubCompPacket(4)


async def test_a_delivery_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        await until(lambda: client.connected)  # the handshake writes, too
        peer.send(*[message(n) for n in range(1, 301)])
        arrivals = await take(client, 300)
        writes: list[bytes] = []
        monkeypatch.setattr(Connection, "send", lambda _, content: writes.append(content))
        await client.deliver(1, [("p", b"%d" % n) for n in range(300)], arrivals)
        monkeypatch.undo()
        assert len([w for w in writes if w[0] != 0xC0]) == 1  # the other is a PINGREQ


async def test_messages_of_an_earlier_connection_are_kept_but_not_acknowledged() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        peer.send(message(1), message(2))
        await until(lambda: client.stats.inbox_messages == 2)
        peer.reset()
        await until(lambda: client.seen.losses)
        peer = await welcome(broker, session_present=True)
        peer.send(message(1, duplicate=True), message(2, duplicate=True))
        arrivals = await take(client, 4)
        assert payloads(arrivals) == [b"1", b"2", b"1", b"2"]
        assert [a.connection for a in arrivals] == [1, 2]
        await until(lambda: client.connected)
        await client.deliver(1, [], arrivals[:1])
        await client.deliver(2, [("p", b"x")], arrivals[1:])
        assert await peer.expect(PublishPacket) == published("p", b"x")
        assert [await peer.packet() for _ in range(2)] == [PubAckPacket(1), PubAckPacket(2)]
        assert client.stats.unacknowledged == 0


@pytest.mark.parametrize("qos", [0, 1])
async def test_acked_through_follows_fresh_deliveries_of_the_present_connection(qos: int) -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=qos), connect=False) as client:
        client.resume(3, acked_through=3)
        peer = await welcome(broker)
        peer.send(message(1))
        await client.deliver(4, [], await take(client, 1), fresh=True)
        assert client.acked_through == 3
        await peer.expect(PubAckPacket)
        await peer.expect(mqtt5.PingReqPacket)
        assert client.acked_through == 3
        peer.send(mqtt5.PingRespPacket())
        await until(lambda: client.acked_through == 4)
        peer.send(message(3))
        arrivals = await take(client, 1)
        peer.reset()
        await until(lambda: client.seen.losses)
        peer = await welcome(broker, session_present=True)
        await until(lambda: client.connected)
        await client.deliver(5, [], arrivals, fresh=True)  # their packet ids are not valid here
        peer.send(message(3, duplicate=True))
        again = await take(client, 1)
        await client.deliver(5, [], again)  # a duplicate: others may follow
        await peer.expect(PubAckPacket)
        peer.send(message(4))
        await client.deliver(6, [], await take(client, 1), fresh=True)
        await peer.expect(PubAckPacket)
        assert client.acked_through == 4
        until_acked = asyncio.create_task(until(lambda: client.acked_through == 6))
        while not until_acked.done():
            packet = await peer.packet()
            assert isinstance(packet, mqtt5.PingReqPacket)
            peer.send(mqtt5.PingRespPacket())
            await asyncio.sleep(0.02)


async def test_messages_after_a_reconnect_are_late_until_a_quiet_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound, "QUIET_SECONDS", 0.05)
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        peer.send(message(1))
        arrivals = await take(client, 1)
        await client.deliver(1, [], arrivals)
        await peer.expect(PubAckPacket)
        peer.reset()
        peer = await welcome(broker, session_present=True)
        peer.send(message(2))
        arrivals += (late := await take(client, 1))
        await asyncio.sleep(0.06)  # quiet, but one is unacknowledged: the broker may wait with the rest
        peer.send(message(3))
        arrivals += (also := await take(client, 1))
        await client.deliver(2, [], [*late, *also])
        await asyncio.sleep(0.06)
        peer.send(message(4))
        arrivals += await take(client, 1)
        assert [arrival.late for arrival in arrivals] == [False, True, True, False]


@pytest.mark.parametrize("session_present", [True, False])
async def test_after_a_restart_messages_are_late_only_if_the_session_was_kept(session_present: bool) -> None:
    settings = {"session_expected": True}
    async with ScriptedServer() as broker, running(options(broker, **settings), connect=False) as client:
        peer = await welcome(broker, session_present=session_present)
        await until(lambda: client.connected)
        peer.send(message(1))
        assert [arrival.late for arrival in await take(client, 1)] == [session_present]


@pytest.mark.parametrize("session_present", [True, False])
async def test_messages_in_one_read_with_suback_know_if_the_session_was_kept(
    session_present: bool,
) -> None:
    settings = {"session_expected": True}
    async with ScriptedServer() as broker, running(options(broker, **settings), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(session_present=session_present))
        subscribe = await peer.expect(mqtt5.SubscribePacket)
        answer = SubAckPacket(subscribe.packet_id, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE])
        peer.send(answer, message(1))  # in one read: taken before the handshake is complete
        (arrival,) = await take(client, 1)
        assert (arrival.resumed, arrival.late) == (session_present, session_present)


async def test_under_constant_traffic_messages_are_late_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound, "LATE_SECONDS_MAX", 0.3)
    settings = {"session_expected": True}
    async with ScriptedServer() as broker, running(options(broker, **settings), connect=False) as client:
        peer = await welcome(broker, session_present=True)
        late = []
        for n in range(1, 30):  # each 20 ms, and none is acknowledged
            peer.send(message(n))
            late += [arrival.late for arrival in await take(client, 1)]
            await asyncio.sleep(0.02)
        assert late == sorted(late, reverse=True)
        assert late[0]
        assert not late[-1]
