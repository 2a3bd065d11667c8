"""What a stream did at this time yesterday: the day in 288 pieces of five minutes, one byte each.

A step that comes every day at the same time (a timer, a backup, a shift) is expected again, as large as it
was a day ago. Kept is the last value of each piece, in sixteenths of the stream's deviation; one that lies
far out (8 deviations and more) is no routine, and is not kept. When the stream's scale has become another
one, what is kept is written anew in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles, Scale

PIECES = 288
PIECE_SECONDS = 300.0
STEPS = 16.0  # a deviation
STEPS_MAX = 127.0
UNIT_TIMES_MAX = 3.0  # by so much the deviation may differ from the unit that is written in
UNIT_MAX = 1e38  # what fits into a float32
BASE_UNITS_MAX = 2.0  # and by so many units the mean from the base


class DayScale(NamedTuple):
    """In what the days of streams are written, (B, T) each, in the sensor's unit."""

    base: Doubles
    unit: Doubles  # at most `UNIT_MAX`


class DayProfiles(NamedTuple):
    """What is kept of the last day, where all streams' lie: changed in place."""

    steps: NDArray[np.int8]  # (rows, T, PIECES) from the base; 0: not known, so 0 and above are one higher
    rows: NDArray[np.intp]  # (B,) which are these streams'
    kept: NDArray[np.bool_]  # (B,) which are not to learn


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
    """Take on the piece that is over, and look what comes.

    Args:
        before: ignored where `seq` is 1.
        days: likewise.
        scale: (B, T) of the streams, these events included; the deviation in place of the variance.
        last: (B, T) the last value.
        time_before: (B,) when that was.
        time: (B,) of these events.
        gap: (B,) seconds until the next event, as far as one knows.
        seq: (B,) how many events the stream has had, these included.

    Returns:
        What the day is written in after the events, and the step from them to the next, (B, T) in the
        sensor's unit; 0 where nobody knows.
    """
    steps, rows, kept = days
    pieces = np.floor(np.array([time_before, time, time + gap]) / PIECE_SECONDS).astype(np.intp) % PIECES
    begun = seq > 1
    base, unit = _in_scale(before, days, scale, begun)
    over = begun & (pieces[0] != pieces[1])
    if np.count_nonzero(over):
        over &= ~kept
        steps[rows[over], :, pieces[0, over]] = _written((last[over] - base[over]) / unit[over] * STEPS)
    target = np.arange(steps.shape[1])
    here, there = steps[rows[:, None], target, pieces[1:, :, None]].astype(np.float64)  # (2, B, T)
    step = (there - (there > 0.0)) - (here - (here > 0.0))
    known = (here != 0.0) & (there != 0.0)
    return DayScale(base, unit), np.where(known, step * unit * (1.0 / STEPS), 0.0)


def _in_scale(before: DayScale, days: DayProfiles, scale: Scale, begun: NDArray[np.bool_]) -> DayScale:
    """What the days are written in: anew where the scale has become another one."""
    mean, deviation = scale
    base, unit = before
    other = (deviation > unit * UNIT_TIMES_MAX) | (unit > deviation * UNIT_TIMES_MAX)
    other |= (np.abs(mean - base) > BASE_UNITS_MAX * unit) | ~begun[:, None]
    if not np.count_nonzero(other):
        return before
    other &= ~days.kept[:, None]
    stream, target = np.nonzero(other)
    some = days.steps[days.rows[stream], target]  # (N, PIECES)
    some[~begun[stream]] = 0
    row, piece = np.nonzero(some)  # of a young stream few are known
    at = stream[row], target[row]
    steps = some[row, piece].astype(np.float64)
    value = (steps - (steps > 0.0)) * unit[at] / STEPS + base[at]
    some[row, piece] = _written((value - mean[at]) / deviation[at] * STEPS)
    days.steps[days.rows[stream], target] = some
    return DayScale(np.where(other, mean, base), np.where(other, np.minimum(deviation, UNIT_MAX), unit))


def _written(steps: Doubles) -> NDArray[np.int8]:
    """Steps as they are kept."""
    whole = np.rint(np.where(np.abs(steps) <= STEPS_MAX, steps, np.inf))  # NaN is not kept either
    whole += whole >= 0.0
    return np.where(np.abs(whole) <= STEPS_MAX, whole, 0.0).astype(np.int8)
