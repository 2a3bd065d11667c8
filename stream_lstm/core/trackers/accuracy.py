"""Accuracy of each stream's predictions: error relative to the last-value forecast, and coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.trackers.scale import Doubles

WINDOW_EVENTS = 500.0  # of the means: a longer window is steadier, a shorter one forgets an old fault sooner
NAIVE_MAE_MIN = 1e-9  # deviations: a stream that moves by less has only rounding errors
ERROR_MAX = 1e6  # deviations: one event counts for no more, which keeps the means finite
WARM_EVENTS = 100  # a stream with fewer is cold: its figures are of few events


class Accuracy(NamedTuple):
    """Exponential means over about the last 500 events, (B, T) each."""

    mae: Doubles  # |value - expected|
    naive_mae: Doubles  # |value - last value|: the error of the last-value forecast
    coverage: Doubles  # share of values inside their interval

    @classmethod
    def read(cls, field: Callable[[str], NDArray[Any]]) -> Accuracy:
        """The accuracy that records hold; `field` returns a field of them by its name."""
        return cls(*(field(column.field) for column in COLUMNS))

    def relative_mae(self) -> Doubles:
        """Error relative to the last-value forecast; NaN where nothing moved or nothing was predicted."""
        moved = self.naive_mae > NAIVE_MAE_MIN
        return np.where(moved, self.mae / np.where(moved, self.naive_mae, 1.0), np.nan)


COLUMNS = (
    RecordColumn("mae", "rough", "deviations", frozen=True, limits=(0.0, ERROR_MAX), stored="erred"),
    RecordColumn("naive_mae", "rough", "deviations", frozen=True, limits=(0.0, ERROR_MAX), stored="moved"),
    RecordColumn("coverage", "rough", "share", frozen=True, limits=(0.0, 1.0), stored="covered"),
)


def update(
    before: Accuracy, error: Doubles, step: Doubles, missed: NDArray[np.bool_], seq: NDArray[np.int64]
) -> Accuracy:
    """The accuracy after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        error: (B, T) |value - expected| in deviations, NaN where nothing was expected.
        step: (B, T) |value - last value|, likewise.
        missed: (B, T) the value lies outside its interval.
        seq: (B,) number of events of each stream, this one included.
    """
    known = ~np.isnan(error + step)
    gain = np.maximum(1.0 / np.maximum(seq - 1, 1), 1.0 / WINDOW_EVENTS)[:, None]
    old, new = np.array(before), np.minimum(np.array([error, step, ~missed]), ERROR_MAX)
    if np.count_nonzero(known) < known.size:  # an unknown error changes nothing
        old = np.where((seq == 1)[:, None], 0.0, old)
        gain, new = np.where(known, gain, 0.0), np.where(known, new, 0.0)
    return Accuracy(*(old + gain * (new - old)))
