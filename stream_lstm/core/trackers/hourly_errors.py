"""Usual error at each hour of the day: largest of the days so far, with exponential decay; a byte each."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import exp, log2
from stream_lstm.core.record import Field, Float, Record
from stream_lstm.core.trackers.event_time import TimedEvent

HOURS = 24
HOUR_SECONDS = 3_600.0
DAY_KEEP = 0.8  # decay, from day to day
STEPS_PER_OCTAVE = 16.0  # a byte has sixteen steps for each doubling of 1 + error
ERROR_MAX = 6e4  # deviations: about the largest that a byte can hold
LN2 = 0.6931471805599453


class HourlyErrorsState(Record):
    """Largest errors of one target by hour of the day."""

    hour_error: Annotated[Float, Field("deviations", True, 0.0, ERROR_MAX)]  # of the present hour so far
    hours: Annotated[NDArray[np.uint8], "u1", HOURS]  # of the hours of earlier days, in steps


@compiled
def update(state: HourlyErrorsState, timed: TimedEvent, seq: int, learning: bool) -> float:
    """Store the hour that is over; returns the usual error at the present hour and its neighbours.

    Args:
        state: changed; begun anew where `seq` is 1.
        timed: the event's time.
        seq: number of events of the stream, this one included.
        learning: False if the event must not change what is normal.
    """
    if seq == 1:
        state.hour_error = 0.0
        for n in range(HOURS):
            state.hours[n] = 0
    hour, before = _hour(timed.time), _hour(timed.time_before)
    if learning and seq > 1 and hour != before:
        decayed = math.floor(_steps(_error(state.hours[before]) * DAY_KEEP))  # floor: it reaches 0 in the end
        state.hours[before] = int(max(decayed, math.ceil(_steps(state.hour_error))))
        state.hour_error = 0.0
    earlier, later = state.hours[(hour - 1) % HOURS], state.hours[(hour + 1) % HOURS]
    return _error(max(earlier, state.hours[hour], later))


@compiled
def learn(state: HourlyErrorsState, error: float) -> None:
    """Count one more error, in deviations, of the present hour."""
    state.hour_error = max(state.hour_error, error)


@compiled
def _hour(time: float) -> int:
    return math.floor(time / HOUR_SECONDS) % HOURS


@compiled
def _steps(error: float) -> float:
    return log2(1.0 + error) * STEPS_PER_OCTAVE


@compiled
def _error(steps: int) -> float:
    return exp(steps * (LN2 / STEPS_PER_OCTAVE)) - 1.0
