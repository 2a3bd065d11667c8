"""MqttClient: a full inbox, and reading while an answer is awaited."""

from __future__ import annotations

import asyncio

import pytest
from mqtt5 import DisconnectPacket, PingReqPacket, PingRespPacket, PubAckPacket, PublishPacket

from tests.service.mqtt.peers import (
    Q0,
    Peer,
    ScriptedServer,
    message,
    options,
    payloads,
    running,
    take,
    until,
    welcome,
)

pytestmark = pytest.mark.usefixtures("deadline")


async def flood(peer: Peer, total: int, size: int = 1_000) -> None:
    for start in range(0, total, size):
        peer.send(*[PublishPacket("sensors/a", b"%d" % n) for n in range(start, start + size)])
        await peer.writer.drain()


async def test_a_full_inbox_pauses_reading_and_no_message_is_lost() -> None:
    limit, total = 500, 60_000
    async with ScriptedServer() as broker:
        settings = options(broker, inbox_messages_max=limit)
        async with running(settings, connect=False) as client:
            peer = await welcome(broker)
            await until(lambda: client.connected)  # during the handshake reading never pauses
            per_read = 262_144 // len(message(1, Q0))
            sending = asyncio.create_task(flood(peer, total))
            await until(lambda: client.stats.reading_paused)
            got: list[bytes] = []
            pauses = 0
            while len(got) < total:
                got += payloads(await client.receive(100))
                pauses += client.stats.reading_paused
                assert client.stats.inbox_messages <= limit + per_read
                await asyncio.sleep(0)
            await sending
            assert got == [b"%d" % n for n in range(total)]
            assert pauses > 10
            assert not client.stats.reading_paused
            assert client.stats.dropped_messages_total == 0


async def test_the_inbox_has_a_limit_in_bytes_too() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, inbox_bytes_max=1_000), connect=False) as client,
    ):
        peer = await welcome(broker)
        peer.send(PublishPacket("sensors/a", b"x" * 2_000))
        await until(lambda: client.stats.reading_paused)
        assert client.stats.inbox_bytes > 2_000
        await client.receive(1)
        assert not client.stats.reading_paused


async def test_reading_continues_while_an_answer_is_awaited_and_qos_0_may_be_dropped() -> None:
    async with ScriptedServer() as broker:
        settings = options(broker, publish_qos=1, inbox_messages_max=100)
        async with running(settings, connect=False) as client:
            peer = await welcome(broker, receive_max=1)
            delivering = asyncio.create_task(client.deliver(1, [("p", b"1"), ("p", b"2")], []))
            first = await peer.expect(PublishPacket)
            for n in range(60):  # one read each, until far more came than the inbox holds
                peer.send(*[PublishPacket("sensors/a", b"%d" % k) for k in range(n * 10, n * 10 + 10)])
                await until(lambda n=n: client.stats.messages_total == (n + 1) * 10)
            peer.send(PubAckPacket(first.packet_id))
            second = await peer.expect(PublishPacket)
            await delivering
            assert client.stats.inbox_messages == 200  # twice the limit
            assert client.stats.dropped_messages_total == 400
            peer.send(PubAckPacket(second.packet_id))
            got = payloads(await take(client, 200))
            assert got == [b"%d" % n for n in range(200)]
            await client.confirm(1)
            assert client.seen.losses == []


async def test_reading_continues_while_a_confirmation_is_awaited() -> None:
    """An eviction waits for it within a batch, and nothing takes the messages ahead of the PINGRESP."""
    async with (
        ScriptedServer() as broker,
        running(options(broker, inbox_messages_max=5), connect=False) as client,
    ):
        peer = await welcome(broker)
        await until(lambda: client.connected)
        await client.deliver(1, [("p", b"x")], [])
        peer.send(*[message(n) for n in range(1, 9)])
        await peer.expect(PublishPacket)
        assert type(await peer.packet()) is PingReqPacket
        await until(lambda: client.stats.reading_paused)
        peer.send(message(9), PingRespPacket())
        await client.confirm(1)
        assert client.stats.inbox_messages == 9
        await client.receive(9)
        assert not client.stats.reading_paused


async def test_dropped_messages_of_qos_1_are_sent_again_after_a_reconnect() -> None:
    async with ScriptedServer() as broker:
        settings = options(broker, publish_qos=1, inbox_messages_max=10)
        async with running(settings, connect=False) as client:
            peer = await welcome(broker, receive_max=1)
            delivering = asyncio.create_task(client.deliver(1, [("p", b"1"), ("p", b"2")], []))
            first = await peer.expect(PublishPacket)
            for n in range(1, 41):
                peer.send(message(n))
                await until(lambda n=n: client.stats.messages_total == n)
            peer.send(PubAckPacket(first.packet_id))
            await delivering
            assert client.stats.inbox_messages == 20
            assert client.connected  # until the inbox has space
            got = payloads(await client.receive(20))
            await until(lambda: client.seen.losses)
            assert "inbox was full" in client.seen.losses[0][0]
            assert await peer.expect(PublishPacket)
            assert await peer.packet() == DisconnectPacket()
            peer = await welcome(broker, session_present=True)
            peer.send(*[message(n, duplicate=True) for n in range(1, 41)])
            got += payloads(await take(client, 40))
            assert got == [b"%d" % n for n in [*range(1, 21), *range(1, 41)]]
            assert client.stats.dropped_messages_total == 0


async def test_after_stop_receiving_answers_are_read_and_messages_stay_with_the_broker() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, inbox_messages_max=5), connect=False) as client,
    ):
        peer = await welcome(broker)
        peer.send(*[message(n) for n in range(1, 9)])
        await until(lambda: client.stats.reading_paused)
        await client.deliver(1, [("p", b"x")], [])
        client.stop_receiving()
        peer.send(*[message(n) for n in range(9, 30)], message(30, Q0))
        await peer.expect(PublishPacket)
        await peer.expect(PingReqPacket)
        peer.send(PingRespPacket())
        await client.confirm(1)
        assert client.connected
        assert client.stats.inbox_messages == 8
        assert client.stats.dropped_messages_total == 0


async def test_reading_continues_while_the_broker_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.service.mqtt.outbound.WRITE_WAIT_SECONDS", 0.01)
    async with (
        ScriptedServer() as broker,
        running(options(broker, inbox_messages_max=5), connect=False) as client,
    ):
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.send(*[message(n) for n in range(1, 9)])
        await until(lambda: client.stats.reading_paused)
        for number in (1, 2, 3, 4, 5):  # far more than the sockets' buffers hold
            delivering = asyncio.create_task(
                client.deliver(number, [("p", b"x" * 1_000_000)] * 4, [])  # the peer reads nothing
            )
            done, _ = await asyncio.wait({delivering}, timeout=0.1)
            if not done:
                break
        assert not done
        await until(lambda: not client.stats.reading_paused)
        peer.send(message(9))
        await until(lambda: client.stats.messages_total == 9)
        for _ in range(number * 4):
            await peer.expect(PublishPacket)
        await delivering
