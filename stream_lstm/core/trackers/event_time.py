"""Event time of each stream: the time of its newest event, its usual gap, and which events are late.

An event that is older than the newest one of its stream is late: it is counted, and the stream's time stays.
After ten late events in a row the stream's time follows them: then the sensor's clock has been set back, and
events are not merely out of order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.trackers.scale import Doubles

GAP_SECONDS_MIN, GAP_SECONDS_MAX = 1e-3, 1e6  # a millisecond to twelve days: one gap cannot decide the mean
# Logarithm of the usual gap of a stream with one event: a hundred seconds, about the middle of both limits.
GAP_FIRST = 2.0
WINDOW_EVENTS = 100.0  # of the usual gap: shorter than the other windows, as rates change at once and seldom
LATE_IN_A_ROW_MAX = 10  # then the clock was set back: the stream's time follows it


class EventTime(NamedTuple):
    """The state of a stream's event time, (B,) each."""

    time: Doubles  # of the newest event
    usual_gap: Doubles  # running mean of the gaps' logarithms
    late_in_a_row: Doubles  # late events since the last one in order


COLUMNS = (
    RecordColumn("time", "clock", "epoch seconds"),
    RecordColumn(
        "usual_gap",
        "of_stream",
        "logarithm to base 10 of seconds",
        frozen=True,
        limits=(np.log10(GAP_SECONDS_MIN), np.log10(GAP_SECONDS_MAX)),
        stored="usual",
    ),
    RecordColumn(
        "late_in_a_row", "of_stream", "events", limits=(0.0, LATE_IN_A_ROW_MAX - 1.0), stored="behind"
    ),
)


class TimedEvent(NamedTuple):
    """One event of each stream in its stream's time."""

    after: EventTime
    gap: Doubles  # (B,) since the event before, as `EventTime.usual_gap`; the usual one where it is unknown
    late: NDArray[np.bool_]  # (B,)


def update(
    before: EventTime, times: Doubles, seq: NDArray[np.int64], uncertain: NDArray[np.bool_] | None = None
) -> TimedEvent:
    """The event time after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        times: (B,) epoch seconds.
        seq: (B,) number of events of each stream, this one included.
        uncertain: (B,) True where `times` is the arrival of an event that had waited at the broker.
    """
    known = seq > 1
    usual_gap = np.where(known, before.usual_gap, GAP_FIRST)
    late = (times < before.time) & known
    time, late_in_a_row = times, np.zeros_like(times)
    if np.count_nonzero(late):  # seldom
        late_in_a_row[late] = before.late_in_a_row[late] + 1.0
        time = np.where(late & (late_in_a_row < LATE_IN_A_ROW_MAX), before.time, times)
        late_in_a_row[late_in_a_row >= LATE_IN_A_ROW_MAX] = 0.0
        known &= ~late
    if uncertain is not None:
        known &= ~uncertain
    elapsed = np.where(known, times - before.time, 1.0)
    seconds = np.minimum(np.maximum(elapsed, GAP_SECONDS_MIN), GAP_SECONDS_MAX)
    gap = np.where(known, np.log10(seconds), usual_gap)
    gain = np.maximum(1.0 / np.maximum(seq - 1, 1), 1.0 / WINDOW_EVENTS)
    return TimedEvent(EventTime(time, usual_gap + gain * (gap - usual_gap), late_in_a_row), gap, late)
