"""MqttClient: publications out, their confirmation, and what is written again."""

from __future__ import annotations

import asyncio
import time

import pytest
from mqtt5 import (
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
)

from stream_lstm.service.mqtt import MqttClient
from tests.service.mqtt.peers import (
    Peer,
    ScriptedServer,
    message,
    options,
    published,
    running,
    take,
    until,
    welcome,
)

pytestmark = pytest.mark.usefixtures("deadline")


async def test_deliveries_wait_for_a_connection_and_go_out_in_order() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        delivering = asyncio.create_task(client.deliver(1, [("p", b"1")], []))
        peer = await welcome(broker)
        await delivering
        await client.deliver(2, [("p", b"2")], [])
        assert [(await peer.expect(PublishPacket)).payload for _ in range(2)] == [b"1", b"2"]


async def test_a_number_not_above_the_last_one_raises() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        await welcome(broker)
        client.resume(6)
        with pytest.raises(ValueError, match="6 is not above the last one, 6"):
            await client.deliver(6, [("p", b"x")], [])
        assert client.confirmed == 6
        await client.confirm(6)


async def test_at_qos_0_a_pingresp_confirms() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, barrier_seconds_min=0.02), connect=False) as client,
    ):
        peer = await welcome(broker)
        begun = time.monotonic()
        await client.deliver(1, [("p", b"1")], [])
        await peer.packet()
        assert type(await peer.packet()) is PingReqPacket
        await client.deliver(2, [("p", b"2")], [])
        await client.deliver(3, [("p", b"3")], [])
        assert client.confirmed == 0
        peer.send(PingRespPacket())
        await client.confirm(1)
        assert client.confirmed == 1
        assert [(await peer.packet()).payload for _ in range(2)] == [b"2", b"3"]
        assert type(await peer.packet()) is PingReqPacket
        assert time.monotonic() >= begun + 0.02
        peer.send(PingRespPacket())
        await client.confirm(3)
        assert client.stats.unconfirmed_bytes == 0


async def test_unconfirmed_publications_are_written_again_unchanged_after_a_reconnect() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        await client.deliver(1, [("p", b"1")], [])
        await peer.expect(PublishPacket)
        await peer.packet()
        peer.send(PingRespPacket())
        await client.confirm(1)
        await client.deliver(2, [("p", b"2"), ("q", b"3")], [])
        await client.deliver(3, [("p", b"4")], [])
        kept = client.stats.unconfirmed_bytes
        assert [(await peer.expect(PublishPacket)).payload for _ in range(3)] == [b"2", b"3", b"4"]
        peer.reset()
        peer = await welcome(broker)
        assert client.stats.unconfirmed_bytes == kept
        again = [await peer.expect(PublishPacket) for _ in range(3)]
        assert again == [published("p", b"2"), published("q", b"3"), published("p", b"4")]
        assert type(await peer.packet()) is PingReqPacket
        peer.send(PingRespPacket())
        await client.confirm(3)


async def test_a_barrier_of_a_lost_connection_confirms_nothing() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, barrier_seconds_min=60.0), connect=False) as client,
    ):
        peer = await welcome(broker)
        await client.deliver(1, [("p", b"1")], [])
        await peer.expect(PublishPacket)
        await client.deliver(2, [("p", b"2")], [])
        peer.reset()
        peer = await welcome(broker)
        await until(lambda: client.connected)
        assert client.confirmed == 0
        assert [(await peer.expect(PublishPacket)).payload for _ in range(2)] == [b"1", b"2"]
        assert client._session.outbound._timer is not None  # the next PINGREQ is not due yet
        peer.reset()
        await until(lambda: len(client.seen.losses) == 2)
        assert client._session.outbound._timer is None


async def test_deliveries_wait_while_too_much_is_unconfirmed() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, unconfirmed_bytes_max=1_000), connect=False) as client,
    ):
        peer = await welcome(broker)
        await client.deliver(1, [("p", b"x" * 1_000)], [])
        waiting = asyncio.create_task(client.deliver(2, [("p", b"y")], []))
        await peer.expect(PublishPacket)
        assert type(await peer.packet()) is PingReqPacket
        assert not waiting.done()
        peer.send(PingRespPacket())
        await waiting
        assert (await peer.expect(PublishPacket)).payload == b"y"


async def test_at_qos_1_the_brokers_receive_maximum_is_kept_and_acknowledgements_come_last() -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=1), connect=False) as client:
        peer = await welcome(broker, receive_max=2)
        peer.send(message(77))
        arrivals = await take(client, 1)
        delivering = asyncio.create_task(client.deliver(1, [("p", b"%d" % n) for n in range(5)], arrivals))
        under_way: list[int] = []
        for n in range(5):
            packet = await peer.expect(PublishPacket)
            assert (packet.payload, packet.qos, packet.duplicate) == (b"%d" % n, 1, False)
            under_way.append(packet.packet_id)
            if n >= 1:
                assert len(under_way) == 2
                peer.send(PubAckPacket(under_way.pop(0)))
        await delivering
        assert await peer.packet() == PubAckPacket(77)
        assert client.confirmed == 0
        peer.send(PubAckPacket(under_way.pop(0), reason_code=PubAckReasonCode.QUOTA_EXCEEDED))
        await client.confirm(1)
        assert client.stats.refused_publications_total == 1


@pytest.mark.parametrize("present", [True, False])
async def test_at_qos_1_unconfirmed_publications_are_written_again(present: bool) -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=1), connect=False) as client:
        peer = await welcome(broker, receive_max=2)
        delivering = asyncio.create_task(client.deliver(1, [("p", b"%d" % n) for n in range(4)], []))
        first = [await peer.expect(PublishPacket) for _ in range(2)]
        peer.reset()
        peer = await welcome(broker, session_present=present)
        again = [await peer.expect(PublishPacket) for _ in range(4)]
        await delivering
        assert [p.payload for p in again] == [b"0", b"1", b"2", b"3"]
        assert [p.duplicate for p in again] == [present, present, False, False]
        if present:
            assert [p.packet_id for p in again[:2]] == [p.packet_id for p in first]
        peer.send(*[PubAckPacket(p.packet_id) for p in again])
        await client.confirm(1)


async def test_a_delivery_that_outlives_its_connection_does_not_acknowledge_its_arrivals() -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=1), connect=False) as client:
        peer = await welcome(broker, receive_max=1)
        peer.send(message(5))
        delivering = asyncio.create_task(client.deliver(1, [("p", b"1"), ("p", b"2")], await take(client, 1)))
        await peer.expect(PublishPacket)
        peer.reset()
        peer = await welcome(broker, receive_max=10)
        await delivering
        got = [await peer.expect(PublishPacket) for _ in range(2)]
        peer.send(*[PubAckPacket(p.packet_id) for p in got])
        await client.confirm(1)
        await client.stop()
        assert await peer.packet() == DisconnectPacket()


async def test_a_connection_may_end_while_publications_are_written_again() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.writer.transport.pause_reading()
        for number in range(1, 9):
            delivering = asyncio.create_task(client.deliver(number, [("p", b"x" * 1_000_000)] * 4, []))
            done, _ = await asyncio.wait({delivering}, timeout=0.05)
            if not done:
                break
        peer.reset()
        peer = await welcome(broker)  # and reads no further
        await until(
            lambda: client._session.inbound.connection and not client._session.inbound.connection.writable
        )
        assert not client.connected
        peer.reset()
        peer = await welcome(broker)
        for _ in range(client._session.outbound.window.last * 4):
            await peer.expect(PublishPacket)
        await until(lambda: client.connected)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


@pytest.mark.parametrize("qos", [0, 1])
async def test_settled_is_only_what_a_pingresp_after_the_last_acknowledgement_confirms(qos: int) -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=qos), connect=False) as client:
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.send(message(5))
        arrivals = await take(client, 1)
        await client.deliver(1, [], arrivals, fresh=True)
        assert await peer.packet() == PubAckPacket(5)
        peer.send(message(6))
        await client.deliver(1, [], await take(client, 1))  # a duplicate, for which alone no PINGREQ is sent
        settling = asyncio.create_task(client.settle())
        while await peer.packet() != PubAckPacket(6):
            pass
        await asyncio.sleep(0.02)
        assert not settling.done()  # the broker has not said that it has read the acknowledgements
        peer.send(PingRespPacket(), PingRespPacket())
        assert await settling
        assert client.acked_through == 1


async def settled(client: MqttClient, peer: Peer) -> bool:
    """Settle, with a broker that answers every PINGREQ."""
    settling = asyncio.create_task(client.settle())
    while not settling.done():
        reading = asyncio.create_task(peer.packet())
        await asyncio.wait({reading, settling}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done() and type(reading.result()) is PingReqPacket:
            peer.send(PingRespPacket())
        reading.cancel()
    return await settling


async def test_nothing_is_settled_without_a_connection_or_when_it_ends() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        assert not await client.settle()
        peer = await welcome(broker)
        await until(lambda: client.connected)
        settling = asyncio.create_task(client.settle())
        await peer.packet()
        peer.reset()
        assert not await settling


@pytest.mark.parametrize("present", [True, False])
async def test_messages_of_an_earlier_connection_are_settled_only_if_the_session_is_gone(
    present: bool,
) -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        peer.send(message(5))
        arrivals = await take(client, 1)
        peer.reset()
        peer = await welcome(broker, session_present=present)
        await until(lambda: client.connected)
        await client.deliver(1, [], arrivals, fresh=True)  # not acknowledged: the packet id is not valid now
        assert await settled(client, peer) is not present


async def test_what_an_earlier_run_had_not_settled_stays_so() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        client.resume(3, acked_through=2, last_fresh=3)
        peer = await welcome(broker, session_present=True)
        await until(lambda: client.connected)
        assert not await settled(client, peer)
