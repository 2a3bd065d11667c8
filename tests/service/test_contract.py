"""The contract of `stream_lstm.service.broker.Broker`, for every implementation."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream_lstm.service.broker import Arrival
from tests.service.contract import ACKNOWLEDGED, HARNESSES, Harness


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """A connected implementation; a test that takes longer than 30 seconds fails."""
    async with asyncio.timeout(30), HARNESSES[request.param]() as made:
        yield made


def payloads(arrivals: list[Arrival]) -> list[bytes]:
    return [message.payload for arrival in arrivals for message in arrival.packets]


def connections(arrivals: list[Arrival]) -> set[int]:
    return {arrival.connection for arrival in arrivals}


def acknowledged(*values: bytes) -> list[tuple[str, bytes]]:
    return [(ACKNOWLEDGED, payload) for payload in values]


async def run_others() -> None:
    """Let every task go on as far as it can without the network."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_messages_come_in_order_with_the_number_of_their_connection(harness: Harness) -> None:
    await harness.feed(b"1", b"2")
    await harness.feed(b"3")
    first = await harness.take(3)
    assert payloads(first) == [b"1", b"2", b"3"]
    (before,) = connections(first)
    await harness.reconnect()
    await harness.feed(b"4")
    second = await harness.take(4)
    assert payloads(second) == [b"1", b"2", b"3", b"4"]
    (after,) = connections(second)
    assert after > before


async def test_messages_not_taken_before_a_reconnect_keep_their_connection(harness: Harness) -> None:
    await harness.feed(b"1")
    await harness.reconnect()
    arrivals = await harness.take(2)
    assert payloads(arrivals) == [b"1", b"1"]
    assert arrivals[0].connection < arrivals[1].connection


async def test_publications_are_in_order_and_acknowledgements_follow_them(harness: Harness) -> None:
    await harness.feed(b"1", b"2", b"3")
    arrivals = await harness.take(3)
    await harness.broker.deliver(1, [("p", b"a"), ("q", b"b")], arrivals, fresh=True)
    await harness.broker.deliver(2, [("p", b"c")], [], fresh=False)
    published = [("p", b"a"), ("q", b"b")]
    assert await harness.until_read(6) == [*published, *acknowledged(b"1", b"2", b"3"), ("p", b"c")]


async def test_messages_of_an_earlier_connection_are_not_acknowledged(harness: Harness) -> None:
    await harness.feed(b"1")
    earlier = await harness.take(1)
    await harness.reconnect()
    present = await harness.take(1)
    await harness.broker.deliver(1, [("p", b"a")], earlier, fresh=True)
    await harness.broker.deliver(2, [("p", b"b")], [], fresh=False)
    assert await harness.until_read(2) == [("p", b"a"), ("p", b"b")]
    await harness.broker.deliver(3, [("p", b"c")], present, fresh=False)
    assert (await harness.until_read(4))[2:] == [("p", b"c"), *acknowledged(b"1")]


async def test_of_arrivals_of_two_connections_those_of_the_present_one_are_acknowledged(
    harness: Harness,
) -> None:
    await harness.feed(b"1")
    await harness.reconnect()
    await harness.feed(b"2")
    arrivals = await harness.take(3)
    assert payloads(arrivals) == [b"1", b"1", b"2"]
    await harness.broker.deliver(1, [("p", b"a")], arrivals, fresh=True)
    assert await harness.until_read(3) == [("p", b"a"), *acknowledged(b"1", b"2")]


async def test_unacknowledged_messages_come_again_after_a_reconnect_in_order(harness: Harness) -> None:
    await harness.feed(b"1")
    first = await harness.take(1)
    await harness.feed(b"2", b"3")
    await harness.feed(b"4")
    await harness.take(3)
    await harness.broker.deliver(1, [], first, fresh=True)
    assert await harness.until_read(1) == acknowledged(b"1")
    await harness.reconnect()
    assert payloads(await harness.take(3)) == [b"2", b"3", b"4"]


async def test_confirm_returns_once_the_number_is_confirmed(harness: Harness) -> None:
    broker = harness.broker
    await broker.confirm(0)
    await broker.deliver(1, [("p", b"a")], [], fresh=False)
    await broker.deliver(2, [("p", b"b")], [], fresh=False)
    waiting = {number: asyncio.create_task(broker.confirm(number)) for number in (1, 2, 3)}
    await harness.until_read(2)
    await run_others()
    assert broker.confirmed == 0
    assert not any(task.done() for task in waiting.values())
    await harness.confirm_all()
    await waiting[1]
    await waiting[2]
    assert broker.confirmed == 2
    await run_others()
    assert not waiting[3].done()
    await broker.deliver(3, [("p", b"c")], [], fresh=False)
    await harness.confirm_all()
    await waiting[3]
    assert broker.confirmed == 3


async def test_confirmed_and_acked_through_never_decrease(harness: Harness) -> None:
    broker = harness.broker
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.append((broker.confirmed, broker.acked_through))

    for number in range(1, 8):
        await harness.feed(b"%d" % number)
        arrivals = await harness.take(1)
        look()
        await broker.deliver(number, [("p", b"%d" % number)], arrivals, fresh=number % 3 != 0)
        look()
        if number % 2:
            await harness.confirm_all()
            look()
        if number % 3 == 2:  # the next delivery is not fresh
            await harness.reconnect()
            look()
        await broker.deliver(number - 1, [], [], fresh=False)
        look()
    await harness.confirm_all()
    look()
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(column)
    assert seen[-1] == (7, 7)


async def test_acked_through_rises_only_after_a_fresh_delivery_of_the_present_connection(
    harness: Harness,
) -> None:
    broker = harness.broker
    await harness.feed(b"1")
    await broker.deliver(1, [("p", b"a")], await harness.take(1), fresh=False)
    await harness.confirm_all()
    assert broker.acked_through == 0
    await harness.feed(b"2")
    earlier = await harness.take(1)
    await harness.reconnect()
    present = await harness.take(1)
    await broker.deliver(2, [("p", b"b")], earlier, fresh=True)
    await harness.confirm_all()
    assert broker.acked_through == 0
    await broker.deliver(3, [("p", b"c")], [*earlier, *present], fresh=True)
    await harness.confirm_all()
    assert (broker.confirmed, broker.acked_through) == (3, 0)
    await harness.feed(b"3")
    await broker.deliver(4, [("p", b"d")], await harness.take(1), fresh=True)
    await run_others()
    assert broker.acked_through == 0
    await harness.confirm_all()
    assert broker.acked_through == 4


async def test_a_lost_connection_confirms_no_acknowledgement(harness: Harness) -> None:
    await harness.feed(b"1")
    await harness.broker.deliver(1, [("p", b"a")], await harness.take(1), fresh=True)
    await harness.until_read(2)
    await harness.reconnect()
    await harness.confirm_all()
    assert (harness.broker.confirmed, harness.broker.acked_through) == (1, 0)


async def test_a_delivery_without_publications_may_have_an_old_number(harness: Harness) -> None:
    await harness.broker.deliver(5, [("p", b"a")], [], fresh=False)
    for number, payload in ((5, b"1"), (2, b"2")):
        await harness.feed(payload)
        await harness.broker.deliver(number, [], await harness.take(1), fresh=False)
    assert await harness.until_read(3) == [("p", b"a"), *acknowledged(b"1", b"2")]
    await harness.confirm_all()
    assert harness.broker.confirmed == 5


async def test_publications_need_a_number_above_the_last_one(harness: Harness) -> None:
    await harness.broker.deliver(5, [("p", b"a")], [], fresh=False)
    await harness.broker.deliver(7, [], [], fresh=False)
    for number in (7, 6, 5, 0):
        with pytest.raises(ValueError, match="not above the last one"):
            await harness.broker.deliver(number, [("p", b"b")], [], fresh=False)
    await harness.broker.deliver(8, [("p", b"c")], [], fresh=False)
    assert await harness.until_read(2) == [("p", b"a"), ("p", b"c")]


async def test_unconfirmed_publications_are_published_again_after_a_reconnect(harness: Harness) -> None:
    broker = harness.broker
    await broker.deliver(1, [("p", b"a")], [], fresh=False)
    await harness.until_read(1)
    await harness.confirm_all()
    await broker.deliver(2, [("p", b"b"), ("q", b"\x00\xff")], [], fresh=False)
    await broker.deliver(3, [("p", b"")], [], fresh=False)
    open_ = [("p", b"b"), ("q", b"\x00\xff"), ("p", b"")]
    assert await harness.until_read(4) == [("p", b"a"), *open_]
    await harness.reconnect()
    assert await harness.until_read(7) == [("p", b"a"), *open_, *open_]
    await harness.confirm_all()
    assert broker.confirmed == 3
    await harness.reconnect()
    await broker.deliver(4, [("p", b"c")], [], fresh=False)
    assert (await harness.until_read(8))[7:] == [("p", b"c")]


async def test_deliveries_wait_for_a_connection(harness: Harness) -> None:
    await harness.disconnect()
    delivering: Any = asyncio.ensure_future(harness.broker.deliver(1, [("p", b"a")], [], fresh=False))
    await run_others()
    assert not delivering.done()
    await harness.connect()
    await delivering
    assert await harness.until_read(1) == [("p", b"a")]


async def test_receive_waits_for_least_until_reconsider_lowers_it(harness: Harness) -> None:
    least = [2]
    receiving = asyncio.create_task(harness.broker.receive(100, lambda: least[0]))
    await harness.feed(b"1")
    await run_others()
    harness.broker.reconsider()
    await run_others()
    assert not receiving.done()
    least[0] = 1
    harness.broker.reconsider()
    assert payloads(await asyncio.wait_for(receiving, 10)) == [b"1"]


async def test_a_message_that_comes_after_reconsider_is_received(harness: Harness) -> None:
    least = [2]
    receiving = asyncio.create_task(harness.broker.receive(100, lambda: least[0]))
    await run_others()
    least[0] = 1
    harness.broker.reconsider()  # with nothing to receive
    await run_others()
    await harness.feed(b"1")
    assert payloads(await asyncio.wait_for(receiving, 10)) == [b"1"]


async def test_unconfirmed_publishing_needs_a_connection(harness: Harness) -> None:
    broker = harness.broker
    assert broker.publish_unconfirmed("p", b"a")
    assert await harness.until_read(1) == [("p", b"a")]
    assert not math.isnan(broker.connected_since)
    await harness.disconnect()
    assert math.isnan(broker.connected_since)
    assert not broker.publish_unconfirmed("p", b"b")
    await harness.connect()
    assert broker.publish_unconfirmed("p", b"c")
    assert await harness.until_read(2) == [("p", b"a"), ("p", b"c")]
    await harness.confirm_all()
    assert broker.confirmed == 0
