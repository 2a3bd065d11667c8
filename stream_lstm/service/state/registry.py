"""Registry of the streams in memory: bookkeeping beside their records, one column a fact, one row a stream.

Rows are those of `Memories`. Nothing of it is part of a stream's record, so predictions do not depend on
it; the engine neither reads nor writes it. Each column is written by the methods below alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_lstm.core.memory import Memories

Rows = NDArray[np.intp]


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
        self.anomaly = np.full(rows, np.nan, np.float16)

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

    def record_gaps(self, rows: Rows, longest: NDArray[np.float32]) -> None:
        """The longest recent gaps of these rows, seconds."""
        self.longest_gap[rows] = longest

    def record_stale(self, rows: Rows, *, stale: bool) -> None:
        """These rows have become stale, or are no longer."""
        self.stale[rows] = stale

    def record_anomaly(self, rows: Rows, anomaly: NDArray[np.float64]) -> None:
        """The anomaly of these rows' last events; of several events of one row the last counts."""
        self.anomaly[rows] = anomaly

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
