"""Engine: applies batches of events to the streams' records. The only code that changes a record.

Each event updates its stream's trackers, goes through the LSTM cell, and gives a prediction of the next one.
`Engine.apply` is a function of (records, batch): the same input gives the same bits, whichever other streams
share the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.batch import parts
from stream_lstm.core.columns import Columns, pick
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import cell, inputs, readout
from stream_lstm.core.model.file import Model
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.record import FROZEN_COLUMNS
from stream_lstm.core.trackers import accuracy, anomaly, event_time, experts, interval, scale, seasonal
from stream_lstm.core.trackers.accuracy import Accuracy
from stream_lstm.core.trackers.anomaly import AnomalyState
from stream_lstm.core.trackers.event_time import EventTime
from stream_lstm.core.trackers.experts import Experts
from stream_lstm.core.trackers.hourly_errors import HourlyErrors
from stream_lstm.core.trackers.scale import Doubles, Scale
from stream_lstm.core.trackers.seasonal import DayProfiles, DayScale
from stream_lstm.events import CLOCK_BITS, FROZEN, Batch, Clock

TILES_AT_ONCE = 32  # measured: the gates' intermediate results of more tiles do not fit the cache
FROZEN_EVENTS_MIN = 20  # a younger stream cannot be frozen: there is no normal yet to keep
UNCERTAIN = int(Clock.UNCERTAIN)  # plain: comparing an enum is slow
LOG_10 = np.log(10.0)


class _Events(NamedTuple):
    """One event of each of B streams, F features; B is a whole number of tiles."""

    rows: NDArray[np.intp]  # (B,) in memory
    times: Doubles  # (B,) epoch seconds
    values: Doubles  # (B, F)
    last: Doubles  # (B, F) the values before; of a first event its own
    seq: NDArray[np.int64]  # (B,) number of events of each stream, this one included
    uncertain: NDArray[np.bool_]  # (B,) the time is that of the arrival, after a wait at the broker
    unscored: NDArray[np.bool_]  # (B,) likewise, and not the first: the anomaly's state stays as it is
    frozen: NDArray[np.bool_]  # (B,) excluded from learning
    scale: Scale  # (B, F) these events included, unless they are frozen
    deviation: Doubles  # (B, F) of `scale`


class _Targets(NamedTuple):
    """The targets of the same events, (B, T) each; NaN of a target that events do not carry."""

    values: Doubles
    last: Doubles
    deviation: Doubles  # with these events
    deviation_before: Doubles
    step: Doubles  # |value - last value| in deviations


class Engine:
    """Applies batches of events to records.

    Args:
        model: weights and their description.
        memories: the records, of the type that the model needs; nothing else may write them.
        interval: target share of values inside their interval.
    """

    def __init__(self, model: Model, memories: Memories, *, interval: float = interval.INTERVAL) -> None:
        self.model = model
        self.memories = memories
        self._interval = interval
        spec = model.spec
        index = {name: n for n, name in enumerate(spec.features)}
        # A target that no event carries is predicted, and its predictions are never checked.
        self._feature_of = [index.get(name, -1) for name in spec.targets]
        self._targets_are_features = spec.targets == spec.features

    def apply(self, batch: Batch) -> Predictions:
        """Apply events in order of arrival, any number of them per stream.

        Args:
            batch: its streams are rows in memory.

        Returns:
            One prediction per event, in the same order.
        """
        pieces = list(parts(batch.streams))
        if not pieces:
            return Predictions.none(self.model.spec)
        if len(pieces) == 1:
            return self.apply_once(batch)
        done = [self.apply_once(batch.select(piece)) for piece in pieces]
        order = np.argsort(np.concatenate(pieces))
        return Predictions._make(np.concatenate(column)[order] for column in zip(*done, strict=True))

    def apply_once(self, batch: Batch) -> Predictions:
        """One step of `apply`: a batch with at most one event per stream."""
        tiles = _whole_tiles(batch)
        heads = self.memories.take(tiles.streams)
        before = self.memories.unpack(heads)
        event = _events(tiles, heads["seq"] + 1, before)
        seq = event.seq
        # The event beside its forecast.
        timed = event_time.update(EventTime(*pick(before, EventTime)), event.times, seq, event.uncertain)
        deviation_before, forecast = self.last_forecast(before)
        target = self._targets(event, deviation_before)
        checked = interval.update(
            forecast, before["width"], target.values, target.deviation, seq, self._interval
        )
        error = checked.error / target.deviation
        figures = accuracy.update(Accuracy(*pick(before, Accuracy)), error, target.step, checked.missed, seq)
        observed = anomaly.Observed(
            target.values, target.last, error, checked.surprise, seq, timed.after.time, before["time"]
        )
        hourly = HourlyErrors(self.memories.routine, event.rows, event.frozen | event.unscored)
        scored, state = anomaly.update(AnomalyState(*pick(before, AnomalyState)), hourly, observed)
        # The event through the cell, and the forecast of the next one.
        model, probabilities = self._read_out(self._run_cell(event.rows, self._seen(event, timed)), event)
        after: Columns = {"value": event.values, "width": checked.width, "spread": model.spread[:, 0]}
        for part in (timed.after, figures, state, event.scale):
            after |= part._asdict()
        expected, trust = self._combine(before, after, event, target, model)
        after["expected"] = expected[:, 0]
        self._write(batch.streams, heads, seq, _kept(before, after, event))
        predictions = Predictions(
            seq=seq,
            expected=before["expected"],
            anomaly=np.where(event.uncertain, np.nan, scored.anomaly),
            kind=scored.kind,
            incident_score=np.where(event.uncertain, 0.0, scored.incident_score),
            alert=scored.alert & ~event.uncertain,
            forecast=expected,
            half_width=(checked.width * target.deviation)[:, None] * model.spread,
            trust=trust,
            probabilities=probabilities,
            error=error,
            persistence=target.step,
            missed=checked.missed,
            relative_mae=figures.relative_mae(),
            covered=figures.coverage,
            late=timed.late,
        )
        return predictions.mask_first(seq == 1).head(len(batch.streams))

    def last_forecast(self, before: Columns) -> tuple[Doubles, interval.LastForecast]:
        """The deviation of the targets at the last event, (B, T), and the forecast that was made then."""
        deviation = self._of_targets(Scale(*pick(before, Scale)).deviation(), missing=1.0)
        half_width = before["width"] * deviation * before["spread"]
        return deviation, interval.LastForecast(before["expected"], before["spread"], half_width)

    def _targets(self, event: _Events, deviation_before: Doubles) -> _Targets:
        deviation = self._of_targets(event.deviation, missing=1.0)
        values, last = (self._of_targets(c, missing=np.nan) for c in (event.values, event.last))
        return _Targets(values, last, deviation, deviation_before, np.abs(values - last) / deviation)

    def _of_targets(self, by_feature: Doubles, *, missing: float) -> Doubles:
        """Columns of the targets, (B, T), out of columns of the features, (B, F)."""
        if self._targets_are_features:
            return by_feature
        columns = by_feature[:, self._feature_of]
        columns[:, [n for n, feature in enumerate(self._feature_of) if feature < 0]] = missing
        return columns

    def _seen(self, event: _Events, timed: event_time.TimedEvent) -> inputs.Seen:
        """Sources of the model's inputs: values and steps in its own scale, times and gaps."""
        spec, mean, deviation = self.model.spec, event.scale.mean, event.deviation
        if spec.scaling == "fixed":
            mean, deviation = np.array(spec.mean), np.array(spec.deviation)
        value, step = (event.values - mean) / deviation, (event.values - event.last) / deviation
        return inputs.Seen(value, step, event.times, event.seq, timed.after.usual_gap, timed.gap)

    def _run_cell(self, rows: NDArray[np.intp], seen: inputs.Seen) -> Doubles:
        """Push the events through every layer's cell; returns the readout's outputs, (B, O)."""
        spec = self.model.spec
        events = _tiled(inputs.make(spec.inputs, seen, spec.scaling))
        ltms, stms = self.memories.ltm, self.memories.stm
        for layer, weights in enumerate(self.model.layers):
            ltm, stm = _tiled(ltms[rows, layer]), _tiled(stms[rows, layer])
            for start in range(0, len(ltm), TILES_AT_ONCE):
                some = slice(start, start + TILES_AT_ONCE)
                ltm[some], stm[some] = cell.step(cell.Memory(ltm[some], stm[some]), events[some], weights)
            ltms[rows, layer], stms[rows, layer] = ltm.reshape(len(rows), -1), stm.reshape(len(rows), -1)
            events = stm
        outputs = events @ self.model.readout.weight + self.model.readout.bias
        return outputs.reshape(len(rows), -1).astype(np.float64)

    def _read_out(self, outputs: Doubles, event: _Events) -> tuple[readout.Forecast, Doubles]:
        """The model's forecast, (B, K, T), and its probabilities, (B, C); one of them is empty."""
        spec = self.model.spec
        if spec.readout == "step":
            return readout.step(outputs, event.values, event.deviation), np.empty((len(outputs), 0))
        if spec.readout == "value":
            forecast = readout.value(outputs, spec, event.scale, self._feature_of)
            return forecast, np.empty((len(outputs), 0))
        nothing = np.empty((len(outputs), 1, 0))
        return readout.Forecast(nothing, nothing), readout.probabilities(outputs)

    def _combine(
        self, before: Columns, after: Columns, event: _Events, target: _Targets, model: readout.Forecast
    ) -> tuple[Doubles, Doubles]:
        """The experts' combined forecast, (B, K, T), and the model's weight in it, (B, T).

        Updates the columns of the experts in `after`.
        """
        if self.model.spec.readout != "step":  # there are no other experts
            after |= {name: before[name] for name in (*Experts._fields, *DayScale._fields)}
            return model.expected, np.ones_like(model.expected[:, 0])
        known, values, deviation = Experts(*pick(before, Experts)), target.values, target.deviation
        error = experts.errors(known, values, before["value"], target.deviation_before, deviation)
        advantage = experts.update(
            np.array([known.model_advantage, known.seasonal_advantage]),
            error,
            target.step,
            after["naive_mae"],
            event.seq,
        )
        weight = experts.weights(advantage)
        day_scale, seasonal_step = seasonal.update(
            DayScale(*pick(before, DayScale)),
            DayProfiles(self.memories.day, event.rows, event.frozen),
            Scale(after["mean"], deviation),
            before["value"],
            before["time"],
            after["time"],
            np.exp(after["usual_gap"] * LOG_10),
            event.seq,
        )
        model_step = (model.expected[:, 0] - values) / deviation
        after |= Experts(model_step, seasonal_step / deviation, *advantage)._asdict()
        after |= day_scale._asdict()
        return experts.combine(weight, values, model.expected, seasonal_step), weight[0]

    def _write(
        self, rows: NDArray[np.intp], heads: NDArray[np.void], seq: NDArray[np.int64], after: Columns
    ) -> None:
        """Write the records back, without those that filled up the last tile."""
        heads["seq"] = seq
        self.memories.pack(heads, after)
        self.memories.put(rows, heads[: len(rows)])


def _events(tiles: Batch, seq: NDArray[np.int64], before: Columns) -> _Events:
    """The events of whole tiles beside their streams' records."""
    uncertain = tiles.marks & CLOCK_BITS == UNCERTAIN
    frozen = (tiles.marks & FROZEN != 0) & (seq > FROZEN_EVENTS_MIN)
    known = Scale(*pick(before, Scale))
    scaled = scale.update(known, tiles.values, seq)
    if np.count_nonzero(frozen):
        scaled = Scale(*(np.where(frozen[:, None], *pair) for pair in zip(known, scaled, strict=True)))
    return _Events(
        rows=tiles.streams,
        times=tiles.times,
        values=tiles.values,
        last=np.where((seq == 1)[:, None], tiles.values, before["value"]),
        seq=seq,
        uncertain=uncertain,
        unscored=uncertain & (seq > 1),
        frozen=frozen,
        scale=scaled,
        deviation=scaled.deviation(),
    )


def _kept(before: Columns, after: Columns, event: _Events) -> Columns:
    """The columns after the events, with those as before that the events must not change."""
    for where, names in ((event.unscored, AnomalyState._fields), (event.frozen, FROZEN_COLUMNS)):
        if np.count_nonzero(where):
            for name in names:
                column = after[name]
                after[name] = np.where(where.reshape(-1, *[1] * (column.ndim - 1)), before[name], column)
    return after


def _whole_tiles(batch: Batch) -> Batch:
    """The batch, filled up with copies of its first event to a whole number of tiles."""
    count = len(batch.streams)
    size = -(-count // cell.TILE_ROWS) * cell.TILE_ROWS
    if size == count:
        return batch
    index = np.zeros(size, np.intp)
    index[:count] = np.arange(count)
    return batch.select(index)


def _tiled(columns: cell.Floats) -> cell.Floats:
    """(B, n) as tiles (T, R, n), contiguous: numpy may compute a strided array in another way."""
    return np.ascontiguousarray(columns).reshape(-1, cell.TILE_ROWS, columns.shape[-1])
