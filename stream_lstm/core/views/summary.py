"""Summary of streams: last value, next prediction, recent accuracy, scale and usual gap."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled, compiled_unlocked
from stream_lstm.core.elementary import exp
from stream_lstm.core.engine import Engine
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import Doubles, Float, Int, Record, argument, layout
from stream_lstm.core.state import StreamState, feature_of, sizes
from stream_lstm.core.trackers import accuracy, scale
from stream_lstm.core.trackers.seasonal import LN10


class SummaryRecord(Record):
    """One stream, F features, T targets; NaN where a number is unknown."""

    seq: Int  # events so far
    time: Float  # of the newest event, epoch seconds
    usual_seconds: Float  # usual gap between events
    value: Annotated[Doubles, "<f8", "features"]  # of the last event
    mean: Annotated[Doubles, "<f8", "features"]  # running
    deviation: Annotated[Doubles, "<f8", "features"]  # running
    prediction: Annotated[Doubles, "<f8", "targets"]  # of the next event
    half_width: Annotated[Doubles, "<f8", "targets"]  # of its interval
    relative_mae: Annotated[Doubles, "<f8", "targets"]  # recent error relative to the last-value forecast
    covered: Annotated[Doubles, "<f8", "targets"]  # recent coverage: share of values inside their interval


class StreamSummary(NamedTuple):
    """The fields of `SummaryRecord` as columns of B streams: (B,), (B, F) or (B, T)."""

    seq: NDArray[np.int64]
    time: Doubles
    usual_seconds: Doubles
    value: Doubles
    mean: Doubles
    deviation: Doubles
    prediction: Doubles
    half_width: Doubles
    relative_mae: Doubles
    covered: Doubles


def summarize(engine: Engine, rows: NDArray[np.intp]) -> StreamSummary:
    """The summary of the streams in these rows; changes nothing."""
    memories = engine.memories
    return summary_of(memories.copies(rows).view(memories.states.dtype), engine.model.spec)


def summary_of(states: NDArray[np.void], spec: ModelSpec) -> StreamSummary:
    """The summary of records, (B,) of `StreamState`."""
    out, targets = np.zeros(len(states), layout(SummaryRecord, **sizes(spec))), len(spec.targets)
    fill(argument(states), feature_of(spec), targets, argument(out))
    *plain, prediction, half_width, relative_mae, covered = (out[name] for name in StreamSummary._fields)
    of_targets = (column[:, :targets] for column in (prediction, half_width, relative_mae, covered))
    return StreamSummary(*plain, *of_targets)


def relative_errors(states: NDArray[np.void], rows: NDArray[np.intp], targets: int) -> Doubles:
    """`relative_mae` alone, (B, T), of the records in these rows; `targets` is T."""
    out = np.empty((len(rows), targets))
    fill_errors(argument(states), np.ascontiguousarray(rows, np.int64), out)
    return out


@compiled_unlocked
def fill_errors(states: NDArray[Any], rows: NDArray[np.int64], out: Doubles) -> None:
    """Fill `out` with the relative errors of the targets of the records in these rows."""
    for n in range(len(rows)):
        for target in range(out.shape[1]):
            out[n, target] = accuracy.relative_mae(states[rows[n]].targets[target].accuracy)


@compiled
def fill(states: NDArray[Any], feature_of_target: NDArray[np.int64], targets: int, out: NDArray[Any]) -> None:
    """Fill `out` with the summaries of `states`; a target that is no feature has -1 for its feature."""
    for n in range(len(states)):
        _fill_stream(states[n], out[n])
        for target in range(targets):
            _fill_target(states[n], target, feature_of_target[target], out[n])


@compiled
def _fill_stream(state: StreamState, out: SummaryRecord) -> None:
    out.seq, out.time = state.seq, state.event_time.time
    out.usual_seconds = exp(state.event_time.usual_gap * LN10)
    for n in range(len(out.value)):
        out.value[n], out.mean[n] = state.value[n], state.scale[n].mean
        out.deviation[n] = scale.deviation(state.scale[n])


@compiled
def _fill_target(state: StreamState, n: int, feature: int, out: SummaryRecord) -> None:
    target = state.targets[n]
    deviation = scale.deviation(state.scale[feature]) if feature >= 0 else 1.0
    out.prediction[n] = target.interval.expected
    out.half_width[n] = target.interval.width * deviation * target.interval.spread
    out.relative_mae[n], out.covered[n] = accuracy.relative_mae(target.accuracy), target.accuracy.coverage
    if state.seq < 2:  # no prediction has met an event yet
        out.half_width[n] = out.covered[n] = math.nan
