"""Running mean and standard deviation of each stream's features, which scale values from the first event on.

The event itself is counted before it is scaled. So a scaled value is bounded (|z| ≤ sqrt(1 / gain)), and one
extreme value cannot overflow what follows. The weights are Welford's, 1/n, for the first `WINDOW_EVENTS`
events and exponential from then on, so that the scale follows its sensor. All arithmetic is elementwise
float64 with IEEE-exact operations: a stream's bits do not depend on the other streams of a batch.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.events import EVENT_MAX

Doubles = NDArray[np.float64]

WINDOW_EVENTS = (
    500.0  # of mean and variance: a longer window is steadier, a shorter one follows a new level sooner
)
# The deviation of a sensor that has never moved is zero: take what rounding would make of its mean.
DEVIATION_SHARE_MIN = 1e-13
DEVIATION_MIN = 1e-30  # for a sensor that is always zero: nothing is divided by zero


class Scale(NamedTuple):
    """Running mean and variance, (B, F) each."""

    mean: Doubles
    variance: Doubles

    def deviation(self) -> Doubles:
        """Standard deviation (B, F), never zero."""
        least = np.abs(self.mean) * DEVIATION_SHARE_MIN + DEVIATION_MIN
        return np.maximum(np.sqrt(self.variance), least)


COLUMNS = (
    RecordColumn("mean", "of_feature", "of the feature", frozen=True, limits=(-EVENT_MAX, EVENT_MAX)),
    RecordColumn("variance", "of_feature", "of the feature, squared", frozen=True, limits=(0.0, inf)),
)


def update(before: Scale, values: Doubles, seq: NDArray[np.int64]) -> Scale:
    """The scale after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        values: (B, F) finite, in the features' units.
        seq: (B,) number of events of each stream, this one included.
    """
    gain = np.maximum(1.0 / seq, 1.0 / WINDOW_EVENTS)[:, None]
    difference = values - before.mean
    return Scale(
        mean=before.mean + gain * difference,
        variance=(1.0 - gain) * (before.variance + gain * difference * difference),
    )
