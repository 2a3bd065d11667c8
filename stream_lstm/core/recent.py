"""The last events of all streams, and here and there a stream's whole record beside them.

What came in and what was said of it stands in rings of a fixed number of events: the newest take the place
of the oldest. Streams that speak often have a ring of their own, so that they do not push out those that
seldom do. Every 32 events a stream's record is kept as it is then: from there its gates can be told again,
by applying the events behind it once more (`stream_lstm.core.lens`). To note a batch costs a few copies of
columns, whether anybody looks or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Predictions
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import Model

ANCHOR_EVENTS = 32
SELDOM_SECONDS = 5.0  # streams that are sometimes silent for longer have the ring of those that seldom speak


class Came(NamedTuple):
    """Events that are to be noted, N of them, in order of arrival."""

    rows: NDArray[np.intp]  # (N,) in memory
    times: NDArray[np.float64]  # (N,) epoch seconds
    marks: NDArray[np.uint8]  # (N,) see `stream_lstm.events`
    values: NDArray[np.float64]  # (N, F)


class Anchor(NamedTuple):
    """A stream's record after its `seq`-th event."""

    seq: int
    record: bytes


class Recent:
    """Notes events, and finds those of a stream again.

    Args:
        memories: whose rows the events belong to.
        events_max: how many are kept in all; 0: none.

    Attributes:
        kind: of what `of` returns: seq, time, mark, kind, alert, anomaly, value (F,), prediction (T,) for the
            event after it and reach (T,) of the interval around that, and probabilities (C,).
    """

    def __init__(self, model: Model, memories: Memories, *, events_max: int) -> None:
        described = model.description
        features, targets, labels = len(described.features), len(described.targets), len(described.labels)
        self.kind = np.dtype(
            [
                ("seq", np.int64),
                ("time", np.float64),
                ("mark", np.uint8),
                ("kind", np.int8),
                ("alert", np.bool_),
                ("anomaly", np.float32),
                ("value", np.float64, (features,)),
                ("prediction", np.float64, (targets,)),
                ("reach", np.float32, (targets,)),
                ("probabilities", np.float32, (labels,)),
            ]
        )
        self._memories = memories
        self._rings = [_Ring(self.kind, events_max // 2) for _ in range(2)] if events_max > 1 else []
        self._anchors = _Ring(_anchor_type(memories), max(events_max // ANCHOR_EVENTS, 1))

    def note(self, came: Came, predictions: Predictions) -> None:
        """Keep these events; call it right after they were applied."""
        if not self._rings:
            return
        streams = self._memories.ids[came.rows]
        columns = (
            predictions.seq,
            came.times,
            came.marks,
            predictions.kind,
            predictions.alert,
            predictions.anomaly,
            came.values,
            predictions.prediction,
            predictions.reach[:, 0],
            predictions.probabilities,
        )
        seldom = self._memories.rhythm[came.rows] > SELDOM_SECONDS
        many = np.count_nonzero(seldom)
        if many in (0, len(seldom)):
            self._rings[int(many > 0)].add(streams, columns)
        else:
            for ring, which in zip(self._rings, (~seldom, seldom), strict=True):
                ring.add(streams[which], [column[which] for column in columns])
        self._anchor(came.rows[predictions.seq % ANCHOR_EVENTS == 0])

    def _anchor(self, rows: NDArray[np.intp]) -> None:
        if len(rows):
            rows = np.unique(rows)  # a batch may hold a stream many times; what is kept is as it is after it
            memories = self._memories
            columns = memories.column("seq", rows), memories.copies(rows)
            self._anchors.add(memories.ids[rows], columns)

    def of(self, stream: int, most: int) -> NDArray[Any]:
        """The last events of a stream, by its number: of `kind`, oldest first, `most` at most."""
        found = [ring.of(stream) for ring in self._rings]
        events = np.concatenate(found) if found else np.empty(0, self.kind)
        return events[np.argsort(events["seq"], kind="stable")][-most:]

    def anchors(self, stream: int) -> Iterator[Anchor]:
        """The records of a stream that are kept, oldest first."""
        for seq, record in self._anchors.of(stream).tolist():
            yield Anchor(seq, record)


class _Ring:
    """Columns in which the newest take the place of the oldest."""

    def __init__(self, kind: np.dtype[Any], size: int) -> None:
        self._kind, self._size, self._at = kind, size, 0
        self._streams = np.zeros(size, np.uint32)  # 0: nobody's yet
        fields = [kind[name] for name in kind.names or ()]
        self._columns = [np.zeros((size, *field.shape), field.base) for field in fields]

    def add(self, streams: NDArray[np.uint32], columns: Any) -> None:
        """Add rows, one column each of the fields, in their order."""
        begin = max(len(streams) - self._size, 0)  # of more than there is room for, the last stay
        while begin < len(streams):
            count = min(len(streams) - begin, self._size - self._at)
            here, there = slice(self._at, self._at + count), slice(begin, begin + count)
            self._streams[here] = streams[there]
            for own, column in zip(self._columns, columns, strict=True):
                own[here] = column[there]
            self._at = (self._at + count) % self._size
            begin += count

    def of(self, stream: int) -> NDArray[Any]:
        """All rows of a stream, oldest first."""
        found = np.flatnonzero(self._streams == stream)
        found = np.concatenate([found[found >= self._at], found[found < self._at]])
        out = np.empty(len(found), self._kind)
        for name, column in zip(self._kind.names or (), self._columns, strict=True):
            out[name] = column[found]
        return out


def _anchor_type(memories: Memories) -> np.dtype[Any]:
    return np.dtype([("seq", np.int64), ("record", f"V{memories.row_type.itemsize}")])
