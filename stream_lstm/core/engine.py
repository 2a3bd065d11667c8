"""The engine: the one place that changes memory.

`Engine.apply` pushes a batch of events through scaling, gates, readout and score. It is a function of
(memory, batch): same in, same bits out, whoever shares the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.batch import parts
from stream_lstm.core.memory import Columns, Memories
from stream_lstm.core.model import cell, inputs, readout
from stream_lstm.core.model.file import Model
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers import accuracy, anomaly, event_time, experts, interval, scale, seasonal
from stream_lstm.core.trackers.scale import Doubles, Scale
from stream_lstm.events import CLOCK_BITS, FROZEN, Batch, Clock

# What "normal" is made of: a frozen stream keeps it as it was, while its memory goes on.
LEARNT = (
    *("usual", "mean", "variance", "lead", "lead_repeated", *accuracy.Accuracy._fields, "width"),
    *seasonal.DayScale._fields,
    *("tail", "shape", "excesses", "lowest", "highest", "records"),
    *("near_lowest", "near_highest", "near_records", "run_longest", "hour_worst"),
)
TILES_AT_ONCE = 32  # measured: what the gates need of more no longer fits the cache
LOG_10 = np.log(10.0)
UNCERTAIN = int(Clock.UNCERTAIN)  # plain: an enum takes its time in a comparison
LEAST = 1e-12  # of shares, so that nothing is divided by zero
FROZEN_EVENTS_MIN = 20  # a younger stream has nothing to keep


class Deviation(NamedTuple):
    """Of the targets, (B, T) each: with the events, and before them."""

    now: Doubles
    then: Doubles


class Engine:
    """Applies batches of events to memories.

    Args:
        model: what pushes the memories on.
        memories: rows of the type that the model needs; nobody else may write them.
        interval: share of values that are to lie inside their interval.
    """

    def __init__(self, model: Model, memories: Memories, *, interval: float = interval.INTERVAL) -> None:
        self.model = model
        self._interval = interval
        self.memories = memories
        described = model.spec
        known = {name: n for n, name in enumerate(described.features)}
        # A target that no event carries can be predicted, but never checked: its column stays NaN.
        self._feature_of = [known.get(name, -1) for name in described.targets]
        self._same = described.targets == described.features

    def apply(self, batch: Batch) -> Predictions:
        """Apply events in order of arrival, any stream any number of times.

        Args:
            batch: its streams are rows in memory.

        Returns:
            A prediction an event, in the same order.
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
        """`apply` for a batch in which no stream occurs twice."""
        count = len(batch.streams)
        rows, times, marks, values = _whole_tiles(batch)
        heads = self.memories.take(rows)
        before = self.memories.unpack(heads)
        seq = heads["seq"] + 1
        first = (seq == 1)[:, None]
        uncertain, frozen = marks & CLOCK_BITS == UNCERTAIN, (marks & FROZEN != 0) & (seq > FROZEN_EVENTS_MIN)
        doubtful = uncertain & (seq > 1)
        last = np.where(first, values, before["value"])
        scale = _scale(before, values, seq, frozen)
        each = scale.deviation()
        deviation = self._of_targets(each, missing=1.0)
        timed = event_time.update(
            event_time.EventTime(*_some(before, event_time.EventTime)), times, seq, uncertain
        )
        seen, was = (self._of_targets(column, missing=np.nan) for column in (values, last))
        step = np.abs(seen - was) / deviation
        then, forecast = self.forecast(before)
        judged = interval.update(forecast, before["width"], seen, deviation, seq, self._interval)
        error = judged.error / deviation
        skilled = accuracy.update(
            accuracy.Accuracy(*_some(before, accuracy.Accuracy)), error, step, judged.missed, seq
        )
        event = anomaly.Observed(seen, was, error, judged.surprise, seq, timed.after.time, before["time"])
        routine = anomaly.HourlyErrors(self.memories.routine, rows, frozen | doubtful)
        odd, past = anomaly.update(anomaly.AnomalyState(*_some(before, anomaly.AnomalyState)), routine, event)
        scaled = self._scaled(values, last, scale.mean, each)
        entering = inputs.Seen(*scaled, times, seq, timed.after.usual, timed.gap)
        outlook, odds = self._outlook(self._step(rows, entering), values, scale, each)
        after: Columns = {"value": values, "width": judged.width}
        for part in (timed.after, skilled, past, scale):
            after |= part._asdict()
        days = seasonal.DayProfiles(self.memories.day, rows, frozen)
        expected, share = self._rely(before, after, days, outlook, seq, Deviation(deviation, then), step)
        half_width = (judged.width * deviation)[:, None] * outlook.spread
        after |= {"expected": expected[:, 0], "spread": outlook.spread[:, 0]}
        _keep(after, before, doubtful, anomaly.AnomalyState._fields)
        _keep(after, before, frozen, LEARNT)
        self._remember(batch.streams, heads, seq, after)
        said = Predictions(
            seq=seq,
            expected=before["expected"],
            anomaly=np.where(uncertain, np.nan, odd.anomaly),
            kind=odd.kind,
            incident_score=np.where(uncertain, 0.0, odd.incident_score),
            alert=odd.alert & ~uncertain,
            forecast=expected,
            trust=share,
            half_width=half_width,
            probabilities=odds,
            error=error,
            persistence=step,
            missed=judged.missed,
            relative_mae=skilled.ratio(),
            covered=skilled.covered,
            late=timed.late,
        )
        if np.count_nonzero(first):
            said = said.begun(first)
        return said if len(rows) == count else Predictions._make(column[:count] for column in said)

    def forecast(self, before: Columns) -> tuple[Doubles, interval.LastForecast]:
        """The targets' deviation when the last prediction was made, and what it said; of unpacked heads."""
        then = self._of_targets(Scale(before["mean"], before["variance"]).deviation(), missing=1.0)
        half_width = before["width"] * then * before["spread"]
        return then, interval.LastForecast(before["expected"], before["spread"], half_width)

    def _remember(
        self, rows: NDArray[np.intp], heads: NDArray[np.void], seq: NDArray[np.int64], after: Columns
    ) -> None:
        """Put everything back; what filled up the last tile is dropped."""
        heads["seq"] = seq
        self.memories.pack(heads, after)
        self.memories.put(rows, heads[: len(rows)])

    def _rely(
        self,
        before: Columns,
        after: Columns,
        days: seasonal.DayProfiles,
        outlook: readout.Forecast,
        seq: NDArray[np.int64],
        deviation: Deviation,
        step: Doubles,
    ) -> tuple[Doubles, Doubles]:
        """What is predicted, (B, K, T), and the model's share in it; what it rests on is added to `after`."""
        if self.model.spec.readout != "step":
            unused = ("model_step", "repeated_step", "lead", "lead_repeated", *seasonal.DayScale._fields)
            after |= {name: before[name] for name in unused}
            return outlook.expected, np.ones_like(outlook.expected[:, 0])
        values, moved = after["value"], after["moved"]
        steps = np.array([before["model_step"], before["repeated_step"]]) * deviation.then
        error = np.abs(values - before["value"] - steps) / deviation.now
        leads = np.array([before["lead"], before["lead_repeated"]])
        after["lead"], after["lead_repeated"] = leads = experts.update(leads, error, step, moved, seq)
        model, repeated = experts.weights(leads)
        again = self._again(before, after, days, seq, deviation.now)
        after["model_step"] = (outlook.expected[:, 0] - values) / deviation.now
        after["repeated_step"] = again / deviation.now
        share = model / np.maximum(1.0 - repeated, LEAST)  # further ahead, yesterday is not asked
        expected = values[:, None] + share[:, None] * (outlook.expected - values[:, None])
        expected[:, 0] = values + model * (outlook.expected[:, 0] - values) + repeated * again
        return expected, model

    def _again(
        self,
        before: Columns,
        after: Columns,
        days: seasonal.DayProfiles,
        seq: NDArray[np.int64],
        deviation: Doubles,
    ) -> Doubles:
        """The step to the next event that was made a day ago."""
        scaled, step = seasonal.update(
            seasonal.DayScale(*_some(before, seasonal.DayScale)),
            days,
            Scale(after["mean"], deviation),
            before["value"],
            before["time"],
            after["time"],
            np.exp(after["usual"] * LOG_10),
            seq,
        )
        after |= scaled._asdict()
        return step

    def _scaled(
        self, values: Doubles, last: Doubles, mean: Doubles, deviation: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Values and steps as the model wants them."""
        described = self.model.spec
        if described.scaling == "fixed":
            mean, deviation = np.array(described.mean), np.array(described.deviation)
        return (values - mean) / deviation, (values - last) / deviation

    def _step(self, rows: NDArray[np.intp], seen: inputs.Seen) -> Doubles:
        """Push the memories of rows through every layer; returns the readout's outputs (B, O)."""
        described = self.model.spec
        events = _tiled(inputs.make(described.inputs, seen, described.scaling))
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

    def _outlook(
        self, outputs: Doubles, values: Doubles, scale: Scale, deviation: Doubles
    ) -> tuple[readout.Forecast, Doubles]:
        """What the outputs say about the next event."""
        described = self.model.spec
        if described.readout == "step":
            return readout.step(outputs, values, deviation), np.empty((len(outputs), 0))
        if described.readout == "value":
            return readout.value(outputs, described, scale, self._feature_of), np.empty((len(outputs), 0))
        nothing = np.empty((len(outputs), 1, 0))
        return readout.Forecast(nothing, nothing), readout.probabilities(outputs)

    def _of_targets(self, by_feature: Doubles, *, missing: float) -> Doubles:
        """Columns of the targets, (B, T), out of columns of the features, (B, F)."""
        if self._same:
            return by_feature
        columns = by_feature[:, self._feature_of]
        columns[:, [n for n, feature in enumerate(self._feature_of) if feature < 0]] = missing
        return columns


def _some(columns: Columns, fields: type[NamedTuple]) -> list[NDArray[Any]]:
    return [columns[name] for name in fields._fields]


def _scale(before: Columns, values: Doubles, seq: NDArray[np.int64], frozen: NDArray[np.bool_]) -> Scale:
    """The streams' scales with these events, or as they were frozen."""
    old = Scale(before["mean"], before["variance"])
    new = scale.update(old, values, seq)
    if not np.count_nonzero(frozen):
        return new
    return Scale(*(np.where(frozen[:, None], *pair) for pair in zip(old, new, strict=True)))


def _keep(after: Columns, before: Columns, where: NDArray[np.bool_], fields: Sequence[str]) -> None:
    """Put back what these columns held before, in some rows."""
    if np.count_nonzero(where):
        for name in fields:
            column = after[name]
            after[name] = np.where(where.reshape(-1, *[1] * (column.ndim - 1)), before[name], column)


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
    """(B, n) as tiles (T, R, n), contiguous: a strided array may take another path through numpy."""
    return np.ascontiguousarray(columns).reshape(-1, cell.TILE_ROWS, columns.shape[-1])
