"""Event time: the usual gap of a stream, and its late events."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.trackers import event_time
from stream_lstm.core.trackers.event_time import (
    GAP_FIRST,
    GAP_SECONDS_MIN,
    LATE_IN_A_ROW_MAX,
    EventTime,
    TimedEvent,
)


def updated(times: list[float], uncertain: tuple[int, ...] = ()) -> list[TimedEvent]:
    before, out = EventTime(*np.zeros((3, 1))), []
    for seq, time in enumerate(times, 1):
        step = event_time.update(before, np.array([time]), np.array([seq]), np.array([seq in uncertain]))
        before = step.after
        out.append(step)
    return out


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3_600.0])
def test_the_gap_of_a_regular_stream_is_known_from_the_second_event_on(seconds: float) -> None:
    found = updated([1e9 + n * seconds for n in range(50)])
    assert found[0].gap[0] == found[0].after.usual_gap[0] == GAP_FIRST
    assert all(step.gap[0] == pytest.approx(np.log10(seconds)) for step in found[1:])
    assert found[-1].after.usual_gap[0] == pytest.approx(np.log10(seconds))


def test_an_outage_is_a_long_gap_and_hardly_changes_the_usual_one() -> None:
    found = updated([1e9 + n * 60.0 for n in range(200)] + [1e9 + 1e5])
    assert found[-1].gap[0] - found[-1].after.usual_gap[0] > 2.5
    assert found[-1].after.usual_gap[0] == pytest.approx(np.log10(60.0), abs=0.05)


def test_a_late_event_changes_neither_the_time_nor_the_usual_gap() -> None:
    late = updated([100.0, 160.0, 220.0, 130.0, 280.0])
    assert [bool(step.late[0]) for step in late] == [False, False, False, True, False]
    assert [step.after.time[0] for step in late] == [100.0, 160.0, 220.0, 220.0, 280.0]
    assert late[3].gap == late[3].after.usual_gap == late[2].after.usual_gap
    assert late[4].gap[0] == pytest.approx(np.log10(60.0))


def test_after_ten_late_events_in_a_row_the_time_follows_them() -> None:
    found = updated([1e9 + n for n in range(20)] + [9e8 + n for n in range(20)])
    assert [bool(step.late[0]) for step in found] == [False] * 20 + [True] * LATE_IN_A_ROW_MAX + [False] * 10
    assert found[19 + LATE_IN_A_ROW_MAX].after.time[0] == 9e8 + LATE_IN_A_ROW_MAX - 1
    assert found[-1].after.time[0] == 9e8 + 19


def test_an_uncertain_time_gives_no_gap() -> None:
    found = updated([0.0, 60.0, 120.0, 121.0, 121.0, 181.0], uncertain=(4, 5))
    assert found[3].gap[0] == found[4].gap[0] == found[4].after.usual_gap[0] == pytest.approx(np.log10(60.0))
    assert found[5].gap[0] == pytest.approx(np.log10(60.0))


def test_without_marks_every_time_is_certain() -> None:
    before = EventTime(np.array([100.0]), np.array([1.0]), np.zeros(1))
    step = event_time.update(before, np.array([110.0]), np.array([2]))
    assert step.gap[0] == pytest.approx(1.0)


def test_two_events_at_the_same_time_have_the_smallest_gap() -> None:
    assert updated([5.0, 5.0])[1].gap[0] == pytest.approx(np.log10(GAP_SECONDS_MIN))
