"""Events as columns and as a batch."""

from __future__ import annotations

import numpy as np

from stream_lstm.events import CLOCK_BITS, FROZEN, Batch, Clock, Events


def test_arrival_times_from_a_position_on_become_uncertain() -> None:
    events = Events(marks=[Clock.ARRIVAL, Clock.ARRIVAL, Clock.EVENT, Clock.UNCERTAIN])
    events.mark_uncertain(1)
    assert events.marks == [Clock.ARRIVAL, Clock.UNCERTAIN, Clock.EVENT, Clock.UNCERTAIN]


def test_a_frozen_mark_still_tells_the_clock() -> None:
    for clock in Clock:
        assert (clock | FROZEN) & CLOCK_BITS == clock


def test_events_and_their_batch_hold_the_same() -> None:
    events = Events(["a", "b"], [1.0, 2.0], [0, FROZEN], [1.0, 2.0, 3.0, 4.0])
    batch = events.batch(np.array([7, 9]), features=2)
    assert batch.values.shape == (2, 2)
    assert Events.from_batch(events.keys, batch) == events
    assert len(events) == 2


def test_a_selection_keeps_the_columns_together() -> None:
    batch = Batch.timed(np.array([1, 2]), np.array([5.0, 6.0]), np.array([[1.0], [2.0]]))
    selected = batch.select(np.array([False, True])).with_streams(np.array([4]))
    assert [column.tolist() for column in selected] == [[4], [6.0], [0], [[2.0]]]
