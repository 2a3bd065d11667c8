"""Accuracy of each stream's predictions: error relative to the last-value forecast, and coverage."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.record import Field, Float, Record

WARM_EVENTS = 100  # events from which on a stream's figures say something about it
WINDOW_EVENTS = 500.0  # of the means: a longer window is steadier, a shorter one forgets an old fault sooner
NAIVE_MAE_MIN = 1e-9  # deviations: a stream that moves by less has only rounding errors
ERROR_MAX = 1e6  # deviations: one event counts for no more, which keeps the means finite


class AccuracyState(Record):
    """Exponential means over about the last 500 events of one target."""

    mae: Annotated[Float, Field("deviations", True, 0.0, ERROR_MAX)]  # |value - expected|
    naive_mae: Annotated[Float, Field("deviations", True, 0.0, ERROR_MAX)]  # |value - last value|
    coverage: Annotated[Float, Field("share", True, 0.0, 1.0)]  # of values inside their interval


class Accuracy(NamedTuple):
    """The same means, the present event included."""

    mae: float
    naive_mae: float
    coverage: float


@compiled
def update(
    state: AccuracyState, error: float, step: float, missed: bool, seq: int, learning: bool
) -> Accuracy:
    """Count one more event; an unknown error changes nothing.

    Args:
        state: changed.
        error: |value - expected| in deviations, NaN where nothing was expected.
        step: |value - last value|, likewise: the error of the last-value forecast.
        missed: the value lies outside its interval.
        seq: number of events of the stream, this one included.
        learning: False if the stream is frozen.
    """
    if seq == 1:
        state.mae = state.naive_mae = state.coverage = 0.0
    if math.isnan(error + step):
        return Accuracy(state.mae, state.naive_mae, state.coverage)
    gain = max(1.0 / max(seq - 1, 1), 1.0 / WINDOW_EVENTS)
    mae = state.mae + gain * (min(error, ERROR_MAX) - state.mae)
    naive_mae = state.naive_mae + gain * (min(step, ERROR_MAX) - state.naive_mae)
    coverage = state.coverage + gain * ((0.0 if missed else 1.0) - state.coverage)
    if learning:
        state.mae, state.naive_mae, state.coverage = mae, naive_mae, coverage
    return Accuracy(mae, naive_mae, coverage)


@compiled
def relative_mae(accuracy: Accuracy | AccuracyState) -> float:
    """Error relative to the last-value forecast; NaN where nothing moved."""
    return accuracy.mae / accuracy.naive_mae if accuracy.naive_mae > NAIVE_MAE_MIN else math.nan
