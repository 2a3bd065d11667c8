"""Evaluation of recorded streams: run them through the engine, then measure its forecasts.

The only place that works out relative error and coverage of recorded streams; `backtest`, `train` and
`benchmarks.quality` use it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.backtest import baselines
from stream_lstm.backtest.files import EventSeries, Series
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.events import Batch

Doubles = NDArray[np.float64]

FIRST_EVENTS = 50  # how a stream starts is measured over these; half of what makes a stream warm
ROUNDING = 1e-9  # a forecast of a constant value may be off by this much and still counts as exact
WELL_COVERED = 0.88, 0.92  # coverage of the 90 % interval that counts as calibrated


class StreamRun(NamedTuple):
    """Predictions of one target, and scores, of the engine for each event of one stream, (L,) each.

    Forecasts are those of the event before: `expected`, `low` and `high` are known before the value arrives.
    """

    expected: Doubles
    low: Doubles
    high: Doubles
    anomaly: Doubles
    kind: NDArray[np.int8]
    incident_score: Doubles
    alert: NDArray[np.bool_]
    trust: Doubles


class Evaluation(NamedTuple):
    """Accuracy, coverage and alerts of one stream, over every event but its first, without a warm-up.

    Attributes:
        mae: mean |value - expected|, in the stream's unit, as all errors here.
        last_value_mae: of the last-value forecast; 0 for a stream that never moves.
        seasonal_naive_mae: of the seasonal naive forecast.
        least_squares_mae: of recursive least squares; NaN if it was not computed.
        first_relative_mae: relative error over the first 50 events.
        coverage: share of values inside their interval.
        anomalies: events whose anomaly score reaches the alert threshold.
        alerts: first events of incidents.
        model_weight: the model's weight among the experts in the last prediction.
        targets: of the stream, which have its events, anomalies and alerts in common.
    """

    events: int
    mae: float
    last_value_mae: float
    seasonal_naive_mae: float
    least_squares_mae: float
    first_relative_mae: float
    coverage: float
    anomalies: int
    alerts: int
    model_weight: float
    targets: int = 1

    @property
    def moves(self) -> bool:
        """True if the stream has two values in a row that differ."""
        return self.last_value_mae > 0.0

    @property
    def well_covered(self) -> bool:
        """True if the interval's coverage is close to its nominal 90 %."""
        low, high = WELL_COVERED
        return low <= self.coverage <= high

    @property
    def relative_mae(self) -> float:
        """Error relative to the last-value forecast; 1.0 is no better."""
        return self.relative(self.mae)

    def relative(self, mae: float) -> float:
        """An error relative to the last-value forecast; 1.0 if the stream never moves and neither errs."""
        if not self.moves:
            return 1.0 if mae < ROUNDING else float("inf")
        return mae / self.last_value_mae

    def fields(self) -> dict[str, Any]:
        """Names and values for JSON output; the names are public."""
        return {
            "events": self.events,
            "error": self.mae,
            "persistence": self.last_value_mae,
            "seasonal": self.seasonal_naive_mae,
            "least_squares": self.least_squares_mae,
            "first": self.first_relative_mae,
            "covered": self.coverage,
            "anomalies": self.anomalies,
            "alerts": self.alerts,
            "trust": self.model_weight,
            "ratio": self.relative_mae,
        }


def run_streams(
    model: LstmModel, streams: Sequence[Series], progress: Callable[[int], object] = int
) -> list[StreamRun]:
    """Run streams through an engine as the service has it, one after the other.

    Args:
        progress: called with the number of events done since the last call.
    """
    engine = Engine(model, Memories(model.spec, rows_max=len(streams)))
    runs = []
    for n, stream in enumerate(streams):
        runs.append(_run_of(_predictions(engine, n, stream.times, stream.values[:, None]), 0))
        progress(len(stream.values))
    return runs


def run_events(model: LstmModel, streams: Sequence[EventSeries]) -> list[list[StreamRun]]:
    """Run streams of a model with any features; returns a run for each target of each stream."""
    targets = range(len(model.spec.targets))
    return [[_run_of(found, target) for target in targets] for found in predict(model, streams)]


def predict(model: LstmModel, streams: Sequence[EventSeries]) -> list[Predictions]:
    """The engine's predictions for each stream."""
    engine = Engine(model, Memories(model.spec, rows_max=len(streams)))
    return [_predictions(engine, n, stream.times, stream.values) for n, stream in enumerate(streams)]


def _predictions(engine: Engine, number: int, times: Doubles, values: Doubles) -> Predictions:
    rows = np.full(len(values), engine.memories.add(str(number), number + 1))
    return engine.apply(Batch.timed(rows, times, values))


def _run_of(predictions: Predictions, target: int) -> StreamRun:
    forecast, half_width = predictions.prediction[:, target], predictions.half_width[:, 0, target]
    return StreamRun(
        expected=predictions.expected[:, target],
        low=_for_the_next(forecast - half_width),
        high=_for_the_next(forecast + half_width),
        anomaly=predictions.anomaly,
        kind=predictions.kind,
        incident_score=predictions.incident_score,
        alert=predictions.alert,
        trust=predictions.trust[:, target],
    )


def _for_the_next(bound: Doubles) -> Doubles:
    """Bounds of the next event's interval as bounds of the event's own; unknown at the first."""
    return np.concatenate([[np.nan], bound[:-1]])


def absolute_errors(values: Doubles, forecast: Doubles) -> Doubles:
    """|value - forecast| of every event but the first, for which no method has a forecast; (L - 1,)."""
    return np.abs(values - forecast)[1:]


def evaluate_stream(
    stream: Series, run: StreamRun, *, with_least_squares: bool = True, targets: int = 1
) -> Evaluation:
    """Evaluate a stream's run beside the baselines.

    Args:
        with_least_squares: include recursive least squares, which takes longer than all the rest.
        targets: of the stream; this is one of them.
    """
    times, values = stream.times, stream.values
    fitted = baselines.least_squares(times, values) if with_least_squares else np.full(len(values), np.nan)
    error, last_value, seasonal_naive, least_squares = (
        absolute_errors(values, forecast)
        for forecast in (
            run.expected,
            baselines.last_value(values),
            baselines.seasonal_naive(times, values),
            fitted,
        )
    )
    bounded = ~np.isnan(run.low)
    inside = (run.low <= values) & (values <= run.high)
    first_moves = last_value[:FIRST_EVENTS].sum()
    return Evaluation(
        events=len(values),
        mae=float(error.mean()),
        last_value_mae=float(last_value.mean()),
        seasonal_naive_mae=float(seasonal_naive.mean()),
        least_squares_mae=float(least_squares.mean()),
        first_relative_mae=float(error[:FIRST_EVENTS].sum() / first_moves) if first_moves else 1.0,
        coverage=float(inside[bounded].mean()) if bounded.any() else float("nan"),
        anomalies=int((run.anomaly >= ALERT_THRESHOLD).sum()),
        alerts=int(run.alert.sum()),
        model_weight=float(run.trust[-1]),
        targets=targets,
    )


def evaluate(model: LstmModel, streams: Sequence[Series]) -> list[Evaluation]:
    """Run and evaluate streams, without least squares."""
    runs = zip(streams, run_streams(model, streams), strict=True)
    return [evaluate_stream(stream, run, with_least_squares=False) for stream, run in runs]


def median(numbers: Iterable[float], evaluations: Iterable[Evaluation]) -> float:
    """Median of one number a stream over the streams that move; NaN if none does."""
    moving = [number for number, each in zip(numbers, evaluations, strict=True) if each.moves]
    return statistics.median(moving) if moving else float("nan")


def median_relative_mae(evaluations: Sequence[Evaluation]) -> float:
    """Median relative error over the streams that move; NaN if none does."""
    return median((each.relative_mae for each in evaluations), evaluations)
