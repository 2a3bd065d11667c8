"""Registry of the streams in memory: bookkeeping beside their records, one column a fact, one row a stream.

Rows are those of `Memories`. Nothing of it is part of a stream's record, so predictions do not depend on
it; the engine neither reads nor writes it. Each column is written by the methods below alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.memory import Memories

GAP_DECAY = 0.99  # a batch with an event of the stream: a longest gap fades over some hundred of them
GAP_GROWTH_MAX = 2.0  # at once, of a stale stream: one outage does not become the usual gap
Rows = NDArray[np.intp]
Doubles = NDArray[np.float64]


class Returned(NamedTuple):
    """Streams that were stale, and have an event again: as they were before it, (N,) each."""

    rows: NDArray[np.int64]
    silent_seconds: Doubles
    usual_seconds: Doubles


class Registry:
    """Bookkeeping of the streams in memory.

    Attributes:
        applied: (rows,) number of the last journal entry that changed the record in memory.
        written: (rows,) number of the journal entry that the record on disk reflects.
        seen: (rows,) arrival of the last event, whole epoch seconds.
        longest_gap: (rows,) longest recent time between two arrivals, seconds; 0 while unknown.
        stale: (rows,) no event for longer than `longest_gap` lets expect.
        anomaly: (rows,) of the last event, 0 to 1; NaN while unknown.
    """

    def __init__(self, *, rows_max: int) -> None:
        rows = rows_max + 1  # row 0 is no stream's
        self.applied = np.zeros(rows, np.int64)
        self.written = np.zeros(rows, np.int64)
        self.seen = np.zeros(rows, np.uint32)
        self.longest_gap = np.zeros(rows, np.float32)
        self.stale = np.zeros(rows, np.bool_)
        self.anomaly = np.full(rows, np.nan, np.float32)

    def record_batch(
        self, rows: Rows, anomaly: Doubles, entry: int, now: float, *, since: float, stale: int
    ) -> Returned:
        """An entry's events were applied to these rows; of several events of one row the last anomaly counts.

        Args:
            anomaly: of each event; NaN while unknown.
            now: arrival of the events, epoch seconds.
            since: start of the connection, before which a stream was not silent; NaN without one.
            stale: how many streams are stale at most.
        """
        places = min(len(rows), stale)
        returned, silent, usual = np.empty(places, np.int64), np.empty(places), np.empty(places)
        columns = (self.applied, self.seen, self.longest_gap, self.stale, self.anomaly)
        new = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(anomaly)
        count = _record(*columns, *new, entry, now, since, returned, silent, usual)
        return Returned(returned[:count], silent[:count], usual[:count])

    def record_applied(self, rows: Rows, entry: int, now: float) -> None:
        """An entry's events were applied to these rows."""
        self.applied[rows] = entry
        self.seen[rows] = now

    def record_read(self, rows: Rows | int, entries: ArrayLike, seen: ArrayLike) -> None:
        """The records of these rows came from disk, where they reflect these entries."""
        self.applied[rows] = self.written[rows] = entries
        self.seen[rows] = seen

    def record_written(self, rows: Rows, entries: NDArray[np.int64]) -> None:
        """The records of these rows are on disk as of these entries."""
        self.written[rows] = entries

    def record_stale(self, rows: Rows, *, stale: bool) -> None:
        """These rows have become stale, or are no longer."""
        self.stale[rows] = stale

    def clear(self, row: int) -> None:
        """The stream of this row has left memory."""
        self.applied[row] = self.written[row] = 0
        self.seen[row] = self.longest_gap[row] = 0.0
        self.stale[row] = False
        self.anomaly[row] = np.nan

    def is_written(self, rows: Rows | int) -> NDArray[np.bool_]:
        """True where the disk has a row's record as it is in memory."""
        return np.asarray(self.written[rows] >= self.applied[rows])

    def unwritten(self) -> Rows:
        """The rows whose record in memory is newer than the one on disk."""
        return np.flatnonzero(self.applied > self.written)

    def validate(self, memories: Memories, last_entry: int) -> None:
        """Check the invariants.

        Args:
            memories: whose rows these are.
            last_entry: number of the last journal entry.

        Raises:
            AssertionError: names the invariant that does not hold.
        """
        free = np.ones(len(self.applied), np.bool_)
        free[memories.taken()] = False
        assert not self.applied[free].any(), "a free row has an applied entry"
        assert not self.written[free].any(), "a free row has a written entry"
        assert not self.stale[free].any(), "a free row is stale"
        assert (self.written <= self.applied).all(), "a record on disk is newer than the one in memory"
        assert (self.applied <= last_entry).all(), "a row reflects an entry that is not in the journal"
        assert (self.longest_gap >= 0.0).all(), "a gap is negative"


@compiled
def _record(
    applied: NDArray[np.int64],
    seen: NDArray[np.uint32],
    longest_gap: NDArray[np.float32],
    stale: NDArray[np.bool_],
    anomalies: NDArray[np.float32],
    rows: NDArray[np.int64],
    anomaly: Doubles,
    entry: int,
    now: float,
    since: float,
    returned: NDArray[np.int64],
    silent_seconds: Doubles,
    usual_seconds: Doubles,
) -> int:
    """The loop of `Registry.record_batch`; returns how many streams have returned."""
    count = 0
    for n in range(len(rows)):
        row = rows[n]
        anomalies[row] = anomaly[n]
        if applied[row] == entry:
            continue  # the gap is that of the batch's first event
        last, longest, gap = float(seen[row]), float(longest_gap[row]), 0.0
        if last > 0.0 and not math.isnan(since):
            gap = now - max(last, since)
        if stale[row]:
            gap = min(gap, max(longest * GAP_GROWTH_MAX, 1.0))
            if count < len(returned):
                returned[count], silent_seconds[count], usual_seconds[count] = row, now - last, longest
                count += 1
            stale[row] = False
        longest_gap[row] = max(gap, longest * GAP_DECAY)
        applied[row], seen[row] = entry, now
    return count
