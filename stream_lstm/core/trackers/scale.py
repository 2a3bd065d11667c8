"""Running mean and standard deviation of a stream's features, which scale values from the first event on.

The event itself is counted before it is scaled. So a scaled value is bounded (|z| ≤ sqrt(1 / gain)), and one
extreme value cannot overflow what follows. The weights are Welford's, 1/n, for the first `WINDOW_EVENTS`
events and exponential from then on, so that the scale follows its sensor.
"""

from __future__ import annotations

import math
from math import inf
from typing import Annotated

from stream_lstm.compiler import compiled
from stream_lstm.core.record import Field, Float, Record
from stream_lstm.events import EVENT_MAX

# Of mean and variance: a longer window is steadier, a shorter one follows a new level sooner.
WINDOW_EVENTS = 500.0
# The deviation of a sensor that has never moved is zero: take what rounding would make of its mean.
DEVIATION_SHARE_MIN = 1e-13
DEVIATION_MIN = 1e-30  # for a sensor that is always zero: nothing is divided by zero


class ScaleState(Record):
    """Scale of one feature."""

    mean: Annotated[Float, Field("of the feature", True, -EVENT_MAX, EVENT_MAX)]
    variance: Annotated[Float, Field("of the feature, squared", True, 0.0, inf)]


@compiled
def deviation(state: ScaleState) -> float:
    """Standard deviation, never zero."""
    return max(math.sqrt(state.variance), abs(state.mean) * DEVIATION_SHARE_MIN + DEVIATION_MIN)


@compiled
def update(state: ScaleState, value: float, seq: int, learning: bool) -> None:
    """Count one more value.

    Args:
        state: changed; blank where `seq` is 1.
        value: finite, in the feature's unit.
        seq: number of events of the stream, this one included.
        learning: False if the stream is frozen.
    """
    if learning:
        gain = max(1.0 / seq, 1.0 / WINDOW_EVENTS)
        difference = value - state.mean
        state.mean += gain * difference
        state.variance = (1.0 - gain) * (state.variance + gain * difference * difference)
