"""History: the last events of all streams with their predictions, and keyframes of the streams' records.

Events are kept in rings of a fixed number of events, where the newest replace the oldest. Streams with
frequent events and streams with rare ones have separate rings, so that the former do not displace the latter.
Every 32 events of a stream its whole record is kept as a keyframe: `gate_trace` starts from there. Appending
a batch costs little: batches are buffered, and written to the rings together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.state import state_type
from stream_lstm.core.views.ring import STREAM, Ring
from stream_lstm.events import Batch

RINGS = 2  # of streams with frequent events, and of streams with rare ones
RARE_GAP_SECONDS = 5.0  # a stream with longer gaps has rare events
KEYFRAME_EVENTS = 32  # a trace recomputes at most so many events before the first one it shows
# Of a large model as many events and keyframes are kept as fit in these bytes; or in the bytes that the same
# number takes of a model of one feature and 64 units, if that is more.
EVENTS_BYTES_MAX, EVENT_BYTES = 268_435_456, 64
KEYFRAMES_BYTES_MAX, KEYFRAME_BYTES = 67_108_864, 1_024
# Batches and events that wait: enough to spread the cost of putting them into the rings.
WAITING_EVENTS_MAX = 1_024
WAITING_BATCHES_MAX = 64


class Keyframe(NamedTuple):
    """A stream's record after its `seq`-th event."""

    seq: int
    record: bytes


class HistorySize(NamedTuple):
    """Types and numbers of what a history keeps.

    Attributes:
        event: dtype of an event.
        keyframe: dtype of a keyframe.
        events: per ring.
        keyframes: per ring.
    """

    event: np.dtype[Any]
    keyframe: np.dtype[Any]
    events: int
    keyframes: int

    @classmethod
    def of(cls, spec: ModelSpec, events_max: int) -> HistorySize:
        """For a model, and at most this number of events of all streams."""
        features, targets, labels = len(spec.features), len(spec.targets), len(spec.labels)
        event = np.dtype(
            [
                ("seq", np.int64),
                ("time", np.float64),
                ("mark", np.uint8),
                ("kind", np.int8),
                ("alert", np.bool_),
                ("anomaly", np.float64),
                ("value", np.float64, (features,)),
                ("prediction", np.float64, (targets,)),
                ("half_width", np.float64, (targets,)),
                ("probabilities", np.float64, (labels,)),
            ]
        )
        keyframe = np.dtype([("seq", np.int64), ("record", f"V{state_type(spec).itemsize}")])
        events = min(events_max, _fitting(event, EVENTS_BYTES_MAX, events_max * EVENT_BYTES))
        keyframes = events_max // KEYFRAME_EVENTS
        keyframes = min(keyframes, _fitting(keyframe, KEYFRAMES_BYTES_MAX, keyframes * KEYFRAME_BYTES))
        return cls(event, keyframe, -(-events // RINGS), max(keyframes // RINGS, 1))

    @property
    def full_bytes(self) -> int:
        """Size of all rings."""
        event, keyframe = (dtype.itemsize + STREAM.itemsize for dtype in (self.event, self.keyframe))
        return RINGS * (self.events * event + self.keyframes * keyframe)


class History:
    """Keeps events, and returns those of a stream.

    Args:
        memories: records of the streams; batches name their rows.
        longest_gap: (rows,) longest recent time between two events of a stream, seconds.
        events_max: events kept of all streams; 0: none.

    Attributes:
        event_type: dtype of what `events_of` returns: seq, time, mark, kind, alert, anomaly, value (F,),
            prediction (T,) of the next event, half_width (T,) of its interval, and probabilities (C,).
    """

    def __init__(
        self, model: LstmModel, memories: Memories, longest_gap: NDArray[np.float32], *, events_max: int
    ) -> None:
        size = HistorySize.of(model.spec, events_max)
        self.event_type = size.event
        self._memories = memories
        self._longest_gap = longest_gap
        self._enabled = events_max > 0
        self._events = [Ring(size.event, size.events) for _ in range(RINGS)]
        self._keyframes = [Ring(size.keyframe, size.keyframes) for _ in range(RINGS)]
        self._waiting: list[tuple[NDArray[np.uint32], Batch, Predictions]] = []
        self._waiting_events = 0

    def append(self, batch: Batch, predictions: Predictions) -> None:
        """Keep these events; to be called right after they were applied."""
        if not self._enabled:
            return
        self._waiting.append((self._memories.ids[batch.streams], batch, predictions))
        self._waiting_events += len(batch.streams)
        since = predictions.seq & (KEYFRAME_EVENTS - 1)  # events since the last keyframe
        if np.count_nonzero(since) < len(since):
            self._append_keyframes(batch.streams[since == 0])
        if self._waiting_events >= WAITING_EVENTS_MAX or len(self._waiting) >= WAITING_BATCHES_MAX:
            self._flush()

    def _flush(self) -> None:
        """Put the batches that wait into the rings."""
        if not self._waiting:
            return
        streams, batches, predictions = zip(*self._waiting, strict=True)
        self._waiting, self._waiting_events = [], 0
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
        for ring, which in zip(self._events, self._by_ring(rows), strict=True):
            ring.append(_joined(streams), columns, which)

    def _append_keyframes(self, rows: NDArray[np.intp]) -> None:
        if len(set(rows.tolist())) < len(rows):
            rows = np.unique(rows)  # the batch may have a stream several times, and the record is as after it
        memories = self._memories
        for ring, which in zip(self._keyframes, self._by_ring(rows), strict=True):
            some = rows[which]
            if len(some):
                ring.append(memories.ids[some], [memories.column("seq", some), memories.copies(some)])

    def _by_ring(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]:
        """Positions of the rows of streams with frequent events, and of those with rare ones."""
        rare = self._longest_gap[rows] > RARE_GAP_SECONDS
        count = np.count_nonzero(rare)
        if count == 0:
            return slice(None), slice(0)
        if count == len(rows):
            return slice(0), slice(None)
        return np.flatnonzero(~rare), np.flatnonzero(rare)

    def events_of(self, stream: int, count: int) -> NDArray[Any]:
        """The last events of a stream, at most `count`, oldest first; (N,) of `event_type`."""
        self._flush()
        events = np.concatenate([ring.of(stream, count) for ring in self._events])
        events = events[np.argsort(events["seq"], kind="stable")]
        return events[max(len(events) - count, 0) :]

    def keyframes(self, stream: int, count: int) -> Iterator[Keyframe]:
        """The last keyframes of a stream, at most `count`, oldest first."""
        found = sorted(pair for ring in self._keyframes for pair in ring.of(stream, count).tolist())
        for seq, record in found[max(len(found) - count, 0) :]:
            yield Keyframe(seq, record)

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: names the invariant that does not hold.
        """
        waiting = sum(len(batch.streams) for _, batch, _ in self._waiting)
        assert self._waiting_events == waiting, "the number of waiting events is wrong"
        assert waiting < WAITING_EVENTS_MAX, "too many events wait"
        assert len(self._waiting) < WAITING_BATCHES_MAX, "too many batches wait"
        for ring in (*self._events, *self._keyframes):
            ring.validate()
        for ring in self._keyframes:
            frames = ring.all()
            records = frames["record"].copy().view(self._memories.states.dtype)
            assert (records["seq"] == frames["seq"]).all(), "a keyframe is not of the event that it names"


def _fitting(kind: np.dtype[Any], most: int, plain: int) -> int:
    """Items of a dtype that fit in the larger of two numbers of bytes."""
    return max(most, plain) // kind.itemsize


def _joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
