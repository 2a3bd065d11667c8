"""A broker that answers in MQTT 3.1.1: named as such, with the remedy."""

from __future__ import annotations

import asyncio

import pytest

from stream_lstm.errors import BrokerRefused
from tests.service.mqtt.test_connection import CONNACK, made


@pytest.mark.parametrize("code", [*range(7), 0x84, 0xFF])
@pytest.mark.parametrize("cut", [1 << 20, 1])
async def test_a_connack_of_mqtt_3_1_1_is_named(code: int, cut: int) -> None:
    connection, transport, _ = made()
    requesting = asyncio.create_task(connection.connect(b"\x10"))
    await asyncio.sleep(0)
    transport.feed(bytes([0x20, 2, 0, code]), cut=cut)
    with pytest.raises(BrokerRefused, match=rf"MQTT 3\.1\.1's return code {code}, .*use one that") as raised:
        await requesting
    assert raised.value.lasting
    assert bytes(transport.written) == b"\x10"  # no DISCONNECT, which it could not read


async def test_such_a_packet_after_the_connack_is_malformed() -> None:
    connection, transport, _ = made()
    requesting = asyncio.create_task(connection.connect(b""))
    await asyncio.sleep(0)
    transport.feed(CONNACK)
    await requesting
    transport.feed(b"\x20\x02\x00\x01")
    assert "violated MQTT 5 (malformed packet)" in str(await connection.ended)
