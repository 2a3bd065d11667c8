"""A running mean and deviation per stream and feature, right from the first event.

The event itself is counted before it is scaled, so a scaled value is bounded by construction
(|z| ≤ sqrt(1 / gain)) and one wild value cannot overflow what follows. For n events the weights are
Welford's, 1/n; from `MEMORY_EVENTS` on they are exponential, so that a scale follows its sensor.
All arithmetic is elementwise float64 with IEEE-exact operations: same bits in any company.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MEMORY_EVENTS = 500.0
# A sensor that never moved has no deviation: take what rounding would make of its mean.
DEVIATION_SHARE_MIN = 1e-13
DEVIATION_MIN = 1e-30


class Scale(NamedTuple):
    """Running mean and variance, (B, F) each, in the sensor's unit and its square."""

    mean: Doubles
    variance: Doubles

    def deviation(self) -> Doubles:
        """Standard deviation (B, F), never zero."""
        least = np.abs(self.mean) * DEVIATION_SHARE_MIN + DEVIATION_MIN
        return np.maximum(np.sqrt(self.variance), least)


def update(scale: Scale, values: Doubles, seq: NDArray[np.int64]) -> Scale:
    """The scale after one more event of each stream.

    Args:
        scale: before the event; ignored where `seq` is 1.
        values: (B, F) finite, in the sensors' units.
        seq: (B,) how many events the stream has had, this one included.
    """
    gain = np.maximum(1.0 / seq, 1.0 / MEMORY_EVENTS)[:, None]
    news = values - scale.mean
    return Scale(
        mean=scale.mean + gain * news,
        variance=(1.0 - gain) * (scale.variance + gain * news * news),
    )
