"""Prediction interval of each stream: compares an event with its forecast, and calibrates the half-width.

The interval follows one quantile of the stream's own errors, measured in the spread that the model announced.
A step up is larger than a step down by the odds of the quantile, so in the long run exactly that share of
errors lies beyond it (quantile tracking; the online conformal rule of Gibbs and Candès, "Adaptive Conformal
Inference Under Distribution Shift", 2021, in the logarithm of the width).
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import exp, log
from stream_lstm.core.record import Field, Float, Record

INTERVAL = 0.9  # target share of values inside their interval
WIDTH_RATE = 0.05  # step size, of the width's logarithm
WIDTH_MIN, WIDTH_MAX = 0.05, 200.0  # spreads
SURPRISE_MAX = 1e6  # spreads; keeps every later number finite
SPREAD_MIN, SPREAD_MAX = 0.018, 54.6  # the readout's limits, e⁻⁴ and e⁴, rounded outward


class IntervalState(Record):
    """Forecast of the next event, and the width of its interval."""

    expected: Annotated[Float, Field("of the target")]  # by all experts together
    spread: Annotated[Float, Field("deviations", False, SPREAD_MIN, SPREAD_MAX)]
    width: Annotated[Float, Field("spreads", True, WIDTH_MIN, WIDTH_MAX)]


class Calibration(NamedTuple):
    """An event beside its forecast."""

    error: float  # |value - expected| in deviations, NaN where there was no forecast or no value
    missed: bool  # the value lies outside its interval
    surprise: float  # the error in spreads, 0 where it is unknown
    width: float  # half-width of the next interval, in spreads


@compiled
def update(
    state: IntervalState,
    value: float,
    deviation_before: float,
    deviation: float,
    seq: int,
    interval: float,
    learning: bool,
) -> Calibration:
    """Compare one more event with its forecast.

    Args:
        state: its width is changed.
        value: NaN of a target that events do not carry.
        deviation_before, deviation: of the target, without and with this event.
        seq: number of events of the stream, this one included.
        interval: target share of values inside their interval.
        learning: False if the stream is frozen.
    """
    if seq == 1:
        state.width = -log(1.0 - interval)  # the quantile if the model's spread is exact (Laplace)
    error = abs(value - state.expected)
    if seq == 1 or math.isnan(error):
        return Calibration(math.nan, False, 0.0, state.width)
    missed = error > state.width * deviation_before * state.spread
    surprise = min(error / (state.spread * deviation), SURPRISE_MAX)
    width = state.width * exp(WIDTH_RATE * (interval if missed else interval - 1.0))
    width = min(max(width, WIDTH_MIN), WIDTH_MAX)
    if learning:
        state.width = width
    return Calibration(error / deviation, missed, surprise, width)
