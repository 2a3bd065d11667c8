"""How far off the last prediction was: calibrates the interval, and tells how surprising the event is.

The interval follows one quantile of a stream's own errors, measured in the spread that the model announced.
The step up is larger than the step down by the odds of the quantile, so in the long run just that share lies
beyond (quantile tracking; the online conformal rule of Gibbs and Candès, "Adaptive Conformal Inference Under
Distribution Shift", 2021, in the logarithm of the width).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles

INTERVAL = 0.9  # the share of values that it is to hold
WIDTH_RATE = 0.05
WIDTH_MIN, WIDTH_MAX = 0.05, 200.0

SURPRISE_MAX = 1e6  # in spreads; keeps every later number finite


class LastForecast(NamedTuple):
    """What was said of the event that has come now, (B, T)."""

    expected: Doubles
    spread: Doubles
    half_width: Doubles


class IntervalResult(NamedTuple):
    """How that turned out."""

    error: Doubles  # (B, T) |value - expected|, NaN where nothing was expected or nothing can be seen
    missed: NDArray[np.bool_]  # (B, T) the event lay outside its interval
    surprise: Doubles  # (B, T) |error| in spreads, 0 where nothing was expected
    width: Doubles  # (B, T) of the next interval, in spreads


def update(
    forecast: LastForecast,
    before: Doubles,
    seen: Doubles,
    deviation: Doubles,
    seq: NDArray[np.int64],
    interval: float = INTERVAL,
) -> IntervalResult:
    """Compare events with what was expected of them.

    Args:
        forecast: what was said of them; ignored where `seq` is 1.
        before: (B, T) width of the interval, in spreads; ignored where `seq` is 1.
        seen: (B, T) what came, NaN of a target that events do not carry.
        deviation: (B, T) of the targets, these events included.
        seq: (B,) how many events the stream has had, these included.
        interval: share of values that are to lie inside.
    """
    first = (seq == 1)[:, None]
    error = np.abs(seen - forecast.expected)
    unknown = first | np.isnan(error)
    missed = (error > forecast.half_width) & ~unknown
    if not np.count_nonzero(unknown):  # mostly
        surprise = np.minimum(error / (forecast.spread * deviation), SURPRISE_MAX)
        return IntervalResult(error, missed, surprise, next_width(before, missed, interval))
    spread = np.where(unknown, 1.0, forecast.spread)
    # At first the quantile of |error| / spread, were the model's spread exact (Laplace).
    width = np.where(first, -math.log(1.0 - interval), before)
    return IntervalResult(
        error=np.where(unknown, np.nan, error),
        missed=missed,
        surprise=np.minimum(np.where(unknown, 0.0, error) / (spread * deviation), SURPRISE_MAX),
        width=np.where(unknown, width, next_width(width, missed, interval)),
    )


def next_width(width: Doubles, missed: NDArray[np.bool_], interval: float = INTERVAL) -> Doubles:
    """The width after one more event of each stream."""
    rise, fall = math.exp(WIDTH_RATE * interval), math.exp(WIDTH_RATE * (interval - 1.0))
    return np.minimum(np.maximum(width * np.where(missed, rise, fall), WIDTH_MIN), WIDTH_MAX)
