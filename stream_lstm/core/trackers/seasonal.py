"""Seasonal expert: the value at the same time a day ago, in 288 slots of five minutes, one byte each.

A step that comes every day at the same time (a timer, a backup, a shift) is expected again, as large as it
was a day ago. A slot holds its last value, quantized to sixteenths of the stream's deviation; a value of 8 or
more deviations is an outlier and is not kept. When the stream's scale has changed much, its day is quantized
anew in the present scale.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import exp
from stream_lstm.core.record import Field, Float, Record
from stream_lstm.core.trackers.event_time import TimedEvent

SLOTS = 288  # of a day
SLOT_SECONDS = 300.0  # a day in 288 slots
STEPS_PER_UNIT = 16.0  # resolution: one byte then reaches eight units to either side
STEPS_MAX = 127.0  # of one byte, with its sign
# A day is quantized anew when the deviation differs from its unit by this factor …
UNIT_TIMES_MAX = 3.0
BASE_UNITS_MAX = 2.0  # … or the mean from its base by so many units
UNIT_MAX = 1e38
LN10 = 2.302585092994046


class SeasonalState(Record):
    """The last day of one target: a slot's value is base + steps / 16 · unit."""

    base: Annotated[Float, Field("of the target", True)]
    unit: Annotated[Float, Field("of the target", True, 0.0, UNIT_MAX)]
    slots: Annotated[NDArray[np.int8], "i1", SLOTS]  # steps; 0 is unknown, so steps from 0 up are one higher


@compiled
def update(
    state: SeasonalState,
    mean: float,
    deviation: float,
    last: float,
    timed: TimedEvent,
    seq: int,
    learning: bool,
) -> float:
    """Store the slot that is over; returns the step to the next event, as a day ago, 0 where it is unknown.

    Args:
        state: changed; begun anew where `seq` is 1.
        mean, deviation: of the target, this event included.
        last: the value before this event.
        timed: the event's time; the next event is expected after the usual gap.
        seq: number of events of the stream, this one included.
        learning: False if the stream is frozen.
    """
    if seq == 1:
        for n in range(SLOTS):
            state.slots[n] = 0
    if learning and (seq == 1 or _has_changed(state, mean, deviation)):
        _rescale(state, mean, deviation)
    over, now = _slot(timed.time_before), _slot(timed.time)
    if learning and seq > 1 and over != now:
        state.slots[over] = _quantized((last - state.base) / state.unit * STEPS_PER_UNIT)
    here, there = state.slots[now], state.slots[_slot(timed.time + exp(timed.usual_gap * LN10))]
    if here == 0 or there == 0:
        return 0.0
    return (_steps(there) - _steps(here)) * state.unit * (1.0 / STEPS_PER_UNIT)


@compiled
def _has_changed(state: SeasonalState, mean: float, deviation: float) -> bool:
    wider = deviation > state.unit * UNIT_TIMES_MAX
    narrower = state.unit > deviation * UNIT_TIMES_MAX
    return wider or narrower or abs(mean - state.base) > BASE_UNITS_MAX * state.unit


@compiled
def _rescale(state: SeasonalState, mean: float, deviation: float) -> None:
    """Quantize the day anew in another scale."""
    for n in range(SLOTS):
        if state.slots[n] != 0:
            value = _steps(state.slots[n]) * state.unit / STEPS_PER_UNIT + state.base
            state.slots[n] = _quantized((value - mean) / deviation * STEPS_PER_UNIT)
    state.base, state.unit = mean, min(deviation, UNIT_MAX)


@compiled
def _slot(time: float) -> int:
    return math.floor(time / SLOT_SECONDS) % SLOTS


@compiled
def _quantized(steps: float) -> int:
    """Steps as a slot holds them; 0 for those that are too large, and for NaN."""
    if not abs(steps) <= STEPS_MAX:
        return 0
    whole = int(np.rint(steps))
    if whole >= 0:
        whole += 1
    return whole if whole <= STEPS_MAX else 0


@compiled
def _steps(slot: int) -> float:
    return slot - 1.0 if slot > 0 else float(slot)
