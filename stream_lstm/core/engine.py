"""Engine: applies events to the streams' records, one after the other. Nothing else changes a record.

`push` applies one event to its stream, line by line in the order of the steps. A batch is a loop over events,
any stream any number of times: a stream's bits cannot depend on the other streams of a batch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled, compiled_unlocked
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import cell, gates, inputs, readout
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.model.gates import gate_type
from stream_lstm.core.predictions import PredictionRecord, Predictions, prediction_type
from stream_lstm.core.record import Doubles, argument
from stream_lstm.core.state import ModelRecord, Room, StreamState, model_record, room
from stream_lstm.core.trackers import (
    accuracy,
    anomaly,
    event_time,
    experts,
    incident,
    interval,
    scale,
    seasonal,
)
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.events import CLOCK_BITS, FROZEN, Batch, Clock

FROZEN_EVENTS_MIN = 20  # a younger stream cannot be frozen: there is no normal yet to keep
UNCERTAIN = int(Clock.UNCERTAIN)
STEP, CLASSES = 0, 2  # indices in `state.READOUTS`


class Engine:
    """Applies batches of events to records.

    Args:
        model: weights and their specification.
        memories: the records, of the type that the model needs; nothing else may write them.
        interval: target share of values inside their interval.
    """

    def __init__(self, model: LstmModel, memories: Memories, *, interval: float = interval.INTERVAL) -> None:
        self.model = model
        self.memories = memories
        self._prediction_type = prediction_type(model.spec)
        self._no_gates = np.zeros(0, gate_type(model.spec))
        self._model, self._room = model_record(model), room(model.spec)
        self._interval = interval

    def apply(self, batch: Batch, gates: NDArray[np.void] | None = None) -> Predictions:
        """Apply events in order of arrival, any number of them per stream.

        Args:
            batch: its streams are rows in memory.
            gates: (N,) of `GateRecord`, filled with the cell at each event.

        Returns:
            One prediction per event, in the same order.

        Raises:
            IndexError: a row lies outside of memory; nothing has changed.
            ValueError: the columns do not fit together, or do not fit the model; likewise.
        """
        count, features = len(batch.streams), len(self.model.spec.features)
        if batch.values.shape != (count, features) or not len(batch.times) == len(batch.marks) == count:
            raise ValueError(f"the batch has not {count} events of {features} features in every column")
        if gates is not None and len(gates) != count:
            raise ValueError(f"there is room for the gates of {len(gates)} events, not of {count}")
        out = np.zeros(count, self._prediction_type)
        known = apply(
            argument(self.memories.states),
            np.ascontiguousarray(batch.streams, np.int64),
            np.ascontiguousarray(batch.times, np.float64),
            np.ascontiguousarray(batch.values, np.float64),
            np.ascontiguousarray(batch.marks, np.uint8),
            argument(self._model),
            argument(self._room),
            self._interval,
            argument(out),
            argument(self._no_gates if gates is None else gates),
        )
        if not known:
            raise IndexError(f"a row lies outside of {len(self.memories.states)}")
        return Predictions(out, self.model.spec)


class Event(NamedTuple):
    """Facts of one event that all targets share."""

    seq: int
    timed: TimedEvent
    learning: bool  # False if the stream is frozen
    certain: bool  # False if the event's time is unknown, and the event is not the first


@compiled_unlocked
def apply(
    states: NDArray[Any],
    rows: NDArray[np.int64],
    times: Doubles,
    values: Doubles,
    marks: NDArray[np.uint8],
    model: NDArray[Any],
    space: NDArray[Any],
    share: float,
    predictions: NDArray[Any],
    traced: NDArray[Any],
) -> bool:
    """Push the streams in `rows` forward, and fill `predictions`; `Engine.apply` checks the columns' lengths.

    `traced` is filled with the gates, unless it is empty.

    Returns:
        False, with nothing changed, if a row lies outside of `states`: it would be other memory.
    """
    for row in rows:
        if not 0 <= row < len(states):
            return False
    for n in range(len(rows)):
        state = states[rows[n]]
        push(state, times[n], values[n], int(marks[n]), model[0], space[0], share, predictions[n])
        if len(traced) > 0:
            gates.record(state, space[0], traced[n])
    return True


@compiled
def push(
    state: StreamState,
    time: float,
    values: Doubles,
    mark: int,
    model: ModelRecord,
    space: Room,
    share: float,
    out: PredictionRecord,
) -> None:
    """Apply one event to its stream's record, and fill `out` with its prediction."""
    state.seq += 1
    seq = state.seq
    uncertain = (mark & CLOCK_BITS) == UNCERTAIN
    learning = (mark & FROZEN) == 0 or seq <= FROZEN_EVENTS_MIN
    timed = event_time.update(state.event_time, time, seq, uncertain, learning)
    event = Event(seq, timed, learning, seq == 1 or not uncertain)
    _scale(state, values, space, event)
    _check(state, values, model, space, share, event, out)
    if uncertain:
        out.anomaly, out.incident_score, out.alert = math.nan, 0.0, False
    inputs.make(space, model, state, values, time, timed)
    _run_cell(state, model, space)
    _predict(state, values, model, space, event, out)
    for n in range(len(values)):
        state.value[n] = values[n]
    out.seq, out.late = seq, timed.late
    if seq == 1:
        _mask_first(out)


@compiled
def _scale(state: StreamState, values: Doubles, space: Room, event: Event) -> None:
    """Update the scale of each feature."""
    for n in range(len(values)):
        space.deviation_before[n] = scale.deviation(state.scale[n])
        scale.update(state.scale[n], values[n], event.seq, event.learning)


@compiled
def _check(
    state: StreamState,
    values: Doubles,
    model: ModelRecord,
    space: Room,
    share: float,
    event: Event,
    out: PredictionRecord,
) -> None:
    """Compare the event with its forecast, target by target, and decide on an alert."""
    score = incident.no_score()
    for n in range(model.targets):
        rarities = _check_target(state, n, values, model, space, share, event, out)
        score = incident.add(score, rarities)
    verdict = incident.update(state.incident, score, event.seq, event.certain)
    out.anomaly, out.kind = verdict.anomaly, verdict.kind
    out.incident_score, out.alert = verdict.incident_score, verdict.alert


@compiled
def _check_target(
    state: StreamState,
    n: int,
    values: Doubles,
    model: ModelRecord,
    space: Room,
    share: float,
    event: Event,
    out: PredictionRecord,
) -> anomaly.Rarities:
    """The same for one target; returns what is rare about it."""
    target, feature = state.targets[n], model.feature_of[n]
    value = last = math.nan
    deviation_before = deviation = 1.0
    if feature >= 0:
        value = values[feature]
        last = value if event.seq == 1 else state.value[feature]
        deviation_before = space.deviation_before[feature]
        deviation = scale.deviation(state.scale[feature])
    out.expected[n] = target.interval.expected
    seq, learning = event.seq, event.learning
    step = abs(value - last) / deviation
    checked = interval.update(target.interval, value, deviation_before, deviation, seq, share, learning)
    means = accuracy.update(target.accuracy, checked.error, step, checked.missed, seq, learning)
    observed = anomaly.Observed(value, last, checked.error, checked.surprise, seq)
    rarities = anomaly.update(target.anomaly, observed, event.timed, learning, event.certain)
    out.trust[n] = 1.0
    if model.readout_kind == STEP:
        weights = experts.update(
            target.experts, value - last, deviation_before, deviation, means.naive_mae, seq, learning
        )
        out.trust[n], space.seasonal_weight[n] = weights.model, weights.seasonal
    space.width[n] = checked.width
    out.error[n], out.missed[n], out.persistence[n] = checked.error, checked.missed, step
    out.relative_mae[n], out.covered[n] = accuracy.relative_mae(means), means.coverage
    return rarities


@compiled
def _run_cell(state: StreamState, model: ModelRecord, space: Room) -> None:
    """Push the inputs through every layer's cell, and read the last STM."""
    cell.step(state.ltm[0], state.stm[0], space.entering, model.first, model.bias[0], space.sums[0])
    for n in range(1, len(state.ltm)):
        weights = model.further[n - 1]
        cell.step(state.ltm[n], state.stm[n], state.stm[n - 1], weights, model.bias[n], space.sums[n])
    readout.read(state.stm[len(state.stm) - 1], model, space)


@compiled
def _predict(
    state: StreamState,
    values: Doubles,
    model: ModelRecord,
    space: Room,
    event: Event,
    out: PredictionRecord,
) -> None:
    """Predict the next event, and further ahead."""
    if model.readout_kind == CLASSES:
        readout.probabilities(space, out.probabilities)
        return
    for n in range(model.targets):
        if model.readout_kind == STEP:
            _predict_step(state, n, values[n], model, space, event, out)
        else:
            feature = model.feature_of[n]
            deviation = scale.deviation(state.scale[feature]) if feature >= 0 else 1.0
            out.forecast[0, n] = readout.value(space, model, state, n)
            out.half_width[0, n] = space.width[n] * deviation
            state.targets[n].interval.spread = 1.0
        state.targets[n].interval.expected = out.forecast[0, n]


@compiled
def _predict_step(
    state: StreamState,
    n: int,
    value: float,
    model: ModelRecord,
    space: Room,
    event: Event,
    out: PredictionRecord,
) -> None:
    """Forecast of one target of a `step` model, whose targets are its features, by all experts together.

    The seasonal expert knows one step ahead only.
    """
    target, mean, deviation = state.targets[n], state.scale[n].mean, scale.deviation(state.scale[n])
    seasonal_step = seasonal.update(
        target.seasonal, mean, deviation, state.value[n], event.timed, event.seq, event.learning
    )
    model_weight, seasonal_weight = out.trust[n], space.seasonal_weight[n]
    share = model_weight / max(1.0 - seasonal_weight, experts.SHARE_MIN)
    for k in range(len(out.forecast)):
        step = readout.location(space, k, n, model.targets) * deviation
        out.forecast[k, n] = value + share * step
        out.half_width[k, n] = space.width[n] * deviation * readout.spread(space, k, n, model.targets)
    step = readout.location(space, 0, n, model.targets) * deviation
    out.forecast[0, n] = value + model_weight * step + seasonal_weight * seasonal_step
    target.experts.model_step, target.experts.seasonal_step = step / deviation, seasonal_step / deviation
    target.interval.spread = readout.spread(space, 0, n, model.targets)


@compiled
def _mask_first(out: PredictionRecord) -> None:
    """NaN for what is not known at a stream's first event."""
    for n in range(len(out.expected)):
        out.expected[n] = out.persistence[n] = out.covered[n] = math.nan
        for k in range(len(out.half_width)):
            out.half_width[k, n] = math.nan
