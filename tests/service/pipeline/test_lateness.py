"""Events that come too late, or twice at one time, where they are not wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.event_time import LATE_IN_A_ROW_MAX
from stream_lstm.events import Clock, Events
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.settings import TimeSettings
from tests.core.models import description

START = 1e9


def order(newest: float = START, **settings: object) -> LatenessFilter:
    """Of two streams, the first of which has had an event."""
    memories = Memories(description(), rows_max=2)
    rows = np.array([memories.admit("a", 1), memories.admit("b", 2)])
    records = memories.take(rows)
    records["time"], records["seq"] = [newest, 0.0], [1, 0]
    memories.put(rows, records)
    return LatenessFilter(TimeSettings.model_validate(settings), memories)


def refused(
    of: LatenessFilter, times: Sequence[float], rows: Sequence[int] = (), mark: int = 0
) -> dict[int, str]:
    count = len(times)
    events = Events(["a"] * count, [START + t for t in times], [mark] * count, [0.0] * count)
    found = of.rejected(events, np.array(rows or [1] * count, np.intp))
    return {n: error.reason for n, error in found.items()}


def test_who_says_nothing_of_it_takes_all() -> None:
    assert not order().enabled


def test_what_is_older_than_allowed_beside_the_newest_of_its_stream_is_refused() -> None:
    of = order(late_seconds_max=60.0)
    assert refused(of, [-60.0, -61.0, 100.0, 39.0, 40.0]) == {1: "late", 3: "late"}


def test_streams_are_held_against_themselves_and_new_ones_against_nothing() -> None:
    of = order(late_seconds_max=0.0)
    assert refused(of, [-1_000.0, -500.0, -600.0, 5.0], [2, 2, 2, 1]) == {2: "late"}


@pytest.mark.parametrize(("mark", "expected"), [(Clock.EVENT, {0: "late"}), (Clock.ARRIVAL, {})])
def test_only_times_of_their_own_count(mark: Clock, expected: dict[int, str]) -> None:
    assert refused(order(late_seconds_max=0.0), [-5.0], mark=mark) == expected


def test_a_second_event_at_one_time_is_refused_on_request() -> None:
    of = order(repeated="reject")
    assert refused(of, [0.0, 1.0, 1.0, 0.5, 2.0]) == {0: "repeated", 2: "repeated"}


def test_a_clock_that_was_set_back_is_believed_after_a_while() -> None:
    of = order(late_seconds_max=60.0)
    found = refused(of, [-3_600.0 + n for n in range(LATE_IN_A_ROW_MAX + 5)])
    assert list(found) == list(range(LATE_IN_A_ROW_MAX))
    assert refused(of, [1.0, -3_600.0]) == {1: "late"}
