"""The link against a broker that does exactly what a test says."""

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
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRecPacket,
    SubAckPacket,
    SubAckReasonCode,
)

from stream_lstm.errors import SessionTaken
from stream_lstm.service.mqtt import Filter, MqttClient, inbound
from stream_lstm.service.mqtt.connection import Connection
from tests.brokers import free_port
from tests.service.mqtt.peers import Q0, Q2, Peer, Scripted, message, options, payloads, running, take, until

pytestmark = pytest.mark.usefixtures("_deadline")


@pytest.fixture
async def _deadline() -> Any:
    """No test here may hang for longer than this."""
    async with asyncio.timeout(30):
        yield


async def welcome(broker: Scripted, **connack: Any) -> Peer:
    """The next connection, connected and subscribed."""
    peer = await broker.peer()
    await peer.welcome(**connack)
    return peer


# Making a connection.


async def test_a_connection_begins_with_connect_subscribe_and_online() -> None:
    async with Scripted() as broker:
        settings = options(broker, status_topic="s", filters=[Filter("a/+", 2)], unsubscribe=["old/#"])
        async with running(settings, connect=False) as link:
            peer = await broker.peer()
            connect = await peer.expect(mqtt5.ConnectPacket)
            assert (connect.client_id, connect.will.payload) == ("stream", b"offline")
            peer.send(ConnAckPacket(session_present=True))
            assert (await peer.expect(mqtt5.UnsubscribePacket)).patterns == ["old/#"]
            peer.send(mqtt5.UnsubAckPacket(2, [mqtt5.UnsubAckReasonCode.SUCCESS]))
            subscribe = await peer.expect(mqtt5.SubscribePacket)
            assert [(f.pattern, f.max_qos) for f in subscribe.topic_filters] == [("a/+", 2), ("s", 0)]
            assert not link.connected
            assert link.seen.verdicts == []
            refused = SubAckReasonCode.NOT_AUTHORIZED  # to read who is there: we go without
            peer.send(SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE, refused]))
            online = await peer.expect(PublishPacket)
            assert (online.topic, online.payload, online.retain) == ("s", b"online", True)
            await until(lambda: link.connected)
            assert link.verdict.session_present
            assert link.seen.verdicts == [link.verdict]
            stopping = asyncio.create_task(link.stop())
            offline = await peer.expect(PublishPacket)
            assert (offline.topic, offline.payload, offline.retain) == ("s", b"offline", True)
            assert online.user_properties == offline.user_properties == connect.will.user_properties
            assert await peer.packet() == DisconnectPacket()
            assert await peer.packet() is None
            await stopping
            await link.task
        assert link.stats.connections_total == 1
        assert not link.connected
        assert link.seen.losses == []


async def test_a_link_without_filters_subscribes_to_nothing() -> None:
    async with Scripted() as broker, running(options(broker, filters=[]), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket())
        await until(lambda: link.connected)


@pytest.mark.parametrize(
    ("code", "words", "lasting"),
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "mqtt.password", True),
        (ConnAckReasonCode.NOT_AUTHORIZED, "not authorized (0x87)", True),
        (ConnAckReasonCode.CLIENT_ID_NOT_VALID, "mqtt.client_id", True),
        (ConnAckReasonCode.BANNED, "banned", True),
        (ConnAckReasonCode.SERVER_MOVED, "it names 'other:1883'", True),
        (ConnAckReasonCode.SERVER_UNAVAILABLE, "not available", False),
        (ConnAckReasonCode.SERVER_BUSY, "busy", False),
    ],
)
async def test_a_refusal_is_said_and_never_hammered(code: Any, words: str, lasting: bool) -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(reason_code=code, server_reference="other:1883"))
        await until(lambda: link.seen.losses)
        reason, seconds = link.seen.losses[0]
        assert words in reason
        if lasting:
            assert 30 <= seconds <= 60
            assert broker.connections == 1
        else:
            assert seconds <= 0.05
            await welcome(broker)
            await until(lambda: link.connected)


async def test_what_a_broker_cannot_do_is_not_asked_for_again() -> None:
    async with Scripted() as broker, running(options(broker, status_topic="s"), connect=False) as link:
        for code in (ConnAckReasonCode.RETAIN_NOT_SUPPORTED, ConnAckReasonCode.QUALITY_NOT_SUPPORTED):
            peer = await broker.peer()
            await peer.expect(mqtt5.ConnectPacket)
            peer.send(ConnAckPacket(reason_code=code))
        peer = await broker.peer()
        connect = await peer.welcome(retain_available=True)
        assert (connect.will.retain, connect.will.qos) == (False, 0)
        assert (await peer.expect(PublishPacket)).retain is False
        await until(lambda: link.connected)
        assert "retains nothing" in link.verdict.findings[0]


async def test_a_broker_of_qos_0_refuses_publications_of_qos_1() -> None:
    async with Scripted() as broker, running(options(broker, publish_qos=1), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(max_qos=Q0))
        await until(lambda: link.seen.losses)
        assert "publish.qos" in link.seen.losses[0][0]
        assert link.seen.losses[0][1] >= 30


@pytest.mark.parametrize(
    ("answer", "words", "lasting"),
    [
        (SubAckPacket(1, [SubAckReasonCode.NOT_AUTHORIZED]), "'sensors/#': not authorized", True),
        (SubAckPacket(1, [SubAckReasonCode.QUOTA_EXCEEDED]), "'sensors/#': quota exceeded", False),
        (SubAckPacket(7, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]), "SUBACK does not fit", False),
        (SubAckPacket(1, []), "SUBACK does not fit", False),
    ],
)
async def test_a_refused_subscription_is_no_connection(answer: Any, words: str, lasting: bool) -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket())
        await peer.expect(mqtt5.SubscribePacket)
        peer.send(answer)
        await until(lambda: link.seen.losses)
        assert words in link.seen.losses[0][0]
        assert (link.seen.losses[0][1] >= 30) is lasting
        assert link.stats.connections_total == 0


async def test_who_cannot_be_reached_is_tried_again() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    async with running(options(Nowhere), connect=False) as link:
        await until(lambda: len(link.seen.losses) >= 3)
        assert f"cannot connect to 127.0.0.1:{Nowhere.port}" in link.seen.losses[0][0]
    Nowhere.host = "a" * 70 + ".invalid"  # not even a name
    async with running(options(Nowhere), connect=False) as link:
        await until(lambda: link.seen.losses)
        assert "cannot connect" in link.seen.losses[0][0]


async def test_who_does_not_accept_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    async with (
        Scripted() as broker,
        running(options(broker, connect_seconds_max=0.02), connect=False) as link,
    ):
        await until(lambda: link.seen.losses)
        assert link.seen.losses[0][0] == f"127.0.0.1:{broker.port} does not answer"
        async with running(options(broker, connect_seconds_max=60.0), connect=False) as link:
            await until(lambda: link._handshake.pending)
            begun = time.monotonic()
            await link.stop()
            await link.task
            assert time.monotonic() < begun + 5
            assert link.seen.losses == []


async def test_a_broker_that_hangs_up_at_connect_may_not_speak_mqtt_5() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.close()
        await until(lambda: link.seen.losses)
        assert "does it speak MQTT 5" in link.seen.losses[0][0]
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(b"\x20\x02\x00\x01")  # MQTT 3.1.1: unacceptable protocol version
        await until(lambda: len(link.seen.losses) == 2)
        assert "does it speak MQTT 5" in link.seen.losses[1][0]


async def test_a_broker_that_does_not_answer_is_given_up_in_time() -> None:
    async with (
        Scripted() as broker,
        running(options(broker, connect_seconds_max=0.05), connect=False) as link,
    ):
        await until(lambda: link.seen.losses)
        assert "owes us a ConnAckPacket" in link.seen.losses[0][0]


async def test_waits_follow_the_dice() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    expected = Random(5)
    async with running(options(Nowhere), connect=False, random=Random(5)) as link:
        await until(lambda: len(link.seen.losses) >= 4)
    drawn = [expected.uniform(0, ceiling) for ceiling in (0.01, 0.02, 0.04, 0.05)]
    assert [seconds for _, seconds in link.seen.losses[:4]] == drawn


# What comes in.


async def test_messages_carry_their_connection_and_the_clocks_time() -> None:
    async with Scripted() as broker, running(options(broker), connect=False, clock=lambda: 1_234.5) as link:
        peer = await welcome(broker)
        peer.send(message(1), message(2, Q0), message(3, Q2))
        arrivals = await take(link, 3)
        assert payloads(arrivals) == [b"1", b"2", b"3"]
        assert {(a.connection, a.time) for a in arrivals} == {(1, 1_234.5)}
        assert link.stats.messages_total == link.stats.unacknowledged == 3
        assert link.stats.inbox_messages == link.stats.inbox_bytes == 0
        assert link.stats.received_bytes_total > 3 * len(message(1, Q0))
        assert link.stats.receive_maximum == 65_534


async def test_receive_takes_no_more_than_asked_for_and_waits_for_nothing_more() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        waiting = asyncio.create_task(link.receive(10))
        await until(lambda: link.connected)
        assert not waiting.done()
        peer.send(message(1))
        assert payloads(await waiting) == [b"1"]
        peer.send(*[message(n) for n in range(2, 9)])
        await until(lambda: link.stats.inbox_messages == 7)
        assert payloads(await link.receive(3)) == [b"2", b"3", b"4"]
        assert payloads(await link.receive(100)) == [b"5", b"6", b"7", b"8"]


async def test_who_receives_may_wait_for_more_and_then_for_less() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        wanted = [3]
        waiting = asyncio.create_task(link.receive(10, lambda: wanted[0]))
        peer.send(message(1), message(2))
        await until(lambda: link.stats.inbox_messages == 2)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        peer.send(message(3))
        assert payloads(await waiting) == [b"1", b"2", b"3"]
        waiting = asyncio.create_task(link.receive(10, lambda: wanted[0]))
        peer.send(message(4))
        await until(lambda: link.stats.inbox_messages == 1)
        wanted[0] = 1
        link.reconsider()
        assert payloads(await waiting) == [b"4"]


async def test_nothing_is_acknowledged_before_it_is_delivered_and_then_in_order() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        peer.send(message(9), message(4, Q2), message(7, Q0), message(1))
        arrivals = await take(link, 4)
        await link.deliver(1, [("p", b"x"), ("q", b"y")], arrivals)
        assert await peer.packet() == PublishPacket("p", b"x")
        assert await peer.packet() == PublishPacket("q", b"y")
        assert [await peer.packet() for _ in range(3)] == [PubAckPacket(9), PubRecPacket(4), PubAckPacket(1)]
        assert link.stats.unacknowledged == 0
        peer.send(mqtt5.PubRelPacket(4))
        assert await peer.expect(mqtt5.PubCompPacket) == mqtt5.PubCompPacket(4)


async def test_a_delivery_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)  # its beginning writes, too
        peer.send(*[message(n) for n in range(1, 301)])
        arrivals = await take(link, 300)
        writes: list[bytes] = []
        monkeypatch.setattr(Connection, "send", lambda _, content: writes.append(content))
        await link.deliver(1, [("p", b"%d" % n) for n in range(300)], arrivals)
        monkeypatch.undo()
        assert len([w for w in writes if w[0] != 0xC0]) == 1  # and a ping that confirms it


async def test_what_an_earlier_connection_brought_is_kept_but_not_acknowledged() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        peer.send(message(1), message(2))
        await until(lambda: link.stats.inbox_messages == 2)
        peer.reset()
        await until(lambda: link.seen.losses)
        peer = await welcome(broker, session_present=True)
        peer.send(message(1, duplicate=True), message(2, duplicate=True))
        arrivals = await take(link, 4)
        assert payloads(arrivals) == [b"1", b"2", b"1", b"2"]
        assert [a.connection for a in arrivals] == [1, 2]
        await until(lambda: link.connected)
        await link.deliver(1, [], arrivals[:1])
        await link.deliver(2, [("p", b"x")], arrivals[1:])
        assert await peer.expect(PublishPacket) == PublishPacket("p", b"x")
        assert [await peer.packet() for _ in range(2)] == [PubAckPacket(1), PubAckPacket(2)]
        assert link.stats.unacknowledged == 0


async def test_the_connection_number_rises_even_where_none_came_to_serve() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(), message(1))  # a kept session speaks before it is subscribed again
        await until(lambda: link.stats.inbox_messages)
        peer.reset()
        peer = await welcome(broker, session_present=True)
        peer.send(message(1))
        arrivals = await take(link, 2)
        assert [a.connection for a in arrivals] == [1, 2]
        await until(lambda: link.connected)
        assert link.verdict.connection == 2
        assert link.stats.connections_total == 1


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_the_broker_knows_as_acknowledged_is_settled(qos: int) -> None:
    async with Scripted() as broker, running(options(broker, publish_qos=qos), connect=False) as link:
        link.resume(3, acked_through=3)
        peer = await welcome(broker)
        peer.send(message(1))
        await link.deliver(4, [], await take(link, 1), fresh=True)
        assert link.acked_through == 3
        await peer.expect(PubAckPacket)
        await peer.expect(mqtt5.PingReqPacket)
        assert link.acked_through == 3
        peer.send(mqtt5.PingRespPacket())
        await until(lambda: link.acked_through == 4)
        peer.send(message(3))
        arrivals = await take(link, 1)
        peer.reset()
        await until(lambda: link.seen.losses)
        peer = await welcome(broker, session_present=True)
        await until(lambda: link.connected)
        await link.deliver(5, [], arrivals, fresh=True)  # their ids mean nothing here
        peer.send(message(3, duplicate=True))
        again = await take(link, 1)
        await link.deliver(5, [], again)  # a copy: others may still come
        await peer.expect(PubAckPacket)
        peer.send(message(4))
        await link.deliver(6, [], await take(link, 1), fresh=True)
        await peer.expect(PubAckPacket)
        assert link.acked_through == 4
        until_settled = asyncio.create_task(until(lambda: link.acked_through == 6))
        while not until_settled.done():
            packet = await peer.packet()
            assert isinstance(packet, mqtt5.PingReqPacket)
            peer.send(mqtt5.PingRespPacket())
            await asyncio.sleep(0.02)


async def test_what_may_have_waited_for_us_is_marked_until_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound, "QUIET_SECONDS", 0.05)
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        peer.send(message(1))
        arrivals = await take(link, 1)
        await link.deliver(1, [], arrivals)
        await peer.expect(PubAckPacket)
        peer.reset()
        peer = await welcome(broker, session_present=True)
        peer.send(message(2))
        arrivals += (late := await take(link, 1))
        await asyncio.sleep(0.06)  # quiet, but one is not acknowledged: the broker may hold back the rest
        peer.send(message(3))
        arrivals += (also := await take(link, 1))
        await link.deliver(2, [], [*late, *also])
        await asyncio.sleep(0.06)
        peer.send(message(4))
        arrivals += await take(link, 1)
        assert [arrival.late for arrival in arrivals] == [False, True, True, False]


@pytest.mark.parametrize("session_present", [True, False])
async def test_after_a_restart_only_a_kept_session_has_held_anything(session_present: bool) -> None:
    settings = {"session_expected": True}
    async with Scripted() as broker, running(options(broker, **settings), connect=False) as link:
        peer = await welcome(broker, session_present=session_present)
        await until(lambda: link.connected)
        peer.send(message(1))
        assert [arrival.late for arrival in await take(link, 1)] == [session_present]


@pytest.mark.parametrize("session_present", [True, False])
async def test_what_comes_with_the_answer_to_subscribe_knows_whether_there_was_a_session(
    session_present: bool,
) -> None:
    settings = {"session_expected": True}
    async with Scripted() as broker, running(options(broker, **settings), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(session_present=session_present))
        subscribe = await peer.expect(mqtt5.SubscribePacket)
        answer = SubAckPacket(subscribe.packet_id, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE])
        peer.send(answer, message(1))  # in one read: taken before the link knows itself connected
        (arrival,) = await take(link, 1)
        assert (arrival.resumed, arrival.late) == (session_present, session_present)


async def test_messages_that_never_cease_are_late_for_as_long_as_we_were_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound, "LATE_SECONDS_MAX", 0.3)
    settings = {"session_expected": True}
    async with Scripted() as broker, running(options(broker, **settings), connect=False) as link:
        peer = await welcome(broker, session_present=True)
        late = []
        for n in range(1, 30):  # each 20 ms, and none is acknowledged
            peer.send(message(n))
            late += [arrival.late for arrival in await take(link, 1)]
            await asyncio.sleep(0.02)
        assert late == sorted(late, reverse=True)
        assert late[0]
        assert not late[-1]


async def test_a_session_that_is_gone_is_found() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        for number, present in enumerate([False, True, False], 1):
            peer = await welcome(broker, session_present=present)
            await until(lambda number=number: len(link.seen.verdicts) == number)
            peer.reset()
        found = [verdict.findings for verdict in link.seen.verdicts]
        assert found[0] == found[1] == []
        assert "no longer has our session" in found[2][0]
    async with Scripted() as broker, running(options(broker, session_expected=True), connect=False) as link:
        await welcome(broker, session_present=False)
        await until(lambda: link.connected)
        assert "no longer has our session" in link.verdict.findings[0]


async def test_garbage_ends_a_connection_and_the_next_one_works() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        peer.send(message(1), b"\x00\x00\x00")
        assert (await peer.expect(DisconnectPacket)).reason_code == DisconnectReasonCode.MALFORMED_PACKET
        await until(lambda: link.seen.losses)
        assert "broke MQTT 5 (malformed packet)" in link.seen.losses[0][0]
        peer = await welcome(broker)
        peer.send(message(2))
        assert payloads(await take(link, 2)) == [b"1", b"2"]


@pytest.mark.parametrize(
    "code",
    [
        DisconnectReasonCode.SERVER_SHUTTING_DOWN,
        DisconnectReasonCode.KEEP_ALIVE_TIMEOUT,
        DisconnectReasonCode.ADMINISTRATIVE_ACTION,
        DisconnectReasonCode.NOT_AUTHORIZED,
    ],
)
async def test_a_farewell_is_named_and_followed_by_a_new_connection(code: Any) -> None:
    lasting = code == DisconnectReasonCode.NOT_AUTHORIZED
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        (await welcome(broker)).send(DisconnectPacket(reason_code=code))
        await until(lambda: link.seen.losses)
        reason, seconds = link.seen.losses[0]
        assert f"(0x{int(code):02X})" in reason
        assert (seconds >= 30) is lasting
        if not lasting:
            await welcome(broker)


async def test_a_taken_session_ends_the_link() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)
        peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
        with pytest.raises(SessionTaken, match=r"mqtt\.client_id"):
            await link.task
        assert broker.connections == 1
        assert link.seen.losses == []


async def test_who_is_hung_up_on_again_and_again_asks_why_and_goes_on() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        for _ in range(6):
            (await welcome(broker, session_present=True)).close()
        await welcome(broker, session_present=True)
        await until(lambda: link.connected)
        asked = ["does another client use 'stream'" in reason for reason, _ in link.seen.losses]
        assert asked == [False] * 4 + [True] * 2


def signed(started_ms: int, client_id: str = "stream") -> PublishPacket:
    """What somebody has left on the status topic."""
    owner = f"{started_ms} 0123abcd {client_id}"
    return PublishPacket("s", b"online", retain=True, user_properties=[("owner", owner)])


async def test_who_finds_that_a_later_one_uses_its_id_leaves() -> None:
    later = int(time.time() * 1e3) + 60_000
    async with Scripted() as broker, running(options(broker, status_topic="s"), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)
        peer.send(message(1), signed(later, "another"), signed(1), signed(later - 1))  # it was here before us
        assert payloads(await take(link, 1)) == [b"1"]
        peer.close()
        peer = await welcome(broker)
        nonsense = PublishPacket(
            "s", b"online", user_properties=[("owner", "x"), ("owner", "9" * 99), ("", "")]
        )
        peer.send(signed(later, "another"), signed(1), signed(later - 1), nonsense, message(2))
        assert payloads(await take(link, 1)) == [b"2"]
        assert link.stats.messages_total == 2
        peer.send(signed(later), message(3))
        with pytest.raises(SessionTaken, match="started later uses our client id 'stream'"):
            await link.task
        while not isinstance(packet := await peer.packet(), DisconnectPacket):
            assert isinstance(packet, PublishPacket)
        assert packet.reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION


async def test_messages_of_a_kept_session_are_acknowledged_before_the_subscription_is_answered() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        peer.send(ConnAckPacket(session_present=True), message(1), message(2))
        await link.deliver(1, [], await take(link, 2), fresh=True)
        await peer.expect(mqtt5.SubscribePacket)
        assert await peer.expect(PubAckPacket) == PubAckPacket(1)
        assert await peer.expect(PubAckPacket) == PubAckPacket(2)
        assert not link.connected
        peer.send(SubAckPacket(1, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]))
        await until(lambda: link.connected)


async def test_a_broker_that_comes_and_goes_is_connected_to_again() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        for _ in range(3):
            for _ in range(4):
                (await welcome(broker, session_present=True)).close()
            peer = await broker.peer()  # one attempt that leads to nothing, as while a broker starts
            peer.reset()
        await welcome(broker, session_present=True)
        await until(lambda: link.connected)


# Holding the broker back.


async def test_a_full_inbox_stops_the_reading_and_nothing_is_lost() -> None:
    limit, total = 500, 60_000
    async with Scripted() as broker:
        settings = options(broker, inbox_messages_max=limit)
        async with running(settings, connect=False) as link:
            peer = await welcome(broker)
            await until(lambda: link.connected)  # before, answers are awaited, and reading goes on
            per_read = 262_144 // len(message(1, Q0))
            sending = asyncio.create_task(flood(peer, total))
            await until(lambda: link.stats.reading_paused)
            got: list[bytes] = []
            pauses = 0
            while len(got) < total:
                got += payloads(await link.receive(100))
                pauses += link.stats.reading_paused
                assert link.stats.inbox_messages <= limit + per_read
                await asyncio.sleep(0)
            await sending
            assert got == [b"%d" % n for n in range(total)]
            assert pauses > 10
            assert not link.stats.reading_paused
            assert link.stats.dropped_messages_total == 0


async def flood(peer: Peer, total: int, size: int = 1_000) -> None:
    for start in range(0, total, size):
        peer.send(*[PublishPacket("sensors/a", b"%d" % n) for n in range(start, start + size)])
        await peer.writer.drain()


async def test_a_full_inbox_is_counted_in_bytes_too() -> None:
    async with Scripted() as broker, running(options(broker, inbox_bytes_max=1_000), connect=False) as link:
        peer = await welcome(broker)
        peer.send(PublishPacket("sensors/a", b"x" * 2_000))
        await until(lambda: link.stats.reading_paused)
        assert link.stats.inbox_bytes > 2_000
        await link.receive(1)
        assert not link.stats.reading_paused


async def test_while_an_answer_is_awaited_reading_goes_on_and_qos_0_may_be_lost() -> None:
    async with Scripted() as broker:
        settings = options(broker, publish_qos=1, inbox_messages_max=100)
        async with running(settings, connect=False) as link:
            peer = await welcome(broker, receive_max=1)
            delivering = asyncio.create_task(link.deliver(1, [("p", b"1"), ("p", b"2")], []))
            first = await peer.expect(PublishPacket)
            for n in range(60):  # one read each, until far more is there than fits
                peer.send(*[PublishPacket("sensors/a", b"%d" % k) for k in range(n * 10, n * 10 + 10)])
                await until(lambda n=n: link.stats.messages_total == (n + 1) * 10)
            peer.send(PubAckPacket(first.packet_id))
            second = await peer.expect(PublishPacket)
            await delivering
            assert link.stats.inbox_messages == 200  # twice the limit
            assert link.stats.dropped_messages_total == 400
            peer.send(PubAckPacket(second.packet_id))
            got = payloads(await take(link, 200))
            assert got == [b"%d" % n for n in range(200)]
            await link.confirm(1)
            assert link.seen.losses == []


async def test_acknowledgeable_messages_that_do_not_fit_are_sent_again() -> None:
    async with Scripted() as broker:
        settings = options(broker, publish_qos=1, inbox_messages_max=10)
        async with running(settings, connect=False) as link:
            peer = await welcome(broker, receive_max=1)
            delivering = asyncio.create_task(link.deliver(1, [("p", b"1"), ("p", b"2")], []))
            first = await peer.expect(PublishPacket)
            for n in range(1, 41):
                peer.send(message(n))
                await until(lambda n=n: link.stats.messages_total == n)
            peer.send(PubAckPacket(first.packet_id))
            await delivering
            assert link.stats.inbox_messages == 20
            assert link.connected  # until there is room again
            got = payloads(await link.receive(20))
            await until(lambda: link.seen.losses)
            assert "room" in link.seen.losses[0][0]
            assert await peer.expect(PublishPacket)
            assert await peer.packet() == DisconnectPacket()
            peer = await welcome(broker, session_present=True)
            peer.send(*[message(n, duplicate=True) for n in range(1, 41)])
            got += payloads(await take(link, 40))
            assert got == [b"%d" % n for n in [*range(1, 21), *range(1, 41)]]
            assert link.stats.dropped_messages_total == 0


async def test_after_take_no_more_answers_are_heard_and_messages_left_with_the_broker() -> None:
    async with Scripted() as broker, running(options(broker, inbox_messages_max=5), connect=False) as link:
        peer = await welcome(broker)
        peer.send(*[message(n) for n in range(1, 9)])
        await until(lambda: link.stats.reading_paused)
        await link.deliver(1, [("p", b"x")], [])
        link.stop_receiving()
        peer.send(*[message(n) for n in range(9, 30)], message(30, Q0))
        await peer.expect(PublishPacket)
        await peer.expect(PingReqPacket)
        peer.send(PingRespPacket())
        await link.confirm(1)
        assert link.connected
        assert link.stats.inbox_messages == 8
        assert link.stats.dropped_messages_total == 0


async def test_a_broker_that_does_not_read_is_waited_for_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.service.mqtt.outbound.WRITE_PATIENCE_SECONDS", 0.01)
    async with Scripted() as broker, running(options(broker, inbox_messages_max=5), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)
        peer.send(*[message(n) for n in range(1, 9)])
        await until(lambda: link.stats.reading_paused)
        for number in (1, 2, 3, 4, 5):  # far more than sockets hold
            delivering = asyncio.create_task(
                link.deliver(number, [("p", b"x" * 1_000_000)] * 4, [])  # the peer reads nothing
            )
            done, _ = await asyncio.wait({delivering}, timeout=0.1)
            if not done:
                break
        assert not done
        await until(lambda: not link.stats.reading_paused)
        peer.send(message(9))
        await until(lambda: link.stats.messages_total == 9)
        for _ in range(number * 4):
            await peer.expect(PublishPacket)
        await delivering


# What goes out.


async def test_deliveries_wait_for_a_connection_and_go_out_in_order() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        delivering = asyncio.create_task(link.deliver(1, [("p", b"1")], []))
        peer = await welcome(broker)
        await delivering
        await link.deliver(2, [("p", b"2")], [])
        assert [(await peer.expect(PublishPacket)).payload for _ in range(2)] == [b"1", b"2"]


async def test_a_number_that_does_not_rise_is_refused() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        await welcome(broker)
        link.resume(6)
        with pytest.raises(ValueError, match="delivery 6 after 6"):
            await link.deliver(6, [("p", b"x")], [])
        assert link.confirmed == 6
        await link.confirm(6)


async def test_at_qos_0_the_answer_to_a_ping_confirms() -> None:
    async with (
        Scripted() as broker,
        running(options(broker, barrier_seconds_min=0.02), connect=False) as link,
    ):
        peer = await welcome(broker)
        begun = time.monotonic()
        await link.deliver(1, [("p", b"1")], [])
        await peer.packet()
        assert type(await peer.packet()) is PingReqPacket
        await link.deliver(2, [("p", b"2")], [])
        await link.deliver(3, [("p", b"3")], [])
        assert link.confirmed == 0
        peer.send(PingRespPacket())
        await link.confirm(1)
        assert link.confirmed == 1
        assert [(await peer.packet()).payload for _ in range(2)] == [b"2", b"3"]
        assert type(await peer.packet()) is PingReqPacket
        assert time.monotonic() >= begun + 0.02
        peer.send(PingRespPacket())
        await link.confirm(3)
        assert link.stats.unconfirmed_bytes == 0


async def test_what_is_unconfirmed_is_written_again_the_same_after_a_cut() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        await link.deliver(1, [("p", b"1")], [])
        await peer.expect(PublishPacket)
        await peer.packet()
        peer.send(PingRespPacket())
        await link.confirm(1)
        await link.deliver(2, [("p", b"2"), ("q", b"3")], [])
        await link.deliver(3, [("p", b"4")], [])
        kept = link.stats.unconfirmed_bytes
        assert [(await peer.expect(PublishPacket)).payload for _ in range(3)] == [b"2", b"3", b"4"]
        peer.reset()
        peer = await welcome(broker)
        assert link.stats.unconfirmed_bytes == kept
        again = [await peer.expect(PublishPacket) for _ in range(3)]
        assert again == [PublishPacket("p", b"2"), PublishPacket("q", b"3"), PublishPacket("p", b"4")]
        assert type(await peer.packet()) is PingReqPacket
        peer.send(PingRespPacket())
        await link.confirm(3)


async def test_a_barrier_of_a_lost_connection_confirms_nothing() -> None:
    async with (
        Scripted() as broker,
        running(options(broker, barrier_seconds_min=60.0), connect=False) as link,
    ):
        peer = await welcome(broker)
        await link.deliver(1, [("p", b"1")], [])
        await peer.expect(PublishPacket)
        await link.deliver(2, [("p", b"2")], [])
        peer.reset()
        peer = await welcome(broker)
        await until(lambda: link.connected)
        assert link.confirmed == 0
        assert [(await peer.expect(PublishPacket)).payload for _ in range(2)] == [b"1", b"2"]
        assert link._courier._timer is not None  # the next ping is not due yet
        peer.reset()
        await until(lambda: len(link.seen.losses) == 2)
        assert link._courier._timer is None


async def test_too_much_unconfirmed_makes_deliveries_wait() -> None:
    async with (
        Scripted() as broker,
        running(options(broker, unconfirmed_bytes_max=1_000), connect=False) as link,
    ):
        peer = await welcome(broker)
        await link.deliver(1, [("p", b"x" * 1_000)], [])
        waiting = asyncio.create_task(link.deliver(2, [("p", b"y")], []))
        await peer.expect(PublishPacket)
        assert type(await peer.packet()) is PingReqPacket
        assert not waiting.done()
        peer.send(PingRespPacket())
        await waiting
        assert (await peer.expect(PublishPacket)).payload == b"y"


async def test_at_qos_1_the_brokers_receive_maximum_is_kept_and_acknowledgements_come_last() -> None:
    async with Scripted() as broker, running(options(broker, publish_qos=1), connect=False) as link:
        peer = await welcome(broker, receive_max=2)
        peer.send(message(77))
        arrivals = await take(link, 1)
        delivering = asyncio.create_task(link.deliver(1, [("p", b"%d" % n) for n in range(5)], arrivals))
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
        assert link.confirmed == 0
        peer.send(PubAckPacket(under_way.pop(0), reason_code=PubAckReasonCode.QUOTA_EXCEEDED))
        await link.confirm(1)
        assert link.stats.refused_publications_total == 1


@pytest.mark.parametrize("present", [True, False])
async def test_at_qos_1_what_is_unconfirmed_is_written_again(present: bool) -> None:
    async with Scripted() as broker, running(options(broker, publish_qos=1), connect=False) as link:
        peer = await welcome(broker, receive_max=2)
        delivering = asyncio.create_task(link.deliver(1, [("p", b"%d" % n) for n in range(4)], []))
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
        await link.confirm(1)


async def test_arrivals_of_before_a_cut_are_not_acknowledged_by_a_delivery_that_outlives_it() -> None:
    async with Scripted() as broker, running(options(broker, publish_qos=1), connect=False) as link:
        peer = await welcome(broker, receive_max=1)
        peer.send(message(5))
        delivering = asyncio.create_task(link.deliver(1, [("p", b"1"), ("p", b"2")], await take(link, 1)))
        await peer.expect(PublishPacket)
        peer.reset()
        peer = await welcome(broker, receive_max=10)
        await delivering
        got = [await peer.expect(PublishPacket) for _ in range(2)]
        peer.send(*[PubAckPacket(p.packet_id) for p in got])
        await link.confirm(1)
        await link.stop()
        assert await peer.packet() == DisconnectPacket()


async def test_a_cut_while_it_is_all_written_again_is_another_cut() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)
        peer.writer.transport.pause_reading()
        for number in range(1, 9):
            delivering = asyncio.create_task(link.deliver(number, [("p", b"x" * 1_000_000)] * 4, []))
            done, _ = await asyncio.wait({delivering}, timeout=0.05)
            if not done:
                break
        peer.reset()
        peer = await welcome(broker)  # and does not read on
        await until(lambda: link._intake.connection and not link._intake.connection.writable)
        assert not link.connected
        peer.reset()
        peer = await welcome(broker)
        for _ in range(link._courier.window.last * 4):
            await peer.expect(PublishPacket)
        await until(lambda: link.connected)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


# Leaving.


async def test_stop_waits_for_confirmation_but_not_for_ever() -> None:
    async with Scripted() as broker, running(options(broker, stop_seconds_max=0.05), connect=False) as link:
        peer = await welcome(broker)
        await link.deliver(1, [("p", b"x")], [])
        await link.stop()
        await link.task
        assert link.confirmed == 0
        assert await peer.expect(PublishPacket)
        assert type(await peer.packet()) is PingReqPacket
        assert await peer.packet() == DisconnectPacket()


async def test_stop_while_waiting_for_the_next_attempt_is_at_once() -> None:
    class Nowhere:
        host, port = "127.0.0.1", free_port()

    slow = options(Nowhere, backoff_seconds_min=60.0, backoff_seconds_max=60.0)
    async with running(slow, connect=False, random=Random(1)) as link:
        await until(lambda: link.seen.losses)
        assert link.seen.losses[0][1] > 5
        begun = time.monotonic()
        await link.stop()
        await link.task
        assert time.monotonic() < begun + 2


async def test_stop_in_the_middle_of_the_handshake_leaves() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await broker.peer()
        await peer.expect(mqtt5.ConnectPacket)
        await link.stop()
        await link.task
        assert await peer.packet() == DisconnectPacket()
        assert link.seen.losses == []


async def test_a_link_that_never_ran_can_be_stopped() -> None:
    async with Scripted() as broker:
        link = MqttClient(options(broker), observer=None)  # type: ignore[arg-type]  # nothing to observe
        await link.stop()
        await link.run()
        assert broker.connections == 0
        assert link.stats.received_bytes_total == 0
        assert not link.stats.reading_paused


async def test_a_cancelled_run_closes_its_connection() -> None:
    async with Scripted() as broker, running(options(broker), connect=False) as link:
        peer = await welcome(broker)
        await until(lambda: link.connected)
        link.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await link.task
        assert await peer.packet() is None
        assert not link.connected
