"""Takeover by another client with our client id: reported, signed, or suspected."""

from __future__ import annotations

import pytest
from mqtt5 import DisconnectPacket, DisconnectReasonCode, PublishPacket

from stream_lstm.errors import SessionTaken
from stream_lstm.service.mqtt import ClientOptions, ClientSignature
from tests.service.mqtt.peers import ScriptedServer, message, options, payloads, running, take, until, welcome

pytestmark = pytest.mark.usefixtures("deadline")


async def test_a_reported_takeover_ends_the_client() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
        with pytest.raises(SessionTaken, match=r"mqtt\.client_id"):
            await client.task
        assert broker.connections == 1
        assert client.seen.losses == []


async def test_repeated_drops_hint_at_a_takeover_and_the_client_goes_on() -> None:
    async with ScriptedServer() as broker, running(options(broker), connect=False) as client:
        for _ in range(6):
            (await welcome(broker, session_present=True)).close()
        await welcome(broker, session_present=True)
        await until(lambda: client.connected)
        asked = ["does another client use 'stream'" in reason for reason, _ in client.seen.losses]
        assert asked == [False] * 4 + [True] * 2


KEY, FOREIGN = b"k" * 32, b"f" * 32
STARTED = 1_700_000_000_000
OURS = ClientSignature.of("stream", started_ms=STARTED, key=KEY)


def signed(started_ms: int, client_id: str = "stream", *, key: bytes = KEY) -> PublishPacket:
    """A retained status message of another run."""
    signature = ClientSignature.of(client_id, started_ms=started_ms, key=key)
    return PublishPacket("s", b"online", retain=True, user_properties=signature.properties)


def claimed(*owners: str) -> PublishPacket:
    """A message that claims owners."""
    return PublishPacket("s", b"online", user_properties=[("owner", owner) for owner in owners])


def own_topic(broker: ScriptedServer) -> ClientOptions:
    return options(broker, status_topic="s")


async def test_a_client_leaves_when_a_later_one_with_its_state_signs_with_its_id() -> None:
    async with (
        ScriptedServer() as broker,
        running(own_topic(broker), connect=False, signature=OURS) as client,
    ):
        peer = await welcome(broker)
        await until(lambda: client.connected)
        # Another's, and of earlier runs, the last of which had a clock that was ahead.
        peer.send(message(1), signed(STARTED + 9, "another"), signed(1), signed(STARTED + 5))
        assert payloads(await take(client, 1)) == [b"1"]
        peer.close()
        peer = await welcome(broker)
        peer.send(signed(STARTED + 9, "another"), signed(1), signed(STARTED + 4), message(2))
        assert payloads(await take(client, 1)) == [b"2"]
        assert client.stats.messages_total == 2
        peer.send(signed(STARTED + 6), message(3))
        with pytest.raises(SessionTaken, match="started later uses our client id 'stream' and a copy of our"):
            await client.task
        while not isinstance(packet := await peer.packet(), DisconnectPacket):
            assert isinstance(packet, PublishPacket)
        assert packet.reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION


def forgeries() -> list[PublishPacket]:
    """What a stranger can make of what it has read: anything but the key."""
    of_ours = dict(OURS.properties)["owner"]
    mac = of_ours.split(" ")[2]
    return [
        signed(STARTED + 60_000, key=FOREIGN),
        claimed(of_ours.replace(str(STARTED), str(STARTED + 1))),
        claimed(f"{STARTED + 60_000} 0123abcd stream", f"{STARTED + 60_000} 0123abcd {mac} stream"),
        claimed(f"{STARTED + 60_000} ü {'ü' * 32} stream", f"{STARTED + 60_000}   stream"),
        claimed("x", "9" * 99, "", "9", "9 9", "٣ a b stream"),
        PublishPacket("s", b"online", user_properties=[("", ""), ("owner ", of_ours)]),
    ]


@pytest.mark.parametrize("forged", forgeries(), ids=str)
async def test_a_stranger_cannot_make_a_client_leave(forged: PublishPacket) -> None:
    async with (
        ScriptedServer() as broker,
        running(own_topic(broker), connect=False, signature=OURS) as client,
    ):
        for n in range(2):  # from the second connection on, signatures count
            peer = await welcome(broker)
            await until(lambda: client.connected)
            peer.send(forged, message(n))
            assert payloads(await take(client, 1)) == [str(n).encode()]
            if not n:
                peer.close()
        assert client.connected


async def test_a_drop_after_a_foreign_signature_hints_at_a_takeover() -> None:
    """At a broker that does not report it, a service with the same id and another state."""
    async with (
        ScriptedServer() as broker,
        running(own_topic(broker), connect=False, signature=OURS) as client,
    ):
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.send(signed(STARTED + 1, key=FOREIGN), message(0))
        await take(client, 1)
        peer.close()
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.close()
        await welcome(broker)
        await until(lambda: client.connected)
        asked = ["does another client use 'stream'" in reason for reason, _ in client.seen.losses]
        assert asked == [True, False]
        assert ", once within 60 s of connecting" in client.seen.losses[0][0]


def test_the_key_is_not_shown() -> None:
    assert repr(KEY) not in repr(OURS)
    assert KEY.hex() not in str(OURS)


def test_the_runs_without_a_state_have_keys_of_their_own() -> None:
    first, second = (ClientSignature.of("stream", started_ms=1) for _ in range(2))
    assert first.key != second.key
