"""How good a model is: recorded streams through the real engine, beside "same as last time"."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream_lstm.core.batch import Batch
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import Model
from stream_lstm.train.generate import Stream


class Figures(NamedTuple):
    """Of one stream; every event but its first is judged.

    Attributes:
        error: mean |value - expected|, in the stream's unit.
        persistence: mean |value - last value|.
        covered: share of values inside their 90 % interval, from the third event on.
        alerts: how many incidents were told.
    """

    events: int
    error: float
    persistence: float
    covered: float
    alerts: int

    @property
    def ratio(self) -> float:
        """Error by persistence's; 1 for a stream that never moves and is predicted so."""
        if self.persistence == 0.0:
            return 1.0 if self.error == 0.0 else float("inf")
        return self.error / self.persistence


def evaluate(model: Model, streams: Sequence[Stream]) -> list[Figures]:
    """Run streams side by side through an engine, each event once."""
    memories = Memories(model.description, rows_max=len(streams))
    engine = Engine(model, memories)
    rows = np.array([memories.admit(str(n), n + 1) for n in range(len(streams))], np.intp)
    lengths = np.array([len(stream.values) for stream in streams])
    sums = np.zeros((4, len(streams)))  # error, persistence, covered, alerts
    last = np.zeros(len(streams))
    for t in range(lengths.max()):
        alive = np.flatnonzero(lengths > t)
        values = np.array([streams[n].values[t] for n in alive.tolist()])
        times = np.array([streams[n].times[t] for n in alive.tolist()])
        said = engine.apply(Batch(rows[alive], times, values[:, None], np.zeros(len(alive), np.uint8)))
        if t > 0:
            sums[0, alive] += np.abs(values - said.expected[:, 0])
            sums[1, alive] += np.abs(values - last[alive])
            sums[2, alive] += ~said.missed[:, 0] & (t > 1)
            sums[3, alive] += said.alert
        last[alive] = values
    judged = np.maximum(lengths - 1, 1)
    error, persistence, alerts = sums[0] / judged, sums[1] / judged, sums[3].astype(int)
    covered = sums[2] / np.maximum(judged - 1, 1)
    columns = (column.tolist() for column in (lengths, error, persistence, covered, alerts))
    return [Figures(*row) for row in zip(*columns, strict=True)]


def median_ratio(figures: Sequence[Figures]) -> float:
    """The median of the streams' error by persistence's, those apart that never move."""
    return statistics.median(f.ratio for f in figures if f.persistence > 0.0)
