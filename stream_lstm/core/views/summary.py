"""Streams at a glance: what came last, what is expected next, and how they have been predicted of late."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.trackers.accuracy import Accuracy
from stream_lstm.core.trackers.scale import Doubles, Scale


class StreamSummary(NamedTuple):
    """B streams, F features, T targets; NaN where nothing is known."""

    seq: NDArray[np.int64]  # (B,) events so far
    time: Doubles  # (B,) of the newest event, epoch seconds
    value: Doubles  # (B, F) of the last event
    prediction: Doubles  # (B, T) for the next event
    half_width: Doubles  # (B, T) half the width of the interval around it
    relative_mae: Doubles  # (B, T) mean error by that of "same as last time", of late
    covered: Doubles  # (B, T) share of values inside their interval, of late
    mean: Doubles  # (B, F) running
    deviation: Doubles  # (B, F) running
    usual_seconds: Doubles  # (B,) usual time between events


def summarize(engine: Engine, rows: NDArray[np.intp]) -> StreamSummary:
    """Look at the memories of these rows, and change nothing."""
    heads = engine.memories.take(rows)
    known = engine.memories.unpack(heads)
    _, said = engine.forecast(known)
    skill = Accuracy(*(known[name] for name in Accuracy._fields))
    young = (heads["seq"] < 2)[:, None]
    return StreamSummary(
        seq=heads["seq"].copy(),
        time=known["time"],
        value=known["value"],
        prediction=said.expected,
        half_width=np.where(young, np.nan, said.half_width),
        relative_mae=skill.ratio(),
        covered=np.where(young, np.nan, skill.covered),
        mean=known["mean"],
        deviation=Scale(known["mean"], known["variance"]).deviation(),
        usual_seconds=np.exp(known["usual"] * np.log(10.0)),
    )
