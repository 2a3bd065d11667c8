"""Usual error at each hour of the day: largest of the days so far, with exponential decay; a byte each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import Profile
from stream_lstm.core.trackers.scale import Doubles

HOURS = 24
HOUR_SECONDS = 3_600.0
NEIGHBOUR_HOURS = np.array([-1, 0, 1])  # an event may come somewhat earlier or later than on other days
DAY_KEEP = 0.8  # decay, from day to day
STEPS_PER_OCTAVE = 16.0  # a byte has sixteen steps for each doubling of 1 + error
ERRORS = np.exp2(np.arange(256) / STEPS_PER_OCTAVE) - 1.0  # deviations, by byte
ERROR_MAX = 6e4  # deviations: about the largest that a byte and a float16 can hold

ROUTINE = Profile("routine", "<u1", HOURS)


class HourlyErrors(NamedTuple):
    """The largest error of each hour, of all streams; changed in place."""

    errors: NDArray[np.uint8]  # (rows, T, HOURS) quantized as in `ERRORS`
    rows: NDArray[np.intp]  # (B,) of these streams
    frozen: NDArray[np.bool_]  # (B,) excluded from learning


def update(
    hour_error: Doubles, hourly: HourlyErrors, time: Doubles, time_before: Doubles, seq: NDArray[np.int64]
) -> tuple[Doubles, Doubles]:
    """Store the hour that is over, and look up the usual error of the present one.

    Args:
        hour_error: (B, T) largest error so far of the hour of `time_before`.
        hourly: ignored where `seq` is 1.
        time: (B,) event time with these events, epoch seconds.
        time_before: (B,) the same before them.
        seq: (B,) number of events of each stream, this one included.

    Returns:
        The largest error so far of the present hour, these events not yet included; and the usual one at
        this hour and its neighbours. (B, T) each.
    """
    errors, rows, _ = hourly
    if np.count_nonzero(seq == 1):
        errors[rows[seq == 1]] = 0
    hour, before = np.floor(np.array([time, time_before]) / HOUR_SECONDS).astype(np.intp) % HOURS
    over = (hour != before) & (seq > 1)
    if np.count_nonzero(over):
        ended = over & ~hourly.frozen
        at = rows[ended], slice(None), before[ended]
        decayed = np.floor(_steps(ERRORS[errors[at]] * DAY_KEEP))  # floor: it reaches 0 in the end
        errors[at] = np.maximum(decayed, np.ceil(_steps(hour_error[ended])))
        hour_error = np.where(over[:, None], 0.0, hour_error)
    target = np.arange(errors.shape[1])
    hours = (hour[:, None] + NEIGHBOUR_HOURS) % HOURS  # (B, 3)
    around = errors[rows[:, None, None], target[:, None], hours[:, None]]  # (B, T, 3)
    return hour_error, ERRORS[np.maximum.reduce(around, axis=2)]


def _steps(error: Doubles) -> Doubles:
    """The inverse of `ERRORS`, before it is rounded."""
    return np.asarray(np.log2(1.0 + error) * STEPS_PER_OCTAVE)
