"""Windows of unconfirmed publications: written in order, kept until confirmed, written again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import ConnAckPacket

from stream_lstm.service.mqtt import ClientOptions, inflight, packets
from stream_lstm.service.mqtt.granted import Granted, evaluate
from stream_lstm.service.mqtt.inflight import Qos0Window, Qos1Window
from stream_lstm.service.mqtt.packets import Requested

ANSWER = ConnAckPacket(session_present=True, receive_max=3)
GRANTED = evaluate(
    ClientOptions(host="h", client_id="c"),
    ANSWER,
    [],
    connection=1,
    requested=Requested(),
    session_expected=False,
)
NEW_SESSION = replace(GRANTED, session_present=False)


def opened(kind: type[Any], granted: Granted = GRANTED, *, retain: bool = False) -> Any:
    window = kind(retain=retain)
    window.reopen(granted)
    return window


def decoded(wire: bytes) -> list[Any]:
    found = []
    while wire:
        packet, size = mqtt5.read(memoryview(wire))
        found.append(packet)
        wire = wire[size:]
    return found


def shown(wire: bytes) -> list[tuple[bytes, int | None, bool]]:
    return [(p.payload, p.packet_id, p.duplicate) for p in decoded(wire)]


def entries(*values: int) -> list[tuple[str, bytes]]:
    return [("t", b"%d" % value) for value in values]


@pytest.mark.parametrize("kind", [Qos0Window, Qos1Window])
class TestBoth:
    def test_numbers_of_deliveries_with_publications_must_rise(self, kind: type[Any]) -> None:
        window = opened(kind)
        window.add(2, entries(1))
        for number in (2, 1):
            with pytest.raises(ValueError, match="not above the last one, 2"):
                window.add(number, entries(1))
        window.add(2, [])
        assert window.last == 2

    def test_numbers_of_an_earlier_run_are_confirmed_from_the_start(self, kind: type[Any]) -> None:
        window = kind(retain=False)
        window.resume(41)
        assert window.confirmed == window.last == 41
        window.add(41, [])
        assert window.bytes == 0
        with pytest.raises(ValueError, match="not above the last one, 41"):
            window.add(41, entries(1))

    def test_a_number_may_repeat_without_publications(self, kind: type[Any]) -> None:
        window = opened(kind)
        window.add(0, [])
        assert window.idle
        assert window.bytes == 0

    def test_only_packets_that_are_too_large_are_dropped(self, kind: type[Any]) -> None:
        window = opened(kind, replace(GRANTED, packet_bytes_max=40))
        window.add(1, [("t", b"small"), ("t", b"x" * 40), ("t", b"large" * 10), ("t", b"end")])
        out = decoded(window.outgoing())
        assert [p.payload for p in out] == [b"small", b"end"]
        assert window.refused_total == 2
        window.confirm(1)
        for packet in out:
            window.acknowledge(packet.packet_id, accepted=True)
        assert window.confirmed == 1

    def test_the_retain_flag_is_set_only_where_the_broker_supports_it(self, kind: type[Any]) -> None:
        for available in (True, False):
            window = opened(kind, replace(GRANTED, retain_available=available), retain=True)
            window.add(1, entries(1))
            assert decoded(window.outgoing())[0].retain is available


def test_qos_0_is_written_once_and_confirmed_by_a_ping() -> None:
    window = opened(Qos0Window)
    assert window.barrier() is None
    window.add(1, entries(1, 2))
    assert window.barrier() is None  # nothing is written yet
    assert shown(window.outgoing()) == [(b"1", None, False), (b"2", None, False)]
    assert window.outgoing() == b""
    assert window.barrier() == 1
    window.add(2, entries(3))
    window.confirm(1)
    assert window.confirmed == 1
    assert window.barrier() is None
    assert window.outgoing()
    window.confirm(2)
    assert window.bytes == 0
    window.acknowledge(1, accepted=True)


def test_qos_0_writes_unconfirmed_deliveries_again_unchanged() -> None:
    window = opened(Qos0Window)
    for number in (1, 2, 3):
        window.add(number, entries(number))
    first = window.outgoing()
    window.confirm(1)
    window.add(4, entries(4))
    window.reopen(NEW_SESSION)
    assert not window.idle
    again = window.outgoing()
    assert again == first[len(first) // 3 :] + packets.publications(entries(4), retain=False)
    assert window.barrier() == 4


def test_unconfirmed_deliveries_are_written_again_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight, "WRITE_BYTES_MAX", 100)
    for kind in (Qos0Window, Qos1Window):
        window: Any = opened(kind, replace(GRANTED, receive_maximum=100))
        for number in range(1, 31):
            window.add(number, [("t", b"x" * 10)])
        pieces = []
        while piece := window.outgoing():
            pieces.append(piece)
        assert len(decoded(b"".join(pieces))) == 30
        assert max(map(len, pieces)) < 130


def test_qos_1_respects_the_brokers_receive_maximum() -> None:
    window = opened(Qos1Window)
    window.add(1, entries(1, 2))
    window.add(2, entries(3, 4))
    out = decoded(window.outgoing())
    assert [p.payload for p in out] == [b"1", b"2", b"3"]
    assert window.outgoing() == b""
    assert not window.idle
    window.acknowledge(out[1].packet_id, accepted=True)
    assert [p.payload for p in decoded(window.outgoing())] == [b"4"]
    assert window.idle
    assert window.confirmed == 0
    window.acknowledge(out[0].packet_id, accepted=True)
    assert window.confirmed == 1
    assert window.barrier() is None


def test_nothing_is_written_before_the_first_connection() -> None:
    window = Qos1Window(retain=False)
    window.add(1, entries(1))
    assert window.outgoing() == b""
    assert not window.idle


def test_in_the_same_session_publications_are_duplicates_with_the_same_ids_and_order() -> None:
    window = opened(Qos1Window)
    window.add(1, entries(1, 2, 3, 4))
    ids = [p.packet_id for p in decoded(window.outgoing())]
    window.acknowledge(ids[1], accepted=True)
    window.reopen(replace(GRANTED, receive_maximum=2))
    assert shown(window.outgoing()) == [(b"1", ids[0], True), (b"3", ids[2], True)]
    window.acknowledge(ids[0], accepted=True)
    ((payload, packet_id, duplicate),) = shown(window.outgoing())
    assert (payload, duplicate) == (b"4", False)
    assert packet_id not in ids


def test_in_a_new_session_publications_are_no_duplicates() -> None:
    window = opened(Qos1Window)
    window.add(1, entries(1, 2))
    window.outgoing()
    window.reopen(GRANTED)
    window.outgoing()  # duplicates now
    window.reopen(NEW_SESSION)
    assert [(payload, duplicate) for payload, _, duplicate in shown(window.outgoing())] == [
        (b"1", False),
        (b"2", False),
    ]


def test_a_refused_publication_is_counted_and_confirmed() -> None:
    window = opened(Qos1Window)
    window.add(1, entries(1))
    ((_, packet_id, _),) = shown(window.outgoing())
    window.acknowledge(packet_id, accepted=False)
    assert window.refused_total == 1
    assert window.confirmed == 1


def test_a_puback_for_an_unknown_id_is_ignored() -> None:
    window = opened(Qos1Window)
    window.acknowledge(77, accepted=True)
    assert window.confirmed == 0
    window.confirm(5)
    assert window.confirmed == 0


def test_packet_ids_are_never_those_of_subscriptions_nor_used_twice() -> None:
    window = opened(Qos1Window, replace(GRANTED, receive_maximum=65_535))
    window.add(1, entries(*range(70_000)))
    out: list[Any] = []
    while wire := window.outgoing():
        out += decoded(wire)
    ids = [p.packet_id for p in out]
    assert len(set(ids)) == len(ids) == inflight.PACKET_IDS == 65_533
    assert min(ids) == 3
    window.acknowledge(500, accepted=True)
    ((_, packet_id, _),) = shown(window.outgoing())
    assert packet_id == 500


@pytest.mark.parametrize("kind", [Qos0Window, Qos1Window])
@given(st.lists(st.sampled_from(["add", "empty", "write", "confirm", "cut", "new session"]), max_size=60))
def test_all_publications_arrive_in_order_and_only_those_that_arrived_are_confirmed(
    kind: type[Any], steps: list[str]
) -> None:
    window = opened(kind)
    number, pings, ids = 0, [], []
    there: list[int] = []  # at the broker, in its order, without duplicates

    def write() -> None:
        for packet in decoded(window.outgoing()):
            ids.append(packet.packet_id)
            if int(packet.payload) not in there:
                there.append(int(packet.payload))
        if (barrier := window.barrier()) is not None:
            pings.append(barrier)

    for step in [*steps, "cut", "write", *["confirm", "write"] * 60]:
        if step in ("add", "empty"):
            number += 1
            window.add(number, entries(number * 10, number * 10 + 1) if step == "add" else [])
        elif step == "write":
            write()
        elif step == "confirm" and kind is Qos0Window and pings:
            window.confirm(pings.pop(0))
        elif step == "confirm" and kind is Qos1Window and ids:
            window.acknowledge(ids.pop(0), accepted=True)
        elif step in ("cut", "new session"):
            pings.clear()
            ids.clear()
            window.reopen(GRANTED if step == "cut" else NEW_SESSION)
        assert {n // 10 for n in there} >= {
            n for n in range(1, window.confirmed + 1) if steps_added(steps, n)
        }
    assert there == sorted(there)
    assert window.confirmed == number
    assert window.bytes == 0


def steps_added(steps: list[str], number: int) -> bool:
    """True if delivery `number` had publications."""
    return [step for step in steps if step in ("add", "empty")][number - 1] == "add"
