"""Inputs of the cell: the numbers that enter it for one event; a model names those that it takes.

value        the scaled value                                F numbers
difference   the scaled step since the last event            F numbers (0 at the first event)
day          sine and cosine of the time of day              2 numbers (UTC)
week         sine and cosine of the time of week             2 numbers (UTC)
gap          the stream's usual gap, and the present         2 numbers
             one relative to it; logarithms
age          number of the stream's events, from 0 to 1;     1 number
             logarithm
"""

from __future__ import annotations

import math

import numpy as np

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import log1p, sine_and_cosine
from stream_lstm.core.record import Doubles
from stream_lstm.core.state import ModelRecord, Room, StreamState
from stream_lstm.core.trackers import scale
from stream_lstm.core.trackers.event_time import GAP_FIRST, TimedEvent

DAY_SECONDS = 86_400.0
WEEK_SECONDS = 604_800.0
AGE_EVENTS = 500.0  # of age 1; from here on a running scale is exponential, too
LOG_AGE_EVENTS = 6.216606101083649  # log(1 + 500)
RUNNING_MAX = 10.0  # a running scale keeps values within ±22; a value beyond 10 tells no more than 10
FIXED_MAX = 1e6  # far beyond any sensible scaling, and far from where float32 products overflow
VALUE, DIFFERENCE, DAY, WEEK, GAP, AGE = 0, 1, 2, 3, 4, 5  # indices in `input_names.INPUTS`


@compiled
def make(
    room: Room, model: ModelRecord, state: StreamState, values: Doubles, time: float, timed: TimedEvent
) -> None:
    """Fill `room.entering` with the inputs of one event, each within the scaling's limit.

    Args:
        state: its scale and number of events include this event, its value is still the last one.
        values: (F,) of the event.
        time: of the event, epoch seconds.
    """
    out, limit = room.entering, FIXED_MAX if model.fixed else RUNNING_MAX
    n = 0
    for name in model.inputs:
        if name in (VALUE, DIFFERENCE):
            for feature in range(len(values)):
                number = _scaled(model, state, values[feature], feature, name == DIFFERENCE)
                out[n] = np.float32(min(max(number, -limit), limit))
                n += 1
            continue
        if name == AGE:
            out[n] = np.float32(log1p(min(float(state.seq), AGE_EVENTS)) * (1.0 / LOG_AGE_EVENTS))
            n += 1
            continue
        first, second = _pair(name, time, timed)
        out[n], out[n + 1] = (
            np.float32(min(max(first, -limit), limit)),
            np.float32(min(max(second, -limit), limit)),
        )
        n += 2


@compiled
def _scaled(model: ModelRecord, state: StreamState, value: float, feature: int, difference: bool) -> float:
    """A feature's value, or its step since the last event, in deviations."""
    if model.fixed:
        origin, unit = model.mean[feature], model.deviation[feature]
    else:
        origin, unit = state.scale[feature].mean, scale.deviation(state.scale[feature])
    if difference:
        origin = value if state.seq == 1 else state.value[feature]
    return float((value - origin) / unit)


@compiled
def _pair(name: int, time: float, timed: TimedEvent) -> tuple[float, float]:
    """An input of two numbers."""
    if name == GAP:
        return (timed.usual_gap - GAP_FIRST) / 2.0, timed.gap - timed.usual_gap
    turns = time / (DAY_SECONDS if name == DAY else WEEK_SECONDS)
    return sine_and_cosine(turns - math.floor(turns))
