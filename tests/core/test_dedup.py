"""Deduplication: redelivered messages are recognised, topic by topic, and no others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.dedup import MESSAGES_MAX, TIMED_MORE, Committed, DedupWindow, content, contents

TIMED, UNTIMED = True, False


def seen(topic: int, digest: int, entry: int = 1, *, timed: bool = UNTIMED) -> Committed:
    return topic, content(digest, timed=timed), entry


def close(window: DedupWindow, *topics: int) -> None:
    """As many new messages as close the window of these topics."""
    for topic in topics:
        for n in range(TIMED_MORE + 1):
            assert not window.is_duplicate(topic, -2 - 2 * n)


def test_a_content_digest_has_a_bit_for_a_time() -> None:
    assert content(0xFE, timed=TIMED) == content(0xFF, timed=TIMED) == 0xFF
    assert contents([0xFE, 0xFF], timed=UNTIMED) == [0xFE, 0xFE]


def test_while_the_window_is_closed_no_message_is_a_duplicate() -> None:
    window = DedupWindow([seen(1, 10)])
    assert not window.is_open
    assert not window.is_duplicate(1, 10)


@given(
    committed=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 10**9).map(lambda n: 2 * n), st.booleans()),
        max_size=40,
        unique_by=lambda message: message[:2],
    ),
    unacknowledged=st.integers(0, 40),
)
def test_the_redelivered_last_messages_are_duplicates_and_the_next_ones_are_not(
    committed: list[tuple[int, int, bool]], unacknowledged: int
) -> None:
    window = DedupWindow(
        seen(topic, digest, n, timed=timed) for n, (topic, digest, timed) in enumerate(committed)
    )
    first = max(len(committed) - unacknowledged, 0)
    window.open(first - 1)
    assert all(window.is_duplicate(topic, digest) for topic, digest, _ in committed[first:])
    close(window, *range(3))
    assert not any(window.is_duplicate(topic, digest) for topic, digest, _ in committed)
    assert not window.is_open


def test_a_payload_without_a_time_is_a_duplicate_once_in_order_and_only_if_unacknowledged() -> None:
    window = DedupWindow([seen(1, 10, 1), seen(1, 20, 2), seen(1, 20, 3), seen(1, 30, 3)])
    window.open(1)
    assert window.is_duplicate(1, 20)
    assert window.is_duplicate(1, 20)
    assert window.is_duplicate(1, 30)
    assert not window.is_duplicate(1, 20)
    window.open(1)
    assert not window.is_duplicate(1, 10)
    assert not window.is_duplicate(1, 20)  # the first new message has closed it


def test_equal_payloads_without_a_time_are_new_events_after_a_reconnect() -> None:
    window = DedupWindow(seen(1, 10, n) for n in range(1, 1_001))
    window.open(999)
    assert [window.is_duplicate(1, 10) for _ in range(3)] == [True, False, False]
    window.open(1_000)
    assert not window.is_duplicate(1, 10)


def test_a_payload_with_a_time_is_a_duplicate_however_often_it_comes() -> None:
    window = DedupWindow([seen(1, 10, 1, timed=TIMED), seen(1, 20, 2, timed=TIMED), seen(2, 30, 2)])
    window.open(2)  # a broker that crashed may have forgotten it
    assert [window.is_duplicate(1, digest) for digest in (20, 10, 20, 11)] == [True, True, True, True]
    assert not window.is_duplicate(1, 40)
    assert window.is_duplicate(1, 20)
    close(window, 1)
    assert not window.is_duplicate(1, 20)
    assert not window.is_open


def test_a_new_message_with_a_time_is_a_duplicate_when_its_sensor_sends_it_again() -> None:
    window = DedupWindow([seen(1, 10, 1, timed=TIMED)])
    window.open(1)
    for digest in range(20, 20 + 2 * TIMED_MORE, 2):
        assert not window.is_duplicate(1, digest)
        window.keep(1, digest)
    assert all(window.is_duplicate(1, digest) for digest in (10, *range(20, 20 + 2 * TIMED_MORE, 2)))
    window.keep(2, 30)  # of a topic that is not open
    assert not window.is_duplicate(2, 30)
    close(window, 1)
    assert not window.is_duplicate(1, 20)


def test_a_known_payload_without_a_time_does_not_close_the_window_of_timed_ones() -> None:
    window = DedupWindow(
        [seen(1, 10, 1), seen(1, 20, 2, timed=TIMED), seen(1, 30, 3), seen(1, 40, 4, timed=TIMED)]
    )
    window.open(2)  # a broker that crashed may have forgotten the first acknowledgement, or 10 is new
    assert [window.is_duplicate(1, digest) for digest in (10, 20, 30, 40)] == [False, True, False, True]
    window.validate()
    close(window, 1)
    assert not window.is_open


def test_no_payload_without_a_time_is_a_duplicate_once_all_are_acknowledged() -> None:
    """On a quiet topic, too, where no new message has closed the window."""
    window = DedupWindow([seen(1, 10, 1), seen(2, 20, 2, timed=TIMED), seen(2, 30, 3)])
    window.open(0)
    window.settle(2)
    assert window.is_duplicate(1, 10)
    window.open(0)
    window.settle(3)
    window.validate()
    assert not window.is_duplicate(1, 10)
    assert not window.is_duplicate(2, 30)
    assert window.is_duplicate(2, 20)
    window.settle(4)
    assert window.is_open


def test_every_new_connection_opens_the_window_again() -> None:
    window = DedupWindow()
    window.remember(seen(1, digest, 5) for digest in (10, 20))
    for _ in range(2):
        window.open(4)
        assert window.is_duplicate(1, 10)
    window.close()
    assert not window.is_duplicate(1, 20)


def test_the_window_is_bounded() -> None:
    window = DedupWindow(seen(0, 2 * n) for n in range(MESSAGES_MAX))
    window.remember([seen(0, -2)])
    window.open(0)
    assert not window.is_duplicate(0, 0)


BREACHES: list[tuple[str, Callable[[DedupWindow], object]]] = [
    ("the window is not bounded", lambda w: setattr(w, "_committed", deque())),
    ("entries are not in order", lambda w: w._committed.append(seen(1, 50, 0))),
    ("a topic without a possible duplicate is open", lambda w: w._open[1].untimed.clear()),
    ("a position lies outside the list", lambda w: setattr(w._open[1], "position", 9)),
    ("a content digest is marked as timed", lambda w: w._open[1].untimed.append(51)),
]


@pytest.mark.parametrize(("message", "breach"), BREACHES)
def test_a_breach_of_an_invariant_is_noticed(
    message: str, breach: Callable[[DedupWindow], object], made: dict[type, deque[Any]]
) -> None:
    window = DedupWindow([seen(1, 10, 1), seen(1, 20, 2)])
    window.open(0)
    window.validate()
    breach(window)
    with pytest.raises(AssertionError, match=message):
        window.validate()
    made[DedupWindow].clear()
