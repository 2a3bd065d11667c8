"""What comes again is recognised, topic by topic; nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.dedup import MESSAGES_MAX, Committed, DedupWindow, content

TIMED, UNTIMED = True, False


def seen(topic: int, digest: int, entry: int = 1, *, timed: bool = UNTIMED) -> Committed:
    return topic, content(digest, timed=timed), entry


def test_nothing_is_a_copy_while_the_window_is_closed() -> None:
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
def test_the_end_that_comes_again_is_recognised_and_what_follows_is_new(
    committed: list[tuple[int, int, bool]], unacknowledged: int
) -> None:
    window = DedupWindow(
        seen(topic, digest, n, timed=timed) for n, (topic, digest, timed) in enumerate(committed)
    )
    first = max(len(committed) - unacknowledged, 0)
    window.open(first - 1)
    assert all(window.is_duplicate(topic, digest) for topic, digest, _ in committed[first:])
    for topic in range(3):
        assert not window.is_duplicate(topic, -2)
    assert not any(window.is_duplicate(topic, digest) for topic, digest, _ in committed)
    assert not window.is_open


def test_payloads_without_a_time_are_copies_once_in_order_and_only_if_unacknowledged() -> None:
    window = DedupWindow([seen(1, 10, 1), seen(1, 20, 2), seen(1, 20, 3), seen(1, 30, 3)])
    window.open(1)
    assert window.is_duplicate(1, 20)
    assert window.is_duplicate(1, 20)
    assert window.is_duplicate(1, 30)
    assert not window.is_duplicate(1, 20)
    window.open(1)
    assert not window.is_duplicate(1, 10)
    assert not window.is_duplicate(1, 20)  # the first unknown one has closed it


def test_a_room_that_stays_at_one_temperature_is_heard_again_after_a_cut() -> None:
    window = DedupWindow(seen(1, 10, n) for n in range(1, 1_001))
    window.open(999)
    assert [window.is_duplicate(1, 10) for _ in range(3)] == [True, False, False]
    window.open(1_000)
    assert not window.is_duplicate(1, 10)


def test_a_payload_with_a_time_is_a_copy_however_often_it_comes() -> None:
    window = DedupWindow([seen(1, 10, 1, timed=TIMED), seen(1, 20, 2, timed=TIMED), seen(2, 30, 2)])
    window.open(2)  # the broker may have forgotten what it knew
    assert [window.is_duplicate(1, digest) for digest in (20, 10, 20, 11)] == [True, True, True, True]
    assert not window.is_duplicate(1, 40)
    assert not window.is_duplicate(1, 20)
    assert not window.is_open


def test_a_second_connection_may_send_everything_again() -> None:
    window = DedupWindow()
    window.remember(seen(1, digest, 5) for digest in (10, 20))
    for _ in range(2):
        window.open(4)
        assert window.is_duplicate(1, 10)
    window.close()
    assert not window.is_duplicate(1, 20)


def test_it_is_bounded() -> None:
    window = DedupWindow(seen(0, 2 * n) for n in range(MESSAGES_MAX))
    window.remember([seen(0, -2)])
    window.open(0)
    assert not window.is_duplicate(0, 0)
