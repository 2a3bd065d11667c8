"""Takeover by another client with our client id: reported, signed, or suspected."""

from __future__ import annotations

import time

import pytest
from mqtt5 import DisconnectPacket, DisconnectReasonCode, PublishPacket

from stream_lstm.errors import SessionTaken
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


def signed(started_ms: int, client_id: str = "stream") -> PublishPacket:
    """A retained status message of another run."""
    owner = f"{started_ms} 0123abcd {client_id}"
    return PublishPacket("s", b"online", retain=True, user_properties=[("owner", owner)])


async def test_a_client_leaves_when_a_later_one_signs_with_its_id() -> None:
    later = int(time.time() * 1e3) + 60_000
    async with (
        ScriptedServer() as broker,
        running(options(broker, status_topic="s"), connect=False) as client,
    ):
        peer = await welcome(broker)
        await until(lambda: client.connected)
        peer.send(message(1), signed(later, "another"), signed(1), signed(later - 1))  # of an earlier run
        assert payloads(await take(client, 1)) == [b"1"]
        peer.close()
        peer = await welcome(broker)
        nonsense = PublishPacket(
            "s", b"online", user_properties=[("owner", "x"), ("owner", "9" * 99), ("", "")]
        )
        peer.send(signed(later, "another"), signed(1), signed(later - 1), nonsense, message(2))
        assert payloads(await take(client, 1)) == [b"2"]
        assert client.stats.messages_total == 2
        peer.send(signed(later), message(3))
        with pytest.raises(SessionTaken, match="started later uses our client id 'stream'"):
            await client.task
        while not isinstance(packet := await peer.packet(), DisconnectPacket):
            assert isinstance(packet, PublishPacket)
        assert packet.reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION
