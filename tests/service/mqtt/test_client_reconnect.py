"""MqttClient: the end of a connection, the next one, and `stop`."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import mqtt5
import pytest
from mqtt5 import ConnAckPacket, DisconnectPacket, DisconnectReasonCode, PingReqPacket, PublishPacket

from stream_lstm.service.mqtt import MqttClient
from tests.brokers import free_port
from tests.service.mqtt.peers import (
    RecordingObserver,
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


async def test_malformed_bytes_end_a_connection_and_the_next_one_works() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        peer.send(message(1), b"\x00\x00\x00")
        assert (await peer.expect(DisconnectPacket)).reason_code == DisconnectReasonCode.MALFORMED_PACKET
        await until(lambda: client.seen.losses)
        assert "violated MQTT 5 (malformed packet)" in client.seen.losses[0][0]
        peer = await welcome(broker)
        peer.send(message(2))
        assert payloads(await take(client, 2)) == [b"1", b"2"]


@pytest.mark.parametrize(
    "code",
    [
        DisconnectReasonCode.SERVER_SHUTTING_DOWN,
        DisconnectReasonCode.KEEP_ALIVE_TIMEOUT,
        DisconnectReasonCode.ADMINISTRATIVE_ACTION,
        DisconnectReasonCode.NOT_AUTHORIZED,
    ],
)
async def test_a_disconnect_of_the_broker_is_named_and_followed_by_a_new_connection(code: Any) -> None:
    lasting = code == DisconnectReasonCode.NOT_AUTHORIZED
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        (await welcome(broker)).send(DisconnectPacket(reason_code=code))
        await until(lambda: client.seen.losses)
        reason, seconds = client.seen.losses[0]
        assert f"(0x{int(code):02X})" in reason
        assert (seconds >= 30) is lasting
        if not lasting:
            await welcome(broker)


async def test_a_broker_that_drops_connections_is_connected_to_again() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        for _ in range(3):
            for _ in range(4):
                (await welcome(broker, session_present=True)).close()
            peer = await broker.peer()  # a failed attempt, as while a broker starts
            peer.reset()
        await welcome(broker, session_present=True)
        await until(lambda: client.connected)


async def test_the_connection_number_rises_even_if_a_handshake_fails() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(), message(1))  # messages of a kept session come before SUBACK
        await until(lambda: client.stats.inbox_messages)
        peer.reset()
        peer = await welcome(broker, session_present=True)
        peer.send(message(1))
        arrivals = await take(client, 2)
        assert [a.connection for a in arrivals] == [1, 2]
        await until(lambda: client.connected)
        assert client.granted.connection == 2
        assert client.stats.connections_total == 1


async def test_stop_waits_for_confirmations_for_a_limited_time() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, stop_seconds_max=0.05), connect=False) as client,
    ):
        peer = await welcome(broker)
        await client.deliver(1, [("p", b"x")], [])
        await client.stop()
        await client.task
        assert client.confirmed == 0
        assert await peer.expect(PublishPacket)
        assert type(await peer.packet()) is PingReqPacket
        assert await peer.packet() == DisconnectPacket()


async def test_stop_ends_the_wait_for_the_next_attempt() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    slow = options(Nowhere, backoff_seconds_min=60.0, backoff_seconds_max=60.0)
    async with running(slow, connect=False, random=Random(1)) as client:
        await until(lambda: client.seen.losses)
        assert client.seen.losses[0][1] > 5
        begun = time.monotonic()
        await client.stop()
        await client.task
        assert time.monotonic() < begun + 2


async def test_stop_during_the_handshake_disconnects() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        await client.stop()
        await client.task
        assert await peer.packet() == DisconnectPacket()
        assert client.seen.losses == []


async def test_a_client_that_never_ran_can_be_stopped() -> None:
    async with ScriptedServer() as broker:
        client = MqttClient(options(broker), observer=RecordingObserver())
        await client.stop()
        await client.run()
        assert broker.connections == 0
        assert client.stats.received_bytes_total == 0
        assert not client.stats.reading_paused


async def test_a_cancelled_run_closes_its_connection() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        await until(lambda: client.connected)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert await peer.packet() is None
        assert not client.connected
