"""The engine: the one place that changes memory.

`Engine.apply` pushes a batch of events through scaling, gates, readout and score. It is a function of
(memory, batch): same in, same bits out, whoever shares the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core import cell, inputs, oddity, pace, readout, scaling, score, skill, trust
from stream_lstm.core.batch import Batch, parts
from stream_lstm.core.memory import NOBODY, Memories
from stream_lstm.core.model import Model
from stream_lstm.core.scaling import Doubles, Scale
from stream_lstm.events import CLOCK_BITS, FROZEN, Clock

EVENT_MAX = 1e100  # larger numbers are refused before they get here: their squares would overflow


# What "normal" is made of: a frozen stream keeps it as it was, while its memory goes on.
LEARNT = (
    *("usual", "mean", "variance", "lead", *skill.Skill._fields, "width"),
    *("tail", "shape", "excesses", "lowest", "highest", "records"),
    *("near_lowest", "near_highest", "near_records", "run_longest", "hour_worst", "routine"),
)
FROZEN_EVENTS_MIN = 20  # a younger stream has nothing to keep


class Predictions(NamedTuple):
    """What comes out for B events, T targets, K steps ahead, C labels; NaN where there is nothing to say."""

    seq: NDArray[np.int64]  # (B,) which event of its stream each is, from 1
    expected: Doubles  # (B, T) what was predicted for it one event ago
    anomaly: Doubles  # (B,) how odd it was, 0 to 1; NaN where nobody knows when it was
    kind: NDArray[np.int8]  # (B,) why, see `oddity.KINDS`
    told: Doubles  # (B,) the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # (B,) an incident begins with it
    forecast: Doubles  # (B, K, T) for the next event, and further ahead
    reach: Doubles  # (B, K, T) half the width of the interval around it
    trust: Doubles  # (B, T) the model's share in it; the rest is "same as last time"
    probabilities: Doubles  # (B, C) of a classifying model, else (B, 0)
    error: Doubles  # (B, T) |value - expected|, in deviations
    persistence: Doubles  # (B, T) the error of "same as last time", in deviations
    missed: NDArray[np.bool_]  # (B, T) the event lay outside the interval
    skill: Doubles  # (B, T) mean error by that of "same as last time", of late
    covered: Doubles  # (B, T) share of values inside their interval, of late
    late: NDArray[np.bool_]  # (B,) the event is older than the last of its stream

    @property
    def prediction(self) -> Doubles:
        """(B, T) for the next event."""
        return self.forecast[:, 0]


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
        self,
        rows: NDArray[np.intp],
        times: NDArray[np.float64],
        values: NDArray[np.float64],
        marks: NDArray[np.uint8] | None = None,
    ) -> Predictions:
        """Apply events in order of arrival, N of them, any stream any number of times.

        Args:
            rows: (N,) the streams' rows in memory.
            times: (N,) epoch seconds.
            values: (N, F) within ±`EVENT_MAX`.
            marks: (N,) see `stream_lstm.events`; without them, times are the events' own.

        Returns:
            N predictions, in the same order.
        """
        if marks is None:
            marks = np.zeros(len(rows), np.uint8)
        pieces = list(parts(rows))
        done = [self.apply(Batch(rows[p], times[p], values[p], marks[p])) for p in pieces]
        if not done:
            return self._nothing()
        if len(done) == 1:
            return done[0]
        order = np.argsort(np.concatenate(pieces))
        return Predictions._make(np.concatenate(column)[order] for column in zip(*done, strict=True))

    def apply(self, batch: Batch) -> Predictions:
        """Push each stream's memory on by one event; returns a prediction an event."""
        count = len(batch.rows)
        rows, times, values, marks = _whole_tiles(batch)
        memory = self.memories.take(rows)
        before = memory.copy()
        seq = memory["seq"] + 1
        uncertain = marks & CLOCK_BITS == Clock.UNCERTAIN
        frozen = (marks & FROZEN != 0) & (seq > FROZEN_EVENTS_MIN)
        first = (seq == 1)[:, None]
        last = np.where(first, values, memory["value"])
        scale = self._scale(memory, values, seq, frozen)
        deviation = self._of_targets(scale.deviation(), missing=1.0)
        timed = pace.follow(pace.Pace(*(memory[f] for f in pace.Pace._fields)), times, seq, uncertain)

        judged = score.judge(
            score.Forecast(memory["expected"], memory["spread"], memory["reach"]),
            memory["width"],
            self._of_targets(values, missing=np.nan),
            deviation,
            seq,
        )
        error = judged.error / deviation
        step = np.abs(self._of_targets(values - last, missing=np.nan)) / deviation
        odd = self._look(memory, judged, values, last, deviation, timed.after.time)
        skilled = skill.follow(
            skill.Skill(*(memory[f] for f in skill.Skill._fields)), error, step, judged.missed, seq
        )

        seen = inputs.Seen(*self._scaled(values, last, scale), times, seq, timed.after.usual, timed.gap)
        outlook, odds = self._outlook(self._step(memory, seen), values, scale)
        forecast, share = self._rely(memory, outlook, values, deviation, step, skilled.moved)
        reach = (judged.width * deviation)[:, None] * outlook.spread
        said = Predictions(
            seq=seq,
            expected=np.where(first, np.nan, memory["expected"]),
            anomaly=np.where(uncertain, np.nan, odd.anomaly),
            kind=odd.kind,
            told=np.where(uncertain, 0.0, odd.told),
            alert=odd.alert & ~uncertain,
            forecast=forecast,
            trust=share,
            reach=np.where(first[:, None], np.nan, reach),
            probabilities=odds,
            error=error,
            persistence=np.where(first, np.nan, step),
            missed=judged.missed,
            skill=skilled.ratio(),
            covered=np.where(first, np.nan, skilled.covered),
            late=timed.late,
        )

        memory["seq"], memory["value"], memory["mean"], memory["variance"] = seq, values, *scale
        memory["time"], memory["usual"], memory["behind"] = timed.after
        memory["erred"], memory["moved"], memory["covered"] = skilled
        memory["expected"], memory["spread"], memory["reach"] = (
            forecast[:, 0],
            outlook.spread[:, 0],
            reach[:, 0],
        )
        memory["width"] = judged.width
        _keep(memory, before, uncertain & (seq > 1), oddity.Past._fields)
        _keep(memory, before, frozen, LEARNT)
        self.memories.put(batch.rows, memory[:count])
        return Predictions._make(column[:count] for column in said)

    def _scale(
        self, memory: NDArray[np.void], values: Doubles, seq: NDArray[np.int64], frozen: NDArray[np.bool_]
    ) -> Scale:
        """The streams' scales with these events, or as they were frozen."""
        before = Scale(memory["mean"], memory["variance"])
        after = scaling.follow(before, values, seq)
        if not frozen.any():
            return after
        return Scale(*(np.where(frozen[:, None], old, new) for old, new in zip(before, after, strict=True)))

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
        deviation: Doubles,
        step: Doubles,
        moved: Doubles,
    ) -> tuple[Doubles, Doubles]:
        """What is predicted, and the model's share in it; what it rests on is taken on, in place."""
        if self.model.description.readout != "step":
            return outlook.expected, np.ones_like(outlook.expected[:, 0])
        error = np.abs(values - memory["modelled"]) / deviation
        lead = trust.follow(memory["lead"], error, step, moved, memory["seq"] + 1)
        memory["modelled"], memory["lead"] = outlook.expected[:, 0], lead
        share = trust.weight(lead)
        return values[:, None] + share[:, None] * (outlook.expected - values[:, None]), share

    def _scaled(self, values: Doubles, last: Doubles, scale: Scale) -> tuple[Doubles, Doubles]:
        """Values and steps as the model wants them."""
        described = self.model.description
        if described.scaling == "running":
            mean, deviation = scale.mean, scale.deviation()
        else:
            mean, deviation = np.array(described.mean), np.array(described.deviation)
        return (values - mean) / deviation, (values - last) / deviation

    def _step(self, memory: NDArray[np.void], seen: inputs.Seen) -> Doubles:
        """Push the memories through every layer, in place; returns the readout's outputs (B, O)."""
        described = self.model.description
        events = _tiled(inputs.make(described.inputs, seen, described.scaling))
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
        nothing = np.empty((len(outputs), 1, 0))
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
        ahead = np.empty((0, len(described.horizon), len(described.targets)))
        flags = np.empty((0, len(described.targets)), np.bool_)
        return Predictions(
            seq=np.empty(0, np.int64),
            expected=targets,
            anomaly=np.empty(0),
            kind=np.empty(0, np.int8),
            told=np.empty(0),
            alert=np.empty(0, np.bool_),
            forecast=ahead,
            trust=targets,
            reach=ahead,
            probabilities=labels,
            error=targets,
            persistence=targets,
            missed=flags,
            skill=targets,
            covered=targets,
            late=np.empty(0, np.bool_),
        )


def _keep(
    memory: NDArray[np.void], before: NDArray[np.void], where: NDArray[np.bool_], fields: Sequence[str]
) -> None:
    """Put back what these fields held before, in some rows."""
    if where.any():
        for name in fields:
            memory[name][where] = before[name][where]


def _whole_tiles(batch: Batch) -> Batch:
    """The batch, filled up with nobody's row to a whole number of tiles."""
    count = len(batch.rows)
    size = -(-count // cell.TILE_ROWS) * cell.TILE_ROWS
    if size == count:
        return batch
    rows = np.full(size, NOBODY, np.intp)
    times = np.zeros(size)
    values, marks = np.zeros((size, batch.values.shape[1])), np.zeros(size, np.uint8)
    rows[:count], times[:count], values[:count], marks[:count] = batch
    return Batch(rows, times, values, marks)


def _tiled(columns: cell.Floats) -> cell.Floats:
    """(B, n) as tiles (T, R, n), contiguous: a strided array may take another path through numpy."""
    return np.ascontiguousarray(columns).reshape(-1, cell.TILE_ROWS, columns.shape[-1])
