"""What a broker sends again is recognised, in order and topic by topic; nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.window import MESSAGES_MAX, ReplayWindow


def test_nothing_is_a_copy_while_the_window_is_closed() -> None:
    window = ReplayWindow([(1, 10)])
    assert not window.is_open
    assert not window.is_copy(1, 10)


@given(
    committed=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**9)), max_size=40, unique=True),
    unacknowledged=st.integers(0, 40),
)
def test_the_end_that_comes_again_is_recognised_and_what_follows_is_new(
    committed: list[tuple[int, int]], unacknowledged: int
) -> None:
    window = ReplayWindow(committed)
    window.open()
    again = committed[max(len(committed) - unacknowledged, 0) :]
    assert all(window.is_copy(*message) for message in again)
    for topic in range(3):
        assert not window.is_copy(topic, -1)
    assert not any(window.is_copy(*message) for message in committed)
    assert not window.is_open


def test_a_topic_closes_with_its_last_message_and_others_stay_open() -> None:
    window = ReplayWindow([(1, 10), (2, 20)])
    window.open()
    assert window.is_copy(1, 10)
    assert not window.is_copy(1, 10)
    assert window.is_open
    assert window.is_copy(2, 20)


def test_copies_come_in_order() -> None:
    window = ReplayWindow([(1, 10), (1, 11), (1, 12)])
    window.open()
    assert window.is_copy(1, 11)
    assert not window.is_copy(1, 10)
    assert not window.is_copy(1, 12)


def test_a_second_connection_may_send_everything_again() -> None:
    window = ReplayWindow()
    for content in (10, 11):
        window.remember(1, content)
    for _ in range(2):
        window.open()
        assert window.is_copy(1, 10)
    window.close()
    assert not window.is_copy(1, 11)


def test_it_is_bounded() -> None:
    window = ReplayWindow((0, n) for n in range(MESSAGES_MAX))
    window.remember(0, -1)
    window.open()
    assert not window.is_copy(0, 0)
