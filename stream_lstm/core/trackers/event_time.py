"""Event time of each stream: the time of its newest event, its usual gap, and which events are late.

An event that is older than the newest one of its stream is late: it is counted, and the stream's time stays.
After ten late events in a row the stream's time follows them: then the sensor's clock has been set back, and
events are not merely out of order.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import log10
from stream_lstm.core.record import Field, Float, Record

GAP_SECONDS_MIN, GAP_SECONDS_MAX = 1e-3, 1e6  # a millisecond to twelve days: one gap cannot decide the mean
GAP_MIN, GAP_MAX = -3.0, 6.0  # their logarithms
# Logarithm of the usual gap of a stream with one event: a hundred seconds, about the middle of both limits.
GAP_FIRST = 2.0
WINDOW_EVENTS = 100.0  # of the usual gap: shorter than the other windows, as rates change at once and seldom
LATE_IN_A_ROW_MAX = 10  # then the clock was set back: the stream's time follows it


class EventTimeState(Record):
    """Time of one stream."""

    time: Annotated[Float, Field("epoch seconds")]  # of the newest event
    # Running mean of the gaps' logarithms.
    usual_gap: Annotated[Float, Field("logarithm to base 10 of seconds", True, GAP_MIN, GAP_MAX)]
    late_in_a_row: Annotated[Float, Field("events", False, 0.0, LATE_IN_A_ROW_MAX - 1.0)]


class TimedEvent(NamedTuple):
    """One event in its stream's time."""

    time: float  # of the newest event, this one included, epoch seconds
    time_before: float  # the same before this event
    usual_gap: float  # see `EventTimeState`, this event included
    gap: float  # since the event before, as `usual_gap`; the usual one where it is unknown
    late: bool


@compiled
def update(state: EventTimeState, time: float, seq: int, uncertain: bool, learning: bool) -> TimedEvent:
    """Count one more event.

    Args:
        state: changed; blank where `seq` is 1.
        time: epoch seconds.
        seq: number of events of the stream, this one included.
        uncertain: `time` is the arrival of an event that had waited at the broker.
        learning: False if the stream is frozen.
    """
    known, time_before = seq > 1, state.time
    usual_gap = state.usual_gap if known else GAP_FIRST
    late = known and time < time_before
    gap = usual_gap
    if known and not late and not uncertain:
        gap = log10(min(max(time - time_before, GAP_SECONDS_MIN), GAP_SECONDS_MAX))
    gain = max(1.0 / max(seq - 1, 1), 1.0 / WINDOW_EVENTS)
    usual_gap += gain * (gap - usual_gap)
    if learning:
        state.usual_gap = usual_gap
    state.late_in_a_row = state.late_in_a_row + 1.0 if late else 0.0
    if not late or state.late_in_a_row >= LATE_IN_A_ROW_MAX:
        state.time, state.late_in_a_row = time, 0.0
    return TimedEvent(state.time, time_before, usual_gap, gap, late)
