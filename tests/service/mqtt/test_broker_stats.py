"""The broker's count of dropped messages: read where the broker allows it, and never an event."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mqtt5
import pytest
from mqtt5 import ConnAckPacket, DisconnectPacket, DisconnectReasonCode, PubAckPacket, PublishPacket, QoS

from stream_lstm.demo import embedded
from stream_lstm.demo.broker import Child, free_port, until_listening
from stream_lstm.errors import SessionTaken
from stream_lstm.service.assembly import client_options
from stream_lstm.service.mqtt import Filter
from stream_lstm.service.mqtt.broker_stats import BrokerStats
from stream_lstm.service.settings import Settings
from tests.service.mqtt.peers import Peer, ScriptedServer, message, options, payloads, running, take, until
from tests.service.scripted import SentMessage

TOPIC = "$SYS/broker/publish/messages/dropped"


def retained(payload: bytes, topic: str = TOPIC) -> SentMessage:
    return SentMessage(topic, payload, qos=0, packet_id=None, retain=True)


@pytest.mark.parametrize(
    ("payloads", "total"),
    [
        ([], None),
        ([b"0"], 0),
        ([b"17"], 17),
        ([b"18446744073709551615"], 2**64 - 1),
        ([b"17", b"3"], 3),  # the broker was restarted
        ([b"17", b"many", b""], 17),
        ([b""], None),
        ([b"-1"], None),
        ([b"1.5"], None),
        ([b"1e3"], None),
        ([b" 1"], None),
        ([b"1_000"], None),
        ([b"\xff"], None),
        (["²".encode()], None),
        ([b"9" * 21], None),
        ([b"9" * 60_000], None),
    ],
)
def test_the_latest_count_of_plain_digits_is_taken(payloads: list[bytes], total: int | None) -> None:
    stats = BrokerStats(TOPIC)
    stats.update([retained(payload) for payload in payloads] + [retained(b"99", "status")])
    assert stats.total == total


def count(n: int, **more: Any) -> PublishPacket:
    return PublishPacket(TOPIC, b"%d" % n, **more)


async def test_counts_among_events_are_read_and_are_not_received_as_messages() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, dropped_topic=TOPIC), connect=False) as client,
    ):
        peer = await broker.peer()
        await peer.welcome(granted=1)
        await until(lambda: client.connected)
        assert client.stats.broker_dropped_total is None
        burst = [count(n) for n in range(5_000)]
        peer.send(message(1), *burst, message(2), count(5_000), message(3))
        arrivals = await take(client, 3)
        assert payloads(arrivals) == [b"1", b"2", b"3"]
        assert client.stats.broker_dropped_total == 5_000
        assert (client.stats.messages_total, client.stats.unacknowledged, client.stats.inbox_messages) == (
            3,
            3,
            0,
        )
        await client.deliver(1, [], arrivals, fresh=True)
        assert [await peer.expect(PubAckPacket) for _ in range(3)] == [PubAckPacket(n) for n in (1, 2, 3)]
        assert client.stats.unacknowledged == 0
        peer.send(PublishPacket(TOPIC, b"nonsense"))
        peer.close()
        await (await broker.peer()).welcome(granted=1)
        await until(lambda: client.stats.connections_total == 2)
        assert client.stats.broker_dropped_total == 5_000  # the last count holds


async def test_a_message_of_qos_1_on_the_topic_is_received() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, dropped_topic=TOPIC), connect=False) as client,
    ):
        peer = await broker.peer()
        await peer.welcome(granted=1)
        peer.send(count(7, qos=QoS.AT_LEAST_ONCE, packet_id=1))
        await client.deliver(1, [], await take(client, 1), fresh=True)
        assert await peer.expect(PubAckPacket) == PubAckPacket(1)
        assert client.stats.broker_dropped_total is None


async def asked(broker: ScriptedServer, session_present: bool) -> tuple[Peer, list[tuple[str, int]]]:
    """The next connection, whose SUBSCRIBE is not answered yet, and its filters."""
    peer = await broker.peer()
    await peer.expect(mqtt5.ConnectPacket)
    peer.send(ConnAckPacket(session_present=session_present))
    subscribe = await peer.expect(mqtt5.SubscribePacket)
    return peer, [(entry.pattern, int(entry.max_qos)) for entry in subscribe.topic_filters]


@pytest.mark.parametrize("session_present", [False, True])
@pytest.mark.parametrize("word", [None, DisconnectReasonCode.NOT_AUTHORIZED])
async def test_the_attempt_after_a_connection_lost_at_subscribe_leaves_the_topic_out(
    session_present: bool, word: DisconnectReasonCode | None
) -> None:
    async with ScriptedServer() as broker:
        settings = options(broker, dropped_topic=TOPIC, watched=[Filter("freeze", 1)])
        async with running(settings, connect=False) as client:
            peer, filters = await asked(broker, session_present)
            assert filters == [("sensors/#", 1), (TOPIC, 0), ("freeze", 1)]
            if word:
                peer.send(DisconnectPacket(reason_code=word))
            peer.close()
            peer, filters = await asked(broker, session_present)
            assert filters == [("sensors/#", 1), ("freeze", 1)]
            assert f"the next attempt does not subscribe to {TOPIC}" in client.seen.losses[0][0]
            peer.close()  # so the topic was not the reason
            peer, filters = await asked(broker, session_present)
            assert (TOPIC, 0) in filters
            assert "mqtt.dropped_topic" not in client.seen.losses[1][0]
            peer.close()
            for _ in range(2):  # from then on without
                peer, filters = await asked(broker, session_present)
                assert (TOPIC, 0) not in filters
                peer.send(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * 2))
                await until(lambda: client.connected)
                peer.close()
                await until(lambda: not client.connected)


async def test_a_takeover_while_subscribing_ends_the_client() -> None:
    async with (
        ScriptedServer() as broker,
        running(options(broker, dropped_topic=TOPIC), connect=False) as client,
    ):
        peer, _ = await asked(broker, session_present=False)
        peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
        with pytest.raises(SessionTaken):
            await client.task


async def test_the_client_connects_to_rumqttd_without_the_topic(tmp_path: Path) -> None:
    """rumqttd closes the connection over a filter that begins with $."""
    port = free_port()
    (tmp_path / "broker.toml").write_text(embedded.CONFIG.format(port=port))
    command = [sys.executable, "-m", "stream_lstm.demo.embedded", str(tmp_path / "broker.toml")]
    with Child(command, log=tmp_path / "log") as child:
        until_listening(port, child)
        settings = client_options(Settings(mqtt={"url": f"mqtt://127.0.0.1:{port}"}))
        async with running(settings) as client:
            assert [TOPIC in reason for reason, _ in client.seen.losses] == [True]


@pytest.mark.parametrize(
    ("source", "topic"),
    [
        ("sensors/#", TOPIC),
        ("#", TOPIC),  # does not match topics that begin with $
        ("$SYS/#", ""),
        ("$share/group/$SYS/broker/#", ""),
        (TOPIC, ""),
    ],
)
def test_a_source_of_events_that_covers_the_topic_takes_precedence(source: str, topic: str) -> None:
    settings = Settings(subscribe=[{"topic": source}])
    assert client_options(settings).dropped_topic == topic


def test_an_empty_setting_subscribes_to_no_topic() -> None:
    assert client_options(Settings(mqtt={"dropped_topic": ""})).dropped_topic == ""
