"""One stream's story: its last events, and its cell at work on them.

What the gates did is told again from a record that is kept here and there, and the events behind it
(`stream_lstm.core.views.gate_trace`); of a stream that is looked at live, from where the last telling ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.encoder import CLOCKS
from stream_lstm.core.codec.naming import Naming
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import inputs
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD, KINDS
from stream_lstm.core.views import gate_trace
from stream_lstm.core.views.history import KEYFRAME_EVENTS, Keyframe
from stream_lstm.core.views.summary import summarize
from stream_lstm.events import CLOCK_BITS, FROZEN, Batch
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.state.registry import Registry

EVENTS_MAX = 2_000
INSIDES_MAX = 256
EVENT_NUMBERS_MAX = 100_000  # of an answer: fewer events of many features
INSIDE_NUMBERS_MAX = 300_000  # of a telling: fewer events of a wide layer
DIGITS = 3
NAN = float("nan")
FETCH_SECONDS = 5e-4  # what a look on disk costs the thread that commits
GATES = 6  # rows of numbers a unit has for each event: four gates, LTM and STM


class UnknownStream(Exception):
    """There is no such stream."""


class TraceAnswer(NamedTuple):
    """A stream's events told again, and where the next telling can begin."""

    insides: list[schemas.Inside]
    forecast: list[schemas.Ahead]
    end: Keyframe | None


class FoundStream(NamedTuple):
    """A stream, and where its memory is: a row of the service's own, or of a copy that was read from disk."""

    name: str
    stream: int
    where: Literal["memory", "disk"]
    engine: Engine
    registry: Registry
    row: int
    seen: float


class StreamDetail:
    """Tells of single streams."""

    def __init__(self, view: HttpContext, budget: CpuBudget) -> None:
        self._view = view
        self._budget = budget
        self._described = view.engine.model.spec
        self._naming = Naming(self._described)
        self._blank = Keyframe(
            0, bytes(view.engine.memories.row_type.itemsize)
        )  # of a stream before its first event
        numbers = len(self._described.features) + 6 * len(self._described.targets)
        self._events_max = max(EVENT_NUMBERS_MAX // (numbers + len(self._described.labels)), 1)

    async def find(self, name: str) -> FoundStream:
        """A stream by its name.

        Raises:
            Unknown: there is none.
        """
        engine = self._view.engine
        (row,) = engine.memories.rows([name])
        if row is not None:
            stream, registry = int(engine.memories.ids[row]), self._view.registry
            return FoundStream(name, stream, "memory", engine, registry, row, float(registry.seen[row]))
        if not self._view.present().streams_on_disk:
            raise UnknownStream(name)
        self._budget.spend(FETCH_SECONDS)
        rows = await self._view.state_writer.fetch([name])
        if not rows.keys:
            raise UnknownStream(name)
        copy = Engine(engine.model, Memories(self._described, rows_max=1), interval=self._interval)
        row = copy.memories.restore(name, int(rows.ids[0]), rows.records)
        return FoundStream(
            name, int(rows.ids[0]), "disk", copy, Registry(rows_max=1), row, float(rows.seen[0])
        )

    async def stream(self, name: str, *, events: int) -> schemas.Stream:
        """A stream and its last events.

        Raises:
            Unknown: there is none of this name.
        """
        found = await self.find(name)
        with self._budget.spending():
            return self._described_now(found, self.events(found.stream, after=0, most=events))

    def _described_now(self, found: FoundStream, events: list[schemas.Event]) -> schemas.Stream:
        naming, rows = self._naming, np.array([found.row], np.intp)
        seen, recorder = summarize(found.engine, rows), self._view.recorder
        anomaly, oddness = float(found.registry.anomaly[found.row]), 0.0
        if found.where == "memory":
            oddness = float(recorder.anomaly_scores(rows, recorder.recent_anomalies(time.time()))[0])
        prediction, half_width = seen.prediction[0].tolist(), seen.half_width[0].tolist()
        frozen = self._view.freezer.frozen([found.name])
        return schemas.Stream(
            name=found.name,
            where=found.where,
            events_total=int(seen.seq[0]),
            time=float(seen.time[0]),
            seen=found.seen,
            value=naming.value(seen.value[0].tolist()),
            prediction=naming.target(prediction),
            interval=naming.interval(prediction, half_width),
            anomaly=None if anomaly != anomaly else round(anomaly, DIGITS),
            odd=round(oddness, DIGITS),
            error_ratio=naming.target(seen.relative_mae[0].round(DIGITS).tolist()),
            covered=naming.target(seen.covered[0].round(DIGITS).tolist()),
            mean=naming.value(seen.mean[0].tolist()),
            deviation=naming.value(seen.deviation[0].tolist()),
            usual_gap_seconds=float(seen.usual_seconds[0]),
            warm=bool(seen.seq[0] >= WARM_EVENTS),
            stale=bool(found.registry.stale[found.row]),
            frozen=bool(frozen and frozen[0]),
            features=list(self._described.features),
            targets=list(self._described.targets),
            labels=list(self._described.labels),
            alert_from=ALERT_THRESHOLD,
            interval_share=self._interval,
            events=events,
        )

    @property
    def _interval(self) -> float:
        return self._view.settings.model.interval

    def events(self, stream: int, *, after: int, most: int) -> list[schemas.Event]:
        """The last events of a stream that came after its `after`-th, oldest first."""
        most = min(most, self._events_max)
        came = self._view.recorder.history.events_of(stream, most + 1)
        begin = int(np.searchsorted(came["seq"], after, side="right"))
        begin = max(begin, len(came) - most)
        columns = [came[name].tolist() for name in came.dtype.names or ()]
        return [self._event(columns, n) for n in range(begin, len(came))]

    def _event(self, columns: Sequence[list[Any]], n: int) -> schemas.Event:
        naming, labels = self._naming, self._described.labels
        seq, when, mark, kind, alert, anomaly, value, prediction, half_width, odds = (
            column[n] for column in columns
        )
        seqs, predictions, reaches = columns[0], columns[7], columns[8]
        known = n > 0 and seqs[n - 1] == seq - 1
        nothing = [NAN] * len(prediction)
        expected, around = (predictions[n - 1], reaches[n - 1]) if known else (nothing, nothing)
        odd = anomaly == anomaly and anomaly >= ALERT_THRESHOLD
        return schemas.Event(
            seq=seq,
            time=when,
            clock=CLOCKS[mark & CLOCK_BITS],
            value=naming.value(value),
            expected=naming.target(expected),
            expected_interval=naming.interval(expected, around),
            prediction=naming.target(prediction),
            interval=naming.interval(prediction, half_width),
            anomaly=None if anomaly != anomaly else round(anomaly, DIGITS),
            kind=KINDS[kind] if odd else None,
            alert=alert,
            frozen=bool(mark & FROZEN),
            label=labels[odds.index(max(odds))] if labels else None,
            probabilities={label: round(p, DIGITS) for label, p in zip(labels, odds, strict=True)} or None,
        )

    async def insides(self, name: str, *, layer: int, events: int) -> schemas.Insides:
        """The cell of a stream at work on its last events, and its memory now.

        Raises:
            Unknown: there is none of this name.
        """
        found, described = await self.find(name), self._described
        memories = found.engine.memories
        # Before anything is waited for: the row may be another stream's afterwards.
        seq = int(memories.column("seq", np.array([found.row]))[0])
        ltm, stm = _rounded(memories.ltm[found.row, layer]), _rounded(memories.stm[found.row, layer])
        telling = await self.tell(found.stream, after=0, most=events, layer=layer, since=None)
        return schemas.Insides(
            name=name,
            layer=layer,
            layers=described.layers,
            units=described.units,
            entering=inputs.columns(described.inputs, described.features),
            seq=seq,
            ltm=ltm,
            stm=stm,
            events=telling.insides,
            forecast=telling.forecast,
        )

    def anchor(self, found: FoundStream) -> Keyframe | None:
        """A stream's record as it is now, for the next telling to begin with; None if it has left memory."""
        memories, rows = found.engine.memories, np.array([found.row], np.intp)
        if memories.ids[found.row] != found.stream:
            return None
        return Keyframe(int(memories.column("seq", rows)[0]), memories.records(rows)[0])

    async def tell(
        self, stream: int, *, after: int, most: int, layer: int, since: Keyframe | None
    ) -> TraceAnswer:
        """What the gates did with a stream's events after its `after`-th: the last of them, as far as known.

        Args:
            since: a record to begin with, beside those that are kept.
        """
        most = min(most, INSIDES_MAX, max(INSIDE_NUMBERS_MAX // (GATES * self._described.units), 1))
        recent = self._view.recorder.history
        with self._budget.spending():
            came = recent.events_of(stream, most + KEYFRAME_EVENTS)
            anchors = [self._blank, *recent.keyframes(stream, len(came) // KEYFRAME_EVENTS + 2)]
            anchors += [since] if since else []
            parts = list(_parts(came, sorted(anchors), after=after))
        if not parts:
            return TraceAnswer([], [], None)
        segments = [gate_trace.Segment(a.record, _batch(part)) for a, part in parts]
        steps = gate_trace.trace(self._view.engine.model, segments, interval=self._interval)
        told = None
        while told is None:
            with self._budget.spending():
                told = next(steps)
            await asyncio.sleep(0)
        with self._budget.spending():
            return self._telling(told, np.concatenate([part for _, part in parts]), came, after, most, layer)

    def _telling(
        self,
        told: gate_trace.Trace,
        events: NDArray[Any],
        came: NDArray[Any],
        after: int,
        most: int,
        layer: int,
    ) -> TraceAnswer:
        begin = max(int(np.searchsorted(events["seq"], after, side="right")), len(events) - most)
        insides, last = told.gates, int(events["seq"][-1])
        gates = [_rounded(column[begin:, layer]) for column in insides[1:]]
        columns = zip(
            events["seq"][begin:].tolist(),
            events["time"][begin:].tolist(),
            _rounded(insides.event[begin:]),
            *gates,
            strict=True,
        )
        newest = last == came["seq"][-1]
        return TraceAnswer(
            insides=[schemas.Inside(*column) for column in columns],
            forecast=self._ahead(told) if newest else [],
            end=Keyframe(last, told.record) if newest else None,
        )

    def _ahead(self, told: gate_trace.Trace) -> list[schemas.Ahead]:
        """What is expected after the last event that was told."""
        values, reaches = told.predictions.forecast[-1].tolist(), told.predictions.half_width[-1].tolist()
        naming, horizon = self._naming, self._described.horizon
        return [
            schemas.Ahead(ahead, naming.target(value), naming.interval(value, half_width))
            for ahead, value, half_width in zip(horizon, values, reaches, strict=True)
            if value
        ]


def _parts(
    came: NDArray[Any], anchors: Sequence[Keyframe], *, after: int
) -> Iterator[tuple[Keyframe, NDArray[Any]]]:
    """The events behind each anchor, up to a gap or the next one; those that reach beyond `after`."""
    for n, anchor in enumerate(anchors):
        part = came[came["seq"] > anchor.seq][: 2 * KEYFRAME_EVENTS]
        if n + 1 < len(anchors):
            part = part[part["seq"] <= anchors[n + 1].seq]
        follows = part["seq"] == anchor.seq + 1 + np.arange(len(part))
        part = part[: int(np.argmin(follows)) if not follows.all() else len(part)]
        if len(part) and part["seq"][-1] > after:
            yield anchor, part


def _batch(part: NDArray[Any]) -> Batch:
    """Events of history as the gate trace takes them, whose streams are the segments."""
    return Batch(np.zeros(len(part), np.intp), part["time"], part["mark"], part["value"])


def _rounded(column: NDArray[np.float32]) -> Any:
    return column.astype(np.float64).round(DIGITS).tolist()
