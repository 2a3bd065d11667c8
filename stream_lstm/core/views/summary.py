"""Summary of streams: last value, next prediction, recent accuracy, scale and usual gap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import pick
from stream_lstm.core.engine import LOG_10, Engine
from stream_lstm.core.trackers.accuracy import Accuracy
from stream_lstm.core.trackers.scale import Doubles, Scale


class StreamSummary(NamedTuple):
    """B streams, F features, T targets; NaN where a number is unknown."""

    seq: NDArray[np.int64]  # (B,) events so far
    time: Doubles  # (B,) of the newest event, epoch seconds
    value: Doubles  # (B, F) of the last event
    prediction: Doubles  # (B, T) of the next event
    half_width: Doubles  # (B, T) of its interval
    relative_mae: Doubles  # (B, T) recent error relative to the last-value forecast
    covered: Doubles  # (B, T) recent coverage: share of values inside their interval
    mean: Doubles  # (B, F) running
    deviation: Doubles  # (B, F) running
    usual_seconds: Doubles  # (B,) usual gap between events


def summarize(engine: Engine, rows: NDArray[np.intp]) -> StreamSummary:
    """The summary of the streams in these rows; changes nothing."""
    heads = engine.memories.take(rows)
    known = engine.memories.unpack(heads)
    _, forecast = engine.last_forecast(known)
    accuracy = Accuracy(*pick(known, Accuracy))
    unchecked = (heads["seq"] < 2)[:, None]  # no prediction has met an event yet
    return StreamSummary(
        seq=heads["seq"].copy(),
        time=known["time"],
        value=known["value"],
        prediction=forecast.expected,
        half_width=np.where(unchecked, np.nan, forecast.half_width),
        relative_mae=accuracy.relative_mae(),
        covered=np.where(unchecked, np.nan, accuracy.coverage),
        mean=known["mean"],
        deviation=Scale(known["mean"], known["variance"]).deviation(),
        usual_seconds=np.exp(known["usual_gap"] * LOG_10),
    )
