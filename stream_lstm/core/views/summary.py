"""Streams at a glance: what came last, what is expected next, and how they have been predicted of late."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.trackers.accuracy import Skill
from stream_lstm.core.trackers.scale import Doubles, Scale


class Glance(NamedTuple):
    """B streams, F features, T targets; NaN where nothing is known."""

    seq: NDArray[np.int64]  # (B,) events so far
    time: Doubles  # (B,) of the newest event, epoch seconds
    value: Doubles  # (B, F) of the last event
    prediction: Doubles  # (B, T) for the next event
    reach: Doubles  # (B, T) half the width of the interval around it
    skill: Doubles  # (B, T) mean error by that of "same as last time", of late
    covered: Doubles  # (B, T) share of values inside their interval, of late
    mean: Doubles  # (B, F) running
    deviation: Doubles  # (B, F) running
    usual_seconds: Doubles  # (B,) usual time between events


def glance(engine: Engine, rows: NDArray[np.intp]) -> Glance:
    """Look at the memories of these rows, and change nothing."""
    heads = engine.memories.take(rows)
    known = engine.memories.unpack(heads)
    _, said = engine.forecast(known)
    skill = Skill(*(known[name] for name in Skill._fields))
    young = (heads["seq"] < 2)[:, None]
    return Glance(
        seq=heads["seq"].copy(),
        time=known["time"],
        value=known["value"],
        prediction=said.expected,
        reach=np.where(young, np.nan, said.reach),
        skill=skill.ratio(),
        covered=np.where(young, np.nan, skill.covered),
        mean=known["mean"],
        deviation=Scale(known["mean"], known["variance"]).deviation(),
        usual_seconds=np.exp(known["usual"] * np.log(10.0)),
    )
