"""The last events of all streams, and here and there a stream's whole record beside them.

What came in and what was said of it stands in rings of a fixed number of events: the newest take the place
of the oldest. Streams that speak often have rings of their own, so that they do not push out those that
seldom do. Every 32 events a stream's record is kept as it is then: from there its gates can be told again,
by applying the events behind it once more (`gate_trace`). To note a batch costs little, whether
anybody looks or not: what is noted waits by the batch, and is put into the rings together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories, row_type
from stream_lstm.core.model.file import Model
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Batch

RINGS = 2
STREAM = np.dtype(np.uint32)  # a stream's number
KEYFRAME_EVENTS = 32
SELDOM_SECONDS = 5.0  # streams that are sometimes silent for longer have the rings of those that seldom speak
# Of a wide model as many events and records are kept as fit in here, or in what the same number takes of a
# model of one feature and 64 units, if that is more.
EVENTS_BYTES_MAX, EVENT_BYTES = 268_435_456, 64
KEYFRAMES_BYTES_MAX, KEYFRAME_BYTES = 67_108_864, 1_024
WAITING_EVENTS_MAX = 1_024
WAITING_BATCHES_MAX = 64


class Keyframe(NamedTuple):
    """A stream's record after its `seq`-th event."""

    seq: int
    record: bytes


class HistorySize(NamedTuple):
    """What is kept, and how much of it.

    Attributes:
        kind: of an event.
        record: of a stream's record.
        events: that a ring has room for.
        anchors: records that a ring has room for.
    """

    kind: np.dtype[Any]
    record: np.dtype[Any]
    events: int
    anchors: int

    @classmethod
    def of(cls, described: ModelSpec, events_max: int) -> HistorySize:
        """For so many events of all streams together."""
        features, targets, labels = len(described.features), len(described.targets), len(described.labels)
        kind = np.dtype(
            [
                ("seq", np.int64),
                ("time", np.float64),
                ("mark", np.uint8),
                ("kind", np.int8),
                ("alert", np.bool_),
                ("anomaly", np.float64),
                ("value", np.float64, (features,)),
                ("prediction", np.float64, (targets,)),
                ("reach", np.float64, (targets,)),
                ("probabilities", np.float64, (labels,)),
            ]
        )
        record = np.dtype([("seq", np.int64), ("record", f"V{row_type(described).itemsize}")])
        events = min(events_max, _fitting(kind, EVENTS_BYTES_MAX, events_max * EVENT_BYTES))
        anchors = events_max // KEYFRAME_EVENTS
        anchors = min(anchors, _fitting(record, KEYFRAMES_BYTES_MAX, anchors * KEYFRAME_BYTES))
        return cls(kind, record, -(-events // RINGS), max(anchors // RINGS, 1))

    @property
    def full_bytes(self) -> int:
        """What all rings take once they are full."""
        event, anchor = (kind.itemsize + STREAM.itemsize for kind in (self.kind, self.record))
        return RINGS * (self.events * event + self.anchors * anchor)


class History:
    """Notes events, and finds those of a stream again.

    Args:
        memories: whose rows the events belong to.
        longest_gap: (rows,) longest recent time between two of a stream's events, seconds.
        events_max: how many are kept in all; 0: none.

    Attributes:
        kind: of what `of` returns: seq, time, mark, kind, alert, anomaly, value (F,), prediction (T,) for the
            event after it and reach (T,) of the interval around that, and probabilities (C,).
    """

    def __init__(
        self, model: Model, memories: Memories, longest_gap: NDArray[np.float32], *, events_max: int
    ) -> None:
        plan = HistorySize.of(model.spec, events_max)
        self.kind = plan.kind
        self._memories = memories
        self._longest_gap = longest_gap
        self._open = events_max > 0
        # Of those that speak often, and of those that seldom do.
        self._rings = [_Ring(plan.kind, plan.events) for _ in range(RINGS)]
        self._anchors = [_Ring(plan.record, plan.anchors) for _ in range(RINGS)]
        self._waiting: list[tuple[NDArray[np.uint32], Batch, Predictions]] = []
        self._events_waiting = 0

    def append(self, batch: Batch, predictions: Predictions) -> None:
        """Keep these events; call it right after they were applied."""
        if not self._open:
            return
        self._waiting.append((self._memories.ids[batch.streams], batch, predictions))
        self._events_waiting += len(batch.streams)
        between = predictions.seq & (KEYFRAME_EVENTS - 1)
        if np.count_nonzero(between) < len(between):
            self._anchor(batch.streams[between == 0])
        if self._events_waiting >= WAITING_EVENTS_MAX or len(self._waiting) >= WAITING_BATCHES_MAX:
            self._settle()

    def _settle(self) -> None:
        """Put what waits into the rings."""
        if not self._waiting:
            return
        streams, batches, predictions = zip(*self._waiting, strict=True)
        self._waiting, self._events_waiting = [], 0
        rows, times, marks, values = map(_joined, zip(*batches, strict=True))
        columns = [
            _joined([p.seq for p in predictions]),
            times,
            marks,
            _joined([p.kind for p in predictions]),
            _joined([p.alert for p in predictions]),
            _joined([p.anomaly for p in predictions]),
            values,
            _joined([p.prediction for p in predictions]),
            _joined([p.half_width[:, 0] for p in predictions]),
            _joined([p.probabilities for p in predictions]),
        ]
        for ring, which in zip(self._rings, self._apart(rows), strict=True):
            ring.add(_joined(streams), columns, which)

    def _anchor(self, rows: NDArray[np.intp]) -> None:
        """Keep the records of these rows."""
        if len(set(rows.tolist())) < len(rows):
            rows = np.unique(rows)  # a batch may hold a stream many times; what is kept is as it is after it
        memories = self._memories
        for ring, which in zip(self._anchors, self._apart(rows), strict=True):
            some = rows[which]
            if len(some):
                ring.add(memories.ids[some], [memories.column("seq", some), memories.copies(some)])

    def _apart(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]:
        """Which of these rows are of streams that speak often, and which of streams that seldom do."""
        seldom = self._longest_gap[rows] > SELDOM_SECONDS
        many = np.count_nonzero(seldom)
        if many == 0:
            return slice(None), slice(0)
        if many == len(rows):
            return slice(0), slice(None)
        return np.flatnonzero(~seldom), np.flatnonzero(seldom)

    def events_of(self, stream: int, most: int) -> NDArray[Any]:
        """The last events of a stream, by its number: of `kind`, oldest first, `most` at most."""
        self._settle()
        events = np.concatenate([ring.of(stream, most) for ring in self._rings])
        events = events[np.argsort(events["seq"], kind="stable")]
        return events[max(len(events) - most, 0) :]

    def keyframes(self, stream: int, most: int) -> Iterator[Keyframe]:
        """The last records of a stream that are kept, oldest first, `most` at most."""
        found = sorted(pair for ring in self._anchors for pair in ring.of(stream, most).tolist())
        for seq, record in found[max(len(found) - most, 0) :]:
            yield Keyframe(seq, record)


class _Ring:
    """Columns in which the newest take the place of the oldest."""

    def __init__(self, kind: np.dtype[Any], size: int) -> None:
        self._kind, self._size, self._at = kind, size, 0
        self._streams = np.zeros(size, STREAM)  # 0: nobody's yet
        fields = [kind[name] for name in kind.names or ()]
        self._columns = [np.zeros((size, *field.shape), field.base) for field in fields]

    def add(
        self,
        streams: NDArray[np.uint32],
        columns: Sequence[NDArray[Any]],
        which: NDArray[np.intp] | slice = slice(None),
    ) -> None:
        """Add these of some rows, in order, one column each of the fields."""
        if isinstance(which, slice):
            which = np.arange(len(streams))[which]
        which = which[max(len(which) - self._size, 0) :]  # of more than there is room for, the last stay
        while len(which):
            room = self._size - self._at
            some, which = which[:room], which[room:]
            here = slice(self._at, self._at + len(some))
            for own, column in zip((self._streams, *self._columns), (streams, *columns), strict=True):
                # Measured: by number, thrice as fast as by a mask; with `clip` nothing is buffered.
                np.take(column, some, axis=0, out=own[here], mode="clip")
            self._at = (self._at + len(some)) % self._size

    def of(self, stream: int, most: int) -> NDArray[Any]:
        """The last rows of a stream, oldest first, `most` at most."""
        found = np.flatnonzero(self._streams == stream)
        found = np.concatenate([found[found >= self._at], found[found < self._at]])
        found = found[max(len(found) - most, 0) :]
        out = np.empty(len(found), self._kind)
        for name, column in zip(self._kind.names or (), self._columns, strict=True):
            out[name] = column[found]
        return out


def _fitting(kind: np.dtype[Any], most: int, plain: int) -> int:
    """How many of a kind fit in so many bytes, or in what a plain model takes, if that is more."""
    return max(most, plain) // kind.itemsize


def _joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
