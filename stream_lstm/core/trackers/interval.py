"""Prediction interval of each stream: compares events with their forecast, and calibrates the half-width.

The interval follows one quantile of the stream's own errors, measured in the spread that the model announced.
A step up is larger than a step down by the odds of the quantile, so in the long run exactly that share of
errors lies beyond it (quantile tracking; the online conformal rule of Gibbs and Candès, "Adaptive Conformal
Inference Under Distribution Shift", 2021, in the logarithm of the width).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.trackers.scale import Doubles

INTERVAL = 0.9  # default share of values inside their interval
WIDTH_RATE = 0.05  # step size, of the width's logarithm
WIDTH_MIN, WIDTH_MAX = 0.05, 200.0  # spreads
SURPRISE_MAX = 1e6  # spreads; keeps every later number finite

COLUMNS = (RecordColumn("width", "rough", "spreads", frozen=True, limits=(WIDTH_MIN, WIDTH_MAX)),)


class LastForecast(NamedTuple):
    """Forecast of the events that have come now, (B, T) each."""

    expected: Doubles
    spread: Doubles  # in deviations
    half_width: Doubles  # in the target's unit, as `expected`


class Calibration(NamedTuple):
    """Events beside their forecast, and the width of the next interval."""

    error: Doubles  # (B, T) |value - expected|, NaN where there was no forecast or no value
    missed: NDArray[np.bool_]  # (B, T) the value lies outside its interval
    surprise: Doubles  # (B, T) the error in spreads, 0 where it is unknown
    width: Doubles  # (B, T) half-width of the next interval, in spreads


def update(
    forecast: LastForecast,
    width: Doubles,
    values: Doubles,
    deviation: Doubles,
    seq: NDArray[np.int64],
    interval: float = INTERVAL,
) -> Calibration:
    """The calibration after one more event of each stream.

    Args:
        forecast: of these events; ignored where `seq` is 1.
        width: (B, T) half-width of their interval, in spreads; ignored where `seq` is 1.
        values: (B, T) of the targets, NaN of a target that events do not carry.
        deviation: (B, T) of the targets, these events included.
        seq: (B,) number of events of each stream, this one included.
        interval: target share of values inside their interval.
    """
    first = (seq == 1)[:, None]
    error = np.abs(values - forecast.expected)
    unknown = first | np.isnan(error)
    missed = (error > forecast.half_width) & ~unknown
    if not np.count_nonzero(unknown):  # the usual case
        surprise = np.minimum(error / (forecast.spread * deviation), SURPRISE_MAX)
        return Calibration(error, missed, surprise, next_width(width, missed, interval))
    spread = np.where(unknown, 1.0, forecast.spread)
    # The first width is the quantile of |error| / spread if the model's spread is exact (Laplace).
    width = np.where(first, -math.log(1.0 - interval), width)
    return Calibration(
        error=np.where(unknown, np.nan, error),
        missed=missed,
        surprise=np.minimum(np.where(unknown, 0.0, error) / (spread * deviation), SURPRISE_MAX),
        width=np.where(unknown, width, next_width(width, missed, interval)),
    )


def next_width(width: Doubles, missed: NDArray[np.bool_], interval: float = INTERVAL) -> Doubles:
    """The width after one more event of each stream."""
    rise, fall = math.exp(WIDTH_RATE * interval), math.exp(WIDTH_RATE * (interval - 1.0))
    return np.minimum(np.maximum(width * np.where(missed, rise, fall), WIDTH_MIN), WIDTH_MAX)
