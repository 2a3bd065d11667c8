"""StreamDetail: one stream's state, its last events, and a trace of its gates.

The trace of the gates is recomputed from a keyframe, a record that the history keeps, and the events after it
(`stream_lstm.core.views.gate_trace`); for the live feed, from the record at which the last trace ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.encoder import CLOCKS
from stream_lstm.core.codec.naming import Naming
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import input_names
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.core.views import gate_trace
from stream_lstm.core.views.history import KEYFRAME_EVENTS, Keyframe
from stream_lstm.core.views.summary import summarize
from stream_lstm.events import CLOCK_BITS, FROZEN, Batch
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.state.registry import Registry

EVENTS_MAX = 2_000  # an answer; more than a chart has pixels
INSIDES_MAX = 256  # an answer; each has six numbers a unit, and costs an engine step
EVENT_NUMBERS_MAX = 100_000  # an answer, 2 MB of JSON at most: fewer events of many features
INSIDE_NUMBERS_MAX = 300_000  # an answer, likewise at three digits each: fewer events of a wide layer
DIGITS = 3  # of shares, anomalies and gates, after the point: more than a chart shows
FETCH_SECONDS = 5e-4  # charged for a read from disk, which the thread of the commits does
ROWS_PER_UNIT = 6  # numbers a unit has for each event: four gates, LTM and STM
NAME_SHOWN_MAX = 200  # characters of a stream's name that an error repeats; names may be much longer
NAN = float("nan")


class UnknownStream(Exception):
    """The stream does not exist.

    Args:
        name: that was asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"stream {name[:NAME_SHOWN_MAX]!r} does not exist")


class TraceAnswer(NamedTuple):
    """The gates at a stream's last events.

    Attributes:
        forecast: after the last event; empty if a newer one has come.
        end: the record after the last event, where the next trace can begin; None if a newer one has come.
    """

    insides: list[schemas.Inside]
    forecast: list[schemas.Ahead]
    end: Keyframe | None


class FoundStream(NamedTuple):
    """A stream, and where its state is: a row of the service's own memories, or of a copy read from disk.

    Attributes:
        stream: its number.
        seen: arrival of its last event, epoch seconds.
    """

    name: str
    stream: int
    where: Literal["memory", "disk"]
    engine: Engine
    registry: Registry
    row: int
    seen: float


class StreamDetail:
    """Answers questions about single streams."""

    def __init__(self, context: HttpContext, budget: CpuBudget) -> None:
        self._context = context
        self._budget = budget
        self._spec = context.engine.model.spec
        self._naming = Naming(self._spec)
        # A stream before its first event.
        self._empty = Keyframe(0, bytes(context.engine.memories.record_bytes))
        numbers = len(self._spec.features) + 6 * len(self._spec.targets)
        self._events_max = max(EVENT_NUMBERS_MAX // (numbers + len(self._spec.labels)), 1)

    @property
    def _interval(self) -> float:
        return self._context.settings.model.interval

    async def find(self, name: str) -> FoundStream:
        """Find a stream by name, in memory or on disk.

        Raises:
            UnknownStream: it does not exist.
        """
        engine = self._context.engine
        (row,) = engine.memories.rows([name])
        if row is not None:
            stream, registry = int(engine.memories.ids[row]), self._context.registry
            return FoundStream(name, stream, "memory", engine, registry, row, float(registry.seen[row]))
        if not self._context.gauges().streams_on_disk:
            raise UnknownStream(name)
        self._budget.spend(FETCH_SECONDS)
        rows = await self._context.state_writer.fetch([name])
        if not rows.keys:
            raise UnknownStream(name)
        copy = Engine(engine.model, Memories(self._spec, rows_max=1), interval=self._interval)
        row = copy.memories.restore(name, int(rows.ids[0]), rows.records)
        return FoundStream(
            name, int(rows.ids[0]), "disk", copy, Registry(rows_max=1), row, float(rows.seen[0])
        )

    async def stream(self, name: str, *, events: int) -> schemas.Stream:
        """A stream and its last events.

        Raises:
            UnknownStream: it does not exist.
        """
        found = await self.find(name)
        with self._budget.charged():
            return self._stream(found, self.events(found.stream, after=0, limit=events))

    def _stream(self, found: FoundStream, events: list[schemas.Event]) -> schemas.Stream:
        naming, rows = self._naming, np.array([found.row], np.intp)
        summary, recorder = summarize(found.engine, rows), self._context.recorder
        anomaly, score = float(found.registry.anomaly[found.row]), 0.0
        if found.where == "memory":
            recent = recorder.recent_anomalies(self._context.wall_clock())
            score = float(recorder.anomaly_scores(rows, recent)[0])
        prediction, half_width = summary.prediction[0].tolist(), summary.half_width[0].tolist()
        frozen = self._context.freezer.frozen([found.name])
        return schemas.Stream(
            name=found.name,
            where=found.where,
            events_total=int(summary.seq[0]),
            time=float(summary.time[0]),
            seen=found.seen,
            value=naming.value(summary.value[0].tolist()),
            prediction=naming.target(prediction),
            interval=naming.interval(prediction, half_width),
            anomaly=None if anomaly != anomaly else round(anomaly, DIGITS),
            odd=round(score, DIGITS),
            error_ratio=naming.target(summary.relative_mae[0].round(DIGITS).tolist()),
            covered=naming.target(summary.covered[0].round(DIGITS).tolist()),
            mean=naming.value(summary.mean[0].tolist()),
            deviation=naming.value(summary.deviation[0].tolist()),
            usual_gap_seconds=float(summary.usual_seconds[0]),
            warm=bool(summary.seq[0] >= WARM_EVENTS),
            stale=bool(found.registry.stale[found.row]),
            frozen=bool(frozen and frozen[0]),
            features=list(self._spec.features),
            targets=list(self._spec.targets),
            labels=list(self._spec.labels),
            alert_from=ALERT_THRESHOLD,
            interval_share=self._interval,
            events=events,
        )

    def events(self, stream: int, *, after: int, limit: int) -> list[schemas.Event]:
        """The last events of a stream, oldest first.

        Args:
            stream: its number.
            after: seq; only events after this one.
            limit: events at most.
        """
        limit = min(limit, self._events_max)
        history = self._context.recorder.history.events_of(stream, limit + 1)  # one more, for `expected`
        begin = int(np.searchsorted(history["seq"], after, side="right"))
        begin = max(begin, len(history) - limit)
        columns = [history[name].tolist() for name in history.dtype.names or ()]
        return [self._event(columns, n) for n in range(begin, len(history))]

    def _event(self, columns: Sequence[list[Any]], n: int) -> schemas.Event:
        """The n-th event of the history's columns; the event before it has the prediction for it."""
        naming, labels = self._naming, self._spec.labels
        seq, time, mark, kind, alert, anomaly, value, prediction, half_width, probabilities = (
            column[n] for column in columns
        )
        seqs, predictions, half_widths = columns[0], columns[7], columns[8]
        known = n > 0 and seqs[n - 1] == seq - 1
        unknown = [NAN] * len(prediction)
        expected, around = (predictions[n - 1], half_widths[n - 1]) if known else (unknown, unknown)
        anomalous = anomaly == anomaly and anomaly >= ALERT_THRESHOLD
        shares = {label: round(p, DIGITS) for label, p in zip(labels, probabilities, strict=True)}
        return schemas.Event(
            seq=seq,
            time=time,
            clock=CLOCKS[mark & CLOCK_BITS],
            value=naming.value(value),
            expected=naming.target(expected),
            expected_interval=naming.interval(expected, around),
            prediction=naming.target(prediction),
            interval=naming.interval(prediction, half_width),
            anomaly=None if anomaly != anomaly else round(anomaly, DIGITS),
            kind=KINDS[kind] if anomalous else None,
            alert=alert,
            frozen=bool(mark & FROZEN),
            label=labels[probabilities.index(max(probabilities))] if labels else None,
            probabilities=shares or None,
        )

    async def insides(self, name: str, *, layer: int, events: int) -> schemas.Insides:
        """One layer of a stream's cell: its gates at the last events, and its memory now.

        Raises:
            UnknownStream: the stream does not exist.
        """
        found, spec = await self.find(name), self._spec
        memories = found.engine.memories
        # Copied before the first await: afterwards the row may be another stream's.
        seq = int(memories.column("seq", np.array([found.row]))[0])
        ltm, stm = (_rounded(memories.states[name][found.row, layer]) for name in ("ltm", "stm"))
        trace = await self.trace(found.stream, after=0, limit=events, layer=layer, keyframe=None)
        return schemas.Insides(
            name=name,
            layer=layer,
            layers=spec.layers,
            units=spec.units,
            entering=input_names.columns(spec.inputs, spec.features),
            seq=seq,
            ltm=ltm,
            stm=stm,
            events=trace.insides,
            forecast=trace.forecast,
        )

    def keyframe(self, found: FoundStream) -> Keyframe | None:
        """A stream's record now, for the next trace to begin with; None if the stream has left memory."""
        memories, rows = found.engine.memories, np.array([found.row], np.intp)
        if memories.ids[found.row] != found.stream:
            return None
        return Keyframe(int(memories.column("seq", rows)[0]), memories.records(rows)[0])

    async def trace(
        self, stream: int, *, after: int, limit: int, layer: int, keyframe: Keyframe | None
    ) -> TraceAnswer:
        """Trace the gates over the last events of a stream, as far back as its history allows.

        Args:
            stream: its number.
            after: seq; only events after this one.
            limit: events at most.
            layer: of the cell, counted from 0.
            keyframe: another record to begin with, beside those that the history keeps.
        """
        limit = min(limit, INSIDES_MAX, max(INSIDE_NUMBERS_MAX // (ROWS_PER_UNIT * self._spec.units), 1))
        history = self._context.recorder.history
        with self._budget.charged():
            events = history.events_of(stream, limit + KEYFRAME_EVENTS)
            keyframes = [self._empty, *history.keyframes(stream, len(events) // KEYFRAME_EVENTS + 2)]
            keyframes += [keyframe] if keyframe else []
            parts = list(_segments(events, sorted(keyframes), after=after))
        if not parts:
            return TraceAnswer([], [], None)
        segments = [gate_trace.Segment(start.record, _batch(part)) for start, part in parts]
        steps = gate_trace.trace(self._context.engine.model, segments, interval=self._interval)
        trace = None
        while trace is None:
            with self._budget.charged():
                trace = next(steps)
            await asyncio.sleep(0)  # the pipeline runs between two steps
        with self._budget.charged():
            traced = np.concatenate([part for _, part in parts])
            is_newest = traced["seq"][-1] == events["seq"][-1]
            begin = max(int(np.searchsorted(traced["seq"], after, side="right")), len(traced) - limit)
            return TraceAnswer(
                insides=_insides(trace.gates, traced, begin=begin, layer=layer),
                forecast=self._forecast(trace) if is_newest else [],
                end=Keyframe(int(traced["seq"][-1]), trace.record) if is_newest else None,
            )

    def _forecast(self, trace: gate_trace.Trace) -> list[schemas.Ahead]:
        """The predictions for the horizon after the last traced event."""
        naming, horizon, predictions = self._naming, self._spec.horizon, trace.predictions
        values, half_widths = predictions.forecast[-1].tolist(), predictions.half_width[-1].tolist()
        return [
            schemas.Ahead(ahead, naming.target(value), naming.interval(value, half_width))
            for ahead, value, half_width in zip(horizon, values, half_widths, strict=True)
            if value
        ]


def _segments(
    events: NDArray[Any], keyframes: Sequence[Keyframe], *, after: int
) -> Iterator[tuple[Keyframe, NDArray[Any]]]:
    """The events after each keyframe, up to a gap or the next keyframe, if the last is after `after`."""
    for n, keyframe in enumerate(keyframes):
        part = events[events["seq"] > keyframe.seq][: 2 * KEYFRAME_EVENTS]
        if n + 1 < len(keyframes):
            part = part[part["seq"] <= keyframes[n + 1].seq]
        follows = part["seq"] == keyframe.seq + 1 + np.arange(len(part))
        part = part[: int(np.argmin(follows)) if not follows.all() else len(part)]
        if len(part) and part["seq"][-1] > after:
            yield keyframe, part


def _batch(part: NDArray[Any]) -> Batch:
    """Events of the history as a batch; the gate trace numbers its streams itself."""
    return Batch(np.zeros(len(part), np.intp), part["time"], part["mark"], part["value"])


def _insides(
    gates: NDArray[np.void], events: NDArray[Any], *, begin: int, layer: int
) -> list[schemas.Inside]:
    """The gates of one layer at the traced events, from the one at `begin` on."""
    columns = zip(
        events["seq"][begin:].tolist(),
        events["time"][begin:].tolist(),
        _rounded(gates["entering"][begin:]),
        *(_rounded(gates[name][begin:, layer]) for name in ("forget", "learn", "news", "use", "ltm", "stm")),
        strict=True,
    )
    return [schemas.Inside(*column) for column in columns]


def _rounded(column: NDArray[np.float32]) -> Any:
    return column.astype(np.float64).round(DIGITS).tolist()
