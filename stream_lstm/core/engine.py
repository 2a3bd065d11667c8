"""The engine: the one place that changes memory.

`Engine.apply` pushes a batch of events through scaling, gates, readout and score. It is a function of
(memory, batch): same in, same bits out, whoever shares the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core import cell, inputs, oddity, readout, scaling, score, trust
from stream_lstm.core.batch import Batch, parts
from stream_lstm.core.memory import NOBODY, Memories
from stream_lstm.core.model import Model
from stream_lstm.core.scaling import Doubles, Scale

EVENT_MAX = 1e100  # larger numbers are refused before they get here: their squares would overflow


class Predictions(NamedTuple):
    """What comes out for a batch of B events, T targets, C labels; NaN where there is nothing to say."""

    seq: NDArray[np.int64]  # (B,) which event of its stream each is, from 1
    expected: Doubles  # (B, T) what was predicted for it one event ago
    anomaly: Doubles  # (B,) how odd it was, 0 to 1
    kind: NDArray[np.int8]  # (B,) why, see `oddity.KINDS`
    told: Doubles  # (B,) the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # (B,) an incident begins with it
    prediction: Doubles  # (B, T) for the next event
    reach: Doubles  # (B, T) half the width of the interval around it
    trust: Doubles  # (B, T) the model's share in it; the rest is "same as last time"
    probabilities: Doubles  # (B, C) of a classifying model, else (B, 0)
    error: Doubles  # (B, T) |value - expected|, in deviations
    persistence: Doubles  # (B, T) the error of "same as last time", in deviations
    missed: NDArray[np.bool_]  # (B, T) the event lay outside the interval
    late: NDArray[np.bool_]  # (B,) the event is older than the last of its stream


class Engine:
    """Applies batches of events to memories.

    Args:
        model: what pushes the memories on.
        memories: rows of the type that the model needs; nobody else may write them.
    """

    def __init__(self, model: Model, memories: Memories) -> None:
        self.model = model
        self.memories = memories
        described = model.description
        known = {name: n for n, name in enumerate(described.features)}
        # A target that no event carries can be predicted, but never checked: its column stays NaN.
        self._feature_of = [known.get(name, -1) for name in described.targets]

    def run(
        self, rows: NDArray[np.intp], times: NDArray[np.float64], values: NDArray[np.float64]
    ) -> Predictions:
        """Apply events in order of arrival, N of them, any stream any number of times.

        Args:
            rows: (N,) the streams' rows in memory.
            times: (N,) epoch seconds.
            values: (N, F) within ±`EVENT_MAX`.

        Returns:
            N predictions, in the same order.
        """
        pieces = list(parts(rows))
        done = [self.apply(Batch(rows[piece], times[piece], values[piece])) for piece in pieces]
        if not done:
            return self._nothing()
        if len(done) == 1:
            return done[0]
        order = np.argsort(np.concatenate(pieces))
        return Predictions._make(np.concatenate(column)[order] for column in zip(*done, strict=True))

    def apply(self, batch: Batch) -> Predictions:
        """Push each stream's memory on by one event; returns a prediction an event."""
        count = len(batch.rows)
        rows, times, values = _whole_tiles(batch)
        memory = self.memories.take(rows)
        seq = memory["seq"] + 1
        first = (seq == 1)[:, None]
        last = np.where(first, values, memory["value"])
        scale = scaling.follow(Scale(memory["mean"], memory["variance"]), values, seq)
        deviation = self._of_targets(scale.deviation(), missing=1.0)

        judged = score.judge(
            score.Forecast(memory["expected"], memory["spread"], memory["reach"]),
            memory["width"],
            self._of_targets(values, missing=np.nan),
            deviation,
            seq,
        )
        odd = self._look(memory, judged, values, last, deviation, np.maximum(times, memory["time"]))
        events = self._events(values, last, scale, times, seq)
        outlook, odds = self._outlook(self._step(memory, events), values, scale)
        prediction, share = self._rely(memory, outlook, values, last, deviation)
        reach = judged.width * outlook.spread * deviation
        said = Predictions(
            seq=seq,
            expected=np.where(first, np.nan, memory["expected"]),
            anomaly=odd.anomaly,
            kind=odd.kind,
            told=odd.told,
            alert=odd.alert,
            prediction=prediction,
            trust=share,
            reach=np.where(first, np.nan, reach),
            probabilities=odds,
            error=judged.error / deviation,
            persistence=np.where(
                first, np.nan, np.abs(self._of_targets(values - last, missing=np.nan)) / deviation
            ),
            missed=judged.missed,
            late=times < memory["time"],
        )

        memory["seq"], memory["time"] = seq, np.maximum(memory["time"], times)
        memory["value"], memory["mean"], memory["variance"] = values, scale.mean, scale.variance
        memory["expected"], memory["spread"], memory["reach"] = prediction, outlook.spread, reach
        memory["width"] = judged.width
        self.memories.put(batch.rows, memory[:count])
        return Predictions._make(column[:count] for column in said)

    def _look(
        self,
        memory: NDArray[np.void],
        judged: score.Judgement,
        values: Doubles,
        last: Doubles,
        deviation: Doubles,
        time: Doubles,
    ) -> oddity.Oddity:
        """How odd the events are; their streams' past is taken on, in place."""
        event = oddity.Event(
            values=self._of_targets(values, missing=np.nan),
            last=self._of_targets(last, missing=np.nan),
            error=np.minimum(np.nan_to_num(judged.error) / deviation, score.SURPRISE_MAX),
            surprise=judged.surprise,
            seq=memory["seq"] + 1,
            time=time,
            time_before=memory["time"],
        )
        odd, past = oddity.look(oddity.Past(*(memory[name] for name in oddity.Past._fields)), event)
        for name, column in past._asdict().items():
            memory[name] = column
        return odd

    def _rely(
        self,
        memory: NDArray[np.void],
        outlook: readout.Outlook,
        values: Doubles,
        last: Doubles,
        deviation: Doubles,
    ) -> tuple[Doubles, Doubles]:
        """What is predicted, and the model's share in it; what it rests on is taken on, in place."""
        if self.model.description.readout != "step":
            return outlook.expected, np.ones_like(outlook.expected)
        error, step = np.abs(values - memory["modelled"]) / deviation, np.abs(values - last) / deviation
        relied = trust.follow(trust.Trust(memory["lead"], memory["move"]), error, step, memory["seq"] + 1)
        memory["modelled"], memory["lead"], memory["move"] = outlook.expected, *relied
        share = relied.weight()
        return values + share * (outlook.expected - values), share

    def _events(
        self, values: Doubles, last: Doubles, scale: Scale, times: Doubles, seq: NDArray[np.int64]
    ) -> cell.Floats:
        """What enters the cell, (T, R, F)."""
        described = self.model.description
        if described.scaling == "running":
            mean, deviation = scale.mean, scale.deviation()
        else:
            mean, deviation = np.array(described.mean), np.array(described.deviation)
        seen = inputs.Seen((values - mean) / deviation, (values - last) / deviation, times, seq)
        return _tiled(inputs.make(described.inputs, seen, described.scaling))

    def _step(self, memory: NDArray[np.void], events: cell.Floats) -> Doubles:
        """Push the memories through every layer, in place; returns the readout's outputs (B, O)."""
        for layer, weights in enumerate(self.model.layers):
            before = cell.Memory(_tiled(memory["ltm"][:, layer]), _tiled(memory["stm"][:, layer]))
            after = cell.step(before, events, weights)
            memory["ltm"][:, layer] = after.ltm.reshape(len(memory), -1)
            memory["stm"][:, layer] = after.stm.reshape(len(memory), -1)
            events = after.stm
        outputs = events @ self.model.readout.weight + self.model.readout.bias
        return outputs.reshape(len(memory), -1).astype(np.float64)

    def _outlook(self, outputs: Doubles, values: Doubles, scale: Scale) -> tuple[readout.Outlook, Doubles]:
        """What the outputs say about the next event."""
        described = self.model.description
        if described.readout == "step":
            return readout.step(outputs, values, scale), np.empty((len(outputs), 0))
        if described.readout == "value":
            return readout.value(outputs, described, scale, self._feature_of), np.empty((len(outputs), 0))
        nothing = np.empty((len(outputs), 0))
        return readout.Outlook(nothing, nothing), readout.probabilities(outputs)

    def _of_targets(self, by_feature: Doubles, *, missing: float) -> Doubles:
        """Columns of the targets, (B, T), out of columns of the features, (B, F)."""
        columns = by_feature[:, self._feature_of]
        columns[:, [n for n, feature in enumerate(self._feature_of) if feature < 0]] = missing
        return columns

    def _nothing(self) -> Predictions:
        """No predictions, in columns of the right types and widths."""
        described = self.model.description
        targets, labels = np.empty((0, len(described.targets))), np.empty((0, len(described.labels)))
        flags = np.empty((0, len(described.targets)), np.bool_)
        return Predictions(
            seq=np.empty(0, np.int64),
            expected=targets,
            anomaly=np.empty(0),
            kind=np.empty(0, np.int8),
            told=np.empty(0),
            alert=np.empty(0, np.bool_),
            prediction=targets,
            trust=targets,
            reach=targets,
            probabilities=labels,
            error=targets,
            persistence=targets,
            missed=flags,
            late=np.empty(0, np.bool_),
        )


def _whole_tiles(batch: Batch) -> Batch:
    """The batch, filled up with nobody's row to a whole number of tiles."""
    count = len(batch.rows)
    size = -(-count // cell.TILE_ROWS) * cell.TILE_ROWS
    if size == count:
        return batch
    rows = np.full(size, NOBODY, np.intp)
    times = np.zeros(size)
    values = np.zeros((size, batch.values.shape[1]))
    rows[:count], times[:count], values[:count] = batch
    return Batch(rows, times, values)


def _tiled(columns: cell.Floats) -> cell.Floats:
    """(B, n) as tiles (T, R, n), contiguous: a strided array may take another path through numpy."""
    return np.ascontiguousarray(columns).reshape(-1, cell.TILE_ROWS, columns.shape[-1])
