"""MqttClient: the handshake, and attempts that fail, against a scripted broker."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import mqtt5
import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    PubAckPacket,
    PublishPacket,
    SubAckPacket,
    SubAckReasonCode,
)

from stream_lstm.service.mqtt import Filter
from tests.brokers import free_port
from tests.service.mqtt.peers import (
    Q0,
    Peer,
    ScriptedServer,
    message,
    options,
    running,
    take,
    until,
    welcome,
)

pytestmark = pytest.mark.usefixtures("deadline")


async def test_a_connection_begins_with_connect_subscribe_and_online() -> None:
    async with ScriptedServer() as broker:
        settings = options(broker, status_topic="s", filters=[Filter("a/+", 2)], unsubscribe=["old/#"])
        async with running(settings, connect=False) as client:
            peer = await broker.peer()
            connect = await peer.expect(mqtt5.ConnectPacket)
            assert (connect.client_id, connect.will.payload) == ("stream", b"offline")
            peer.send(ConnAckPacket(session_present=True))
            assert (await peer.expect(mqtt5.UnsubscribePacket)).patterns == ["old/#"]
            peer.send(mqtt5.UnsubAckPacket(2, [mqtt5.UnsubAckReasonCode.SUCCESS]))
            subscribe = await peer.expect(mqtt5.SubscribePacket)
            assert [(f.pattern, f.max_qos) for f in subscribe.topic_filters] == [("a/+", 2), ("s", 0)]
            assert not client.connected
            assert client.seen.grants == []
            refused = SubAckReasonCode.NOT_AUTHORIZED  # to read the status topic: the client works without
            peer.send(SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE, refused]))
            online = await peer.expect(PublishPacket)
            assert (online.topic, online.payload, online.retain) == ("s", b"online", True)
            await until(lambda: client.connected)
            assert client.granted.session_present
            assert client.seen.grants == [client.granted]
            stopping = asyncio.create_task(client.stop())
            offline = await peer.expect(PublishPacket)
            assert (offline.topic, offline.payload, offline.retain) == ("s", b"offline", True)
            assert online.user_properties == offline.user_properties == connect.will.user_properties
            assert await peer.packet() == DisconnectPacket()
            assert await peer.packet() is None
            await stopping
            await client.task
        assert client.stats.connections_total == 1
        assert not client.connected
        assert client.seen.losses == []


async def test_a_client_without_filters_sends_no_subscribe() -> None:
    async with ScriptedServer() as broker, running(options(broker, filters=[]), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket())
        await until(lambda: client.connected)


@pytest.mark.parametrize(
    ("code", "words", "lasting"),
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "mqtt.password", True),
        (ConnAckReasonCode.NOT_AUTHORIZED, "not authorized (0x87)", True),
        (ConnAckReasonCode.CLIENT_ID_NOT_VALID, "mqtt.client_id", True),
        (ConnAckReasonCode.BANNED, "banned", True),
        (ConnAckReasonCode.SERVER_MOVED, "server reference 'other:1883'", True),
        (ConnAckReasonCode.SERVER_UNAVAILABLE, "not available", False),
        (ConnAckReasonCode.SERVER_BUSY, "busy", False),
    ],
)
async def test_a_refused_connection_names_the_reason_and_waits_longer_if_lasting(
    code: Any, words: str, lasting: bool
) -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(reason_code=code, server_reference="other:1883"))
        await until(lambda: client.seen.losses)
        reason, seconds = client.seen.losses[0]
        assert words in reason
        if lasting:
            assert 30 <= seconds <= 60
            assert broker.connections == 1
        else:
            assert seconds <= 0.05
            await welcome(broker)
            await until(lambda: client.connected)


async def test_features_that_the_broker_lacks_are_not_requested_again() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, status_topic="s"), connect=False) as client,
    ):
        for code in (ConnAckReasonCode.RETAIN_NOT_SUPPORTED, ConnAckReasonCode.QUALITY_NOT_SUPPORTED):
            peer = await broker.peer()
            await peer.expect(mqtt5.ConnectPacket)
            peer.send(ConnAckPacket(reason_code=code))
        peer = await broker.peer()
        connect = await peer.welcome(retain_available=True)
        assert (connect.will.retain, connect.will.qos) == (False, 0)
        assert (await peer.expect(PublishPacket)).retain is False
        await until(lambda: client.connected)
        assert "does not support retained messages" in client.granted.findings[0]


async def test_publishing_at_qos_1_fails_at_a_broker_of_qos_0() -> None:
    async with ScriptedServer() as broker, running(options(broker, publish_qos=1), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(max_qos=Q0))
        await until(lambda: client.seen.losses)
        assert "publish.qos" in client.seen.losses[0][0]
        assert client.seen.losses[0][1] >= 30


@pytest.mark.parametrize(
    ("answer", "words", "lasting"),
    [
        (SubAckPacket(1, [SubAckReasonCode.NOT_AUTHORIZED]), "'sensors/#': not authorized", True),
        (SubAckPacket(1, [SubAckReasonCode.QUOTA_EXCEEDED]), "'sensors/#': quota exceeded", False),
        (SubAckPacket(7, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]), "SUBACK does not match", False),
        (SubAckPacket(1, []), "SUBACK does not match", False),
    ],
)
async def test_a_refused_subscription_ends_the_attempt(answer: Any, words: str, lasting: bool) -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket())
        await peer.expect(mqtt5.SubscribePacket)
        peer.send(answer)
        await until(lambda: client.seen.losses)
        assert words in client.seen.losses[0][0]
        assert (client.seen.losses[0][1] >= 30) is lasting
        assert client.stats.connections_total == 0


async def test_an_unreachable_broker_is_tried_again() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    async with running(options(Nowhere), connect=False) as client:
        await until(lambda: len(client.seen.losses) >= 3)
        assert f"cannot connect to 127.0.0.1:{Nowhere.port}" in client.seen.losses[0][0]
    Nowhere.host = "a" * 70 + ".invalid"  # not a valid host name
    async with running(options(Nowhere), connect=False) as client:
        await until(lambda: client.seen.losses)
        assert "cannot connect" in client.seen.losses[0][0]


async def test_an_attempt_times_out_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    async with (
        ScriptedServer() as broker,
        running(options(broker, connect_seconds_max=0.02), connect=False) as client,
    ):
        await until(lambda: client.seen.losses)
        assert client.seen.losses[0][0] == f"127.0.0.1:{broker.port} does not answer within 0.02 s"
        async with running(options(broker, connect_seconds_max=60.0), connect=False) as client:
            await until(lambda: client._handshake.pending)
            begun = time.monotonic()
            await client.stop()
            await client.task
            assert time.monotonic() < begun + 5
            assert client.seen.losses == []


async def test_a_connection_closed_at_connect_hints_at_the_protocol() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.close()
        await until(lambda: client.seen.losses)
        assert "check that the broker speaks MQTT 5" in client.seen.losses[0][0]
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(b"\x20\x02\x00\x01")  # MQTT 3.1.1
        peer.close()
        await until(lambda: len(client.seen.losses) == 2)
        assert client.seen.losses[1][0] == (
            "the broker does not speak MQTT 5 (it answered with MQTT 3.1.1's return code 1, unacceptable "
            "protocol version): use one that does (mosquitto from 1.6, EMQX, HiveMQ, VerneMQ)"
        )


async def test_a_connack_that_does_not_come_times_out() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, connect_seconds_max=0.05), connect=False) as client,
    ):
        await until(lambda: client.seen.losses)
        assert "while waiting for CONNACK" in client.seen.losses[0][0]


async def test_waits_between_attempts_follow_the_given_random() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    expected = Random(5)
    async with running(options(Nowhere), connect=False, random=Random(5)) as client:
        await until(lambda: len(client.seen.losses) >= 4)
    drawn = [expected.uniform(0, ceiling) for ceiling in (0.01, 0.02, 0.04, 0.05)]
    assert [seconds for _, seconds in client.seen.losses[:4]] == drawn


async def test_a_lost_session_is_a_finding() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        for number, present in enumerate([False, True, False], 1):
            peer = await welcome(broker, session_present=present)
            await until(lambda number=number: len(client.seen.grants) == number)
            peer.reset()
        found = [granted.findings for granted in client.seen.grants]
        assert found[0] == found[1] == []
        assert "has lost the session" in found[2][0]
    async with (
        ScriptedServer() as broker,
        running(options(broker, session_expected=True), connect=False) as client,
    ):
        await welcome(broker, session_present=False)
        await until(lambda: client.connected)
        assert "has lost the session" in client.granted.findings[0]


async def test_messages_of_a_kept_session_are_acknowledged_before_suback() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(session_present=True), message(1), message(2))
        await client.deliver(1, [], await take(client, 2), fresh=True)
        await peer.expect(mqtt5.SubscribePacket)
        assert await peer.expect(PubAckPacket) == PubAckPacket(1)
        assert await peer.expect(PubAckPacket) == PubAckPacket(2)
        assert not client.connected
        peer.send(SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]))
        await until(lambda: client.connected)


async def answer_subscribe(peer: Peer) -> mqtt5.SubscribePacket:
    subscribe: mqtt5.SubscribePacket = await peer.expect(mqtt5.SubscribePacket)
    codes = [mqtt5.SubAckReasonCode(1)] * len(subscribe.topic_filters)
    peer.send(mqtt5.SubAckPacket(subscribe.packet_id, codes))
    return subscribe


@pytest.mark.parametrize("available", [True, False])
async def test_filters_that_overlap_have_identifiers_where_the_broker_knows_any(available: bool) -> None:
    filters = [Filter("a/#", 1), Filter("b", 0), Filter("a/+/c", 2)]
    async with (
        ScriptedServer() as broker,
        running(options(broker, filters=filters, status_topic="s"), connect=False) as client,
    ):
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(mqtt5.ConnAckPacket(subscription_id_available=available))
        asked = [await answer_subscribe(peer) for _ in range(3 if available else 1)]
        found = [
            (packet.subscription_id, [entry.pattern for entry in packet.topic_filters]) for packet in asked
        ]
        apart = [(1, ["a/#"]), (2, ["a/+/c"]), (None, ["b", "s"])]
        assert found == (apart if available else [(None, ["a/#", "b", "a/+/c", "s"])])
        await until(lambda: client.connected)
        assert client.granted.subscriptions == (("a/#", 1), ("b", 1), ("a/+/c", 1))


async def test_filters_that_all_overlap_need_no_other_subscription() -> None:
    filters = [Filter("a/#", 1), Filter("a/b", 1)]
    async with (
        ScriptedServer() as broker,
        running(options(broker, filters=filters), connect=False) as client,
    ):
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(mqtt5.ConnAckPacket())
        assert [(await answer_subscribe(peer)).subscription_id for _ in filters] == [1, 2]
        await until(lambda: client.connected)
