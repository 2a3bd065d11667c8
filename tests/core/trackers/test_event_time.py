"""Event time: the usual gap of a stream, and its late events."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.trackers import event_time
from stream_lstm.core.trackers.event_time import (
    GAP_FIRST,
    GAP_SECONDS_MIN,
    LATE_IN_A_ROW_MAX,
    EventTimeState,
    TimedEvent,
)
from tests.core.records import blank


def updated(times: list[float], uncertain: tuple[int, ...] = ()) -> list[TimedEvent]:
    state, out = blank(EventTimeState), []
    for seq, time in enumerate(times, 1):
        out.append(event_time.update(state, time, seq, seq in uncertain, True))
        assert (out[-1].time, out[-1].usual_gap) == (state["time"], state["usual_gap"])
    return out


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3_600.0])
def test_the_gap_of_a_regular_stream_is_known_from_the_second_event_on(seconds: float) -> None:
    found = updated([1e9 + n * seconds for n in range(50)])
    assert found[0].gap == found[0].usual_gap == GAP_FIRST
    assert all(step.gap == pytest.approx(np.log10(seconds)) for step in found[1:])
    assert found[-1].usual_gap == pytest.approx(np.log10(seconds))


def test_an_outage_is_a_long_gap_and_hardly_changes_the_usual_one() -> None:
    found = updated([1e9 + n * 60.0 for n in range(200)] + [1e9 + 1e5])
    assert found[-1].gap - found[-1].usual_gap > 2.5
    assert found[-1].usual_gap == pytest.approx(np.log10(60.0), abs=0.05)


def test_a_late_event_changes_neither_the_time_nor_the_usual_gap() -> None:
    late = updated([100.0, 160.0, 220.0, 130.0, 280.0])
    assert [step.late for step in late] == [False, False, False, True, False]
    assert [step.time for step in late] == [100.0, 160.0, 220.0, 220.0, 280.0]
    assert [step.time_before for step in late[1:]] == [100.0, 160.0, 220.0, 220.0]
    assert late[3].gap == late[3].usual_gap == late[2].usual_gap
    assert late[4].gap == pytest.approx(np.log10(60.0))


def test_after_ten_late_events_in_a_row_the_time_follows_them() -> None:
    found = updated([1e9 + n for n in range(20)] + [9e8 + n for n in range(20)])
    assert [step.late for step in found] == [False] * 20 + [True] * LATE_IN_A_ROW_MAX + [False] * 10
    assert found[19 + LATE_IN_A_ROW_MAX].time == 9e8 + LATE_IN_A_ROW_MAX - 1
    assert found[-1].time == 9e8 + 19


def test_late_events_among_others_never_move_the_time() -> None:
    found = updated([100.0] + [130.0, 90.0] * 2 * LATE_IN_A_ROW_MAX)
    assert [step.late for step in found] == [False] + [False, True] * 2 * LATE_IN_A_ROW_MAX
    assert {float(step.time) for step in found[1:]} == {130.0}


def test_an_uncertain_time_gives_no_gap() -> None:
    found = updated([0.0, 60.0, 120.0, 121.0, 121.0, 181.0], uncertain=(4, 5))
    assert found[3].gap == found[4].gap == found[4].usual_gap == pytest.approx(np.log10(60.0))
    assert found[5].gap == pytest.approx(np.log10(60.0))


def test_two_events_at_the_same_time_have_the_smallest_gap() -> None:
    assert updated([5.0, 5.0])[1].gap == pytest.approx(np.log10(GAP_SECONDS_MIN))


def test_a_freeze_keeps_the_usual_gap_while_the_time_goes_on() -> None:
    frozen, learning = blank(EventTimeState), blank(EventTimeState)
    for state in (frozen, learning):
        event_time.update(state, 1_000.0, 1, False, True)
        event_time.update(state, 1_010.0, 2, False, True)
    found = event_time.update(frozen, 2_010.0, 3, False, False)
    assert found == event_time.update(learning, 2_010.0, 3, False, True)
    assert found.usual_gap == learning["usual_gap"] == pytest.approx(2.0)
    assert frozen["usual_gap"] == pytest.approx(1.0)
    assert frozen["time"] == 2_010.0
