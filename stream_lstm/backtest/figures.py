"""What can be said of predictions once the events have come."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.backtest import baselines
from stream_lstm.backtest.files import Series
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import Model
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.events import Batch

Doubles = NDArray[np.float64]

FIRST_EVENTS = 50
ROUNDING = 1e-9


class Course(NamedTuple):
    """What was said of each event of a stream, (L,) each; `expected` and what follows before it came."""

    expected: Doubles
    low: Doubles
    high: Doubles
    anomaly: Doubles
    kind: NDArray[np.int8]
    incident_score: Doubles
    alert: NDArray[np.bool_]
    trust: Doubles


class Figures(NamedTuple):
    """Of one stream; every event but its first is judged, none is left out for warming up.

    Attributes:
        error: mean |value - expected|, in the stream's unit.
        persistence: mean |value - last value|; a stream for which it is 0 never moves.
        seasonal: mean error of "same as a day ago".
        least_squares: mean error of recursive least squares.
        first: error of the first 50 events by persistence's.
        covered: share of values inside their interval.
        anomalies: events as odd as an alert.
        alerts: incidents told.
        trust: the model's share in the last prediction.
    """

    events: int
    error: float
    persistence: float
    seasonal: float
    least_squares: float
    first: float
    covered: float
    anomalies: int
    alerts: int
    trust: float

    @property
    def ratio(self) -> float:
        """Error by persistence's."""
        return self.by_persistence(self.error)

    def by_persistence(self, error: float) -> float:
        """An error by persistence's; 1 for a stream that never moves and is predicted so."""
        if self.persistence == 0.0:
            return 1.0 if error < ROUNDING else float("inf")
        return error / self.persistence


def follow(model: Model, streams: Sequence[Series], progress: Callable[[int], object] = int) -> list[Course]:
    """Run streams side by side through an engine as the service has it, each event once.

    Args:
        progress: called with how many more events are done.
    """
    memories = Memories(model.spec, rows_max=len(streams))
    engine = Engine(model, memories)
    rows = np.array([memories.admit(str(n), n + 1) for n in range(len(streams))], np.intp)
    lengths = np.array([len(stream.values) for stream in streams])
    total = int(lengths.sum())
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    times, values = (np.concatenate([s[column] for s in streams]) for column in (1, 2))
    flat = Course(
        expected=np.full(total, np.nan),
        low=np.full(total, np.nan),
        high=np.full(total, np.nan),
        anomaly=np.zeros(total),
        kind=np.zeros(total, np.int8),
        incident_score=np.zeros(total),
        alert=np.zeros(total, np.bool_),
        trust=np.zeros(total),
    )
    coming = np.full((3, len(streams)), np.nan)
    for t in range(lengths.max()):
        alive = np.flatnonzero(lengths > t)
        at = starts[alive] + t
        flat.low[at], flat.high[at] = coming[1:, alive]
        said = engine.apply(Batch.timed(rows[alive], times[at], values[at][:, None]))
        flat.expected[at] = said.expected[:, 0]
        flat.anomaly[at], flat.kind[at], flat.incident_score[at], flat.alert[at] = said[2:6]
        flat.trust[at] = said.trust[:, 0]
        prediction, half_width = said.prediction[:, 0], said.half_width[:, 0, 0]
        coming[:, alive] = prediction, prediction - half_width, prediction + half_width
        progress(len(alive))
    pieces = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return [Course._make(column[piece] for column in flat) for piece in pieces]


def judge(stream: Series, course: Course, *, classical: bool = True) -> Figures:
    """Figures of a stream that was followed.

    Args:
        classical: compute least squares, too, which takes longer than all the rest.
    """
    times, values = stream.times, stream.values
    same = baselines.persistence(values)
    squares = baselines.least_squares(times, values) if classical else np.full(len(values), np.nan)
    error, persistence, seasonal, fitted = (
        np.abs(values - said)[1:]
        for said in (course.expected, same, baselines.seasonal(times, values), squares)
    )
    bounded = ~np.isnan(course.low)
    inside = (course.low <= values) & (values <= course.high)
    began = persistence[:FIRST_EVENTS].sum()
    return Figures(
        events=len(values),
        error=float(error.mean()),
        persistence=float(persistence.mean()),
        seasonal=float(seasonal.mean()),
        least_squares=float(fitted.mean()),
        first=float(error[:FIRST_EVENTS].sum() / began) if began else 1.0,
        covered=float(inside[bounded].mean()) if bounded.any() else float("nan"),
        anomalies=int((course.anomaly >= ALERT_THRESHOLD).sum()),
        alerts=int(course.alert.sum()),
        trust=float(course.trust[-1]),
    )


def evaluate(model: Model, streams: Sequence[Series]) -> list[Figures]:
    """Figures of streams, without the classical method."""
    followed = zip(streams, follow(model, streams), strict=True)
    return [judge(stream, course, classical=False) for stream, course in followed]


def median(ratios: Iterable[float], figures: Iterable[Figures]) -> float:
    """The median of the streams that move; NaN if none does."""
    found = [ratio for ratio, of in zip(ratios, figures, strict=True) if of.persistence > 0.0]
    return statistics.median(found) if found else float("nan")


def median_ratio(figures: Sequence[Figures]) -> float:
    """The median of the streams' error by persistence's, those apart that never move."""
    return median((of.ratio for of in figures), figures)
