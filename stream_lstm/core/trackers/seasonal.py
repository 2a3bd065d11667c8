"""Seasonal expert: the value at the same time a day ago, in 288 slots of five minutes, one byte each.

A step that comes every day at the same time (a timer, a backup, a shift) is expected again, as large as it
was a day ago. A slot holds its last value, quantized to sixteenths of the stream's deviation; a value of 8 or
more deviations is an outlier and is not kept. When the stream's scale has changed much, its day is quantized
anew in the present scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import Profile, RecordColumn
from stream_lstm.core.trackers.scale import Doubles, Scale

SLOTS = 288  # of a day
SLOT_SECONDS = 300.0  # a day in 288 slots
STEPS_PER_UNIT = 16.0  # resolution: one byte then reaches eight units to either side
STEPS_MAX = 127.0  # of one byte, with its sign
# A day is quantized anew when the deviation differs from its unit by this factor …
UNIT_TIMES_MAX = 3.0
BASE_UNITS_MAX = 2.0  # … or the mean from its base by so many units
UNIT_MAX = 1e38  # a float32 holds no larger numbers


class DayScale(NamedTuple):
    """Quantization of a stream's day, (B, T) each: a slot's value is base + steps / 16 · unit."""

    base: Doubles
    unit: Doubles


COLUMNS = (
    RecordColumn("base", "exact", "of the target", frozen=True),
    RecordColumn("unit", "rough", "of the target", frozen=True, limits=(0.0, UNIT_MAX)),
)
DAY = Profile("day", "<i1", SLOTS)


class DayProfiles(NamedTuple):
    """The last day of all streams, changed in place."""

    steps: NDArray[np.int8]  # (rows, T, SLOTS) from the base; 0 is unknown, so steps from 0 up are one higher
    rows: NDArray[np.intp]  # (B,) of these streams
    frozen: NDArray[np.bool_]  # (B,) excluded from learning


def update(
    before: DayScale,
    days: DayProfiles,
    scale: Scale,
    last: Doubles,
    time_before: Doubles,
    time: Doubles,
    gap: Doubles,
    seq: NDArray[np.int64],
) -> tuple[DayScale, Doubles]:
    """Store the slot that is over, and look up the step to the next event.

    Args:
        before: ignored where `seq` is 1.
        days: likewise.
        scale: (B, T) of the targets, these events included; the deviation in place of the variance.
        last: (B, T) the last values.
        time_before: (B,) event time of the last values, epoch seconds.
        time: (B,) event time with these events, epoch seconds.
        gap: (B,) expected time until the next event, seconds.
        seq: (B,) number of events of each stream, this one included.

    Returns:
        The quantization after the events, and the step from them to the next, (B, T) in the target's unit;
        0 where it is unknown.
    """
    steps, rows, frozen = days
    slots = np.floor(np.array([time_before, time, time + gap]) / SLOT_SECONDS).astype(np.intp) % SLOTS
    started = seq > 1
    base, unit = _rescaled(before, days, scale, started)
    over = started & (slots[0] != slots[1])
    if np.count_nonzero(over):
        over &= ~frozen
        steps[rows[over], :, slots[0, over]] = _quantized(
            (last[over] - base[over]) / unit[over] * STEPS_PER_UNIT
        )
    target = np.arange(steps.shape[1])
    here, there = steps[rows[:, None], target, slots[1:, :, None]].astype(np.float64)  # (2, B, T)
    step = (there - (there > 0.0)) - (here - (here > 0.0))
    known = (here != 0.0) & (there != 0.0)
    return DayScale(base, unit), np.where(known, step * unit * (1.0 / STEPS_PER_UNIT), 0.0)


def _rescaled(before: DayScale, days: DayProfiles, scale: Scale, started: NDArray[np.bool_]) -> DayScale:
    """The days' quantization; the days are quantized anew where the scale has changed much."""
    mean, deviation = scale
    base, unit = before
    changed = (deviation > unit * UNIT_TIMES_MAX) | (unit > deviation * UNIT_TIMES_MAX)
    changed |= (np.abs(mean - base) > BASE_UNITS_MAX * unit) | ~started[:, None]
    if not np.count_nonzero(changed):
        return before
    changed &= ~days.frozen[:, None]
    stream, target = np.nonzero(changed)
    stored = days.steps[days.rows[stream], target]  # (N, SLOTS)
    stored[~started[stream]] = 0
    row, slot = np.nonzero(stored)  # few slots of a young stream are known
    at = stream[row], target[row]
    steps = stored[row, slot].astype(np.float64)
    value = (steps - (steps > 0.0)) * unit[at] / STEPS_PER_UNIT + base[at]
    stored[row, slot] = _quantized((value - mean[at]) / deviation[at] * STEPS_PER_UNIT)
    days.steps[days.rows[stream], target] = stored
    return DayScale(np.where(changed, mean, base), np.where(changed, np.minimum(deviation, UNIT_MAX), unit))


def _quantized(steps: Doubles) -> NDArray[np.int8]:
    """Steps as a slot holds them; 0 for those that are too large, and for NaN."""
    whole = np.rint(np.where(np.abs(steps) <= STEPS_MAX, steps, np.inf))
    whole += whole >= 0.0
    return np.where(np.abs(whole) <= STEPS_MAX, whole, 0.0).astype(np.int8)
