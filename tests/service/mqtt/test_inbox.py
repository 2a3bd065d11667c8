"""Inbox: bounded, in order, split where a batch ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import PublishPacket

from stream_lstm.service.broker import Arrival
from stream_lstm.service.mqtt.inbox import TAKEN_BYTES, Inbox


def arrival(*numbers: int, wire_bytes: int = 0, connection: int = 1) -> Arrival:
    packets = [PublishPacket("t", b"%d" % n) for n in numbers]
    return Arrival(connection, packets, 0.0, wire_bytes or 10 * len(numbers))


def values(arrivals: list[Arrival]) -> list[int]:
    return [int(packet.payload) for entry in arrivals for packet in entry.packets]


def test_the_inbox_is_full_from_the_limit_on_and_low_up_to_half_of_it() -> None:
    for limits, size in (((10, 10_000), 10), ((1_000, 100), 10)):
        inbox = Inbox(messages_max=limits[0], bytes_max=limits[1])
        states = []
        for n in range(20):
            states.append((inbox.low, inbox.full, inbox.overfull))
            inbox.put(arrival(n, wire_bytes=size))
        states.append((inbox.low, inbox.full, inbox.overfull))
        assert states == [(n <= 5, n >= 10, n >= 20) for n in range(21)]


def test_an_arrival_is_split_where_the_batch_ends() -> None:
    inbox = Inbox(messages_max=100, bytes_max=10_000)
    inbox.put(arrival(1, 2, connection=1))
    inbox.put(arrival(3, 4, 5, 6, connection=2))
    first, second, third = inbox.take(3), inbox.take(2), inbox.take(9)
    assert [values(part) for part in (first, second, third)] == [[1, 2, 3], [4, 5], [6]]
    assert [entry.connection for entry in first] == [1, 2]
    assert second[0].connection == third[0].connection == 2
    assert inbox.take(1) == []


def test_what_is_taken_ends_with_the_read_that_reaches_the_bytes_taken_at_once() -> None:
    inbox = Inbox(messages_max=100, bytes_max=100 * TAKEN_BYTES)
    for n in range(4):
        inbox.put(arrival(n, wire_bytes=TAKEN_BYTES // 2))
    assert [values(inbox.take(100)) for _ in range(3)] == [[0, 1], [2, 3], []]


@given(st.lists(st.one_of(st.integers(1, 40), st.integers(-40, -1))))
def test_messages_come_out_in_order_and_are_counted(steps: list[int]) -> None:
    inbox = Inbox(messages_max=10, bytes_max=100)
    put, taken, held = 0, [], 0
    for step in steps:
        if step > 0:
            inbox.put(arrival(*range(put, put + step), wire_bytes=step * 7 + 1))
            put, held = put + step, held + step * 7 + 1
        else:
            got: list[Any] = inbox.take(-step)
            taken += values(got)
            held -= sum(entry.wire_bytes for entry in got)
            assert sum(len(entry.packets) for entry in got) <= -step
        assert inbox.messages == put - len(taken)
        assert inbox.wire_bytes == held
    taken += values(inbox.take(1 << 30))
    assert taken == list(range(put))
    assert (inbox.messages, inbox.wire_bytes) == (0, 0)
