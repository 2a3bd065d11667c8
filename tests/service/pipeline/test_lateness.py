"""Lateness: events by their event time, where the settings reject any."""

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


def lateness(newest: float = START, **settings: object) -> LatenessFilter:
    """Of two streams, the first of which has had an event."""
    memories = Memories(description(), rows_max=2)
    rows = np.array([memories.add("a", 1), memories.add("b", 2)])
    memories.states["event_time"]["time"][rows], memories.states["seq"][rows] = [newest, 0.0], [1, 0]
    return LatenessFilter(TimeSettings.model_validate(settings), memories)


def rejected(
    of: LatenessFilter, times: Sequence[float], rows: Sequence[int] = (), mark: int = 0
) -> dict[int, str]:
    count = len(times)
    events = Events(["a"] * count, [START + t for t in times], [mark] * count, [0.0] * count)
    found = of.rejected(events, np.array(rows or [1] * count, np.intp))
    return {n: error.reason for n, error in found.items()}


def test_a_stream_that_gets_the_row_of_another_does_not_inherit_its_count() -> None:
    memories = Memories(description(), rows_max=1)
    of = LatenessFilter(TimeSettings(late_seconds_max=1.0), memories)
    for stream, key in ((1, "a"), (2, "b")):
        row = memories.add(key, stream)
        memories.states["event_time"]["time"][row], memories.states["seq"][row] = START, 1
        late = [-60.0] * LATE_IN_A_ROW_MAX
        assert len(rejected(of, late, [row] * LATE_IN_A_ROW_MAX)) == LATE_IN_A_ROW_MAX
        memories.remove(key)


def test_counts_of_too_many_streams_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.service.pipeline.lateness.COUNTED_STREAMS_MAX", 0)
    of = lateness(late_seconds_max=1.0)
    for _ in range(LATE_IN_A_ROW_MAX + 2):
        assert rejected(of, [-60.0]) == {0: "late"}


def test_by_default_nothing_is_rejected() -> None:
    assert not lateness().enabled


def test_an_event_older_than_allowed_relative_to_the_newest_of_its_stream_is_rejected() -> None:
    of = lateness(late_seconds_max=60.0)
    assert rejected(of, [-60.0, -61.0, 100.0, 39.0, 40.0]) == {1: "late", 3: "late"}


def test_each_stream_is_compared_with_itself_and_its_first_event_with_nothing() -> None:
    of = lateness(late_seconds_max=0.0)
    assert rejected(of, [-1_000.0, -500.0, -600.0, 5.0], [2, 2, 2, 1]) == {2: "late"}


@pytest.mark.parametrize(("mark", "expected"), [(Clock.EVENT, {0: "late"}), (Clock.ARRIVAL, {})])
def test_only_event_times_count(mark: Clock, expected: dict[int, str]) -> None:
    assert rejected(lateness(late_seconds_max=0.0), [-5.0], mark=mark) == expected


def test_a_repeated_event_time_is_rejected_on_request() -> None:
    of = lateness(repeated="reject")
    assert rejected(of, [0.0, 1.0, 1.0, 0.5, 2.0]) == {0: "repeated", 2: "repeated"}


def test_a_clock_that_was_set_back_is_accepted_after_ten_events() -> None:
    of = lateness(late_seconds_max=60.0)
    found = rejected(of, [-3_600.0 + n for n in range(LATE_IN_A_ROW_MAX + 5)])
    assert list(found) == list(range(LATE_IN_A_ROW_MAX))
    assert rejected(of, [1.0, -3_600.0]) == {1: "late"}
