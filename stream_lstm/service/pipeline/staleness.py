"""Streams that have fallen silent: each is held against its own rhythm, no deadman rule is needed.

What counts is when events arrive: a sensor that sends its readings once an hour is expected once an hour,
whatever times they carry. While there is no connection, nobody is silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories

CHECK_SECONDS = 5.0
EVENTS_MIN = 20  # a younger stream has no rhythm yet
STALE_TIMES = 3.0  # the longest silence of late
STALE_SECONDS_MIN = 10.0
RHYTHM_KEEP = 0.99  # from event to event
RHYTHM_GROWTH_MAX = 2.0  # at once: one outage is no new rhythm
TOLD_AT_ONCE_MAX = 1_000


class StalenessChange(NamedTuple):
    """A stream has fallen silent, or is heard of again."""

    stream: str
    stale: bool
    silent_seconds: float
    usual_seconds: float

    def encode(self) -> bytes:
        """As published."""
        return msgspec.json.encode(self._asdict())


class StalenessMonitor:
    """Knows each stream's rhythm, and who is behind it.

    Args:
        memories: whose `seen` says when a stream was last heard of; `rhythm` and `stale` are kept here.
        connected_since: epoch seconds, NaN while there is no connection.
        tell: takes each change.

    Attributes:
        stale: how many streams are silent for longer than they should.
    """

    def __init__(
        self,
        memories: Memories,
        connected_since: Callable[[], float],
        tell: Callable[[StalenessChange], object],
    ) -> None:
        self._memories = memories
        self._connected_since = connected_since
        self._tell = tell
        self.stale = 0

    def observe(self, rows: NDArray[np.intp], now: float) -> None:
        """Streams have been heard of; call it before `Memories.seen` is set."""
        m, since = self._memories, self._connected_since()
        seen, rhythm, stale = m.seen[rows], m.rhythm[rows], m.stale[rows]
        gap = np.where(seen > 0.0, now - np.maximum(seen, now if math.isnan(since) else since), 0.0)
        if np.count_nonzero(stale):  # seldom
            gap = np.where(stale, np.minimum(gap, np.maximum(rhythm * RHYTHM_GROWTH_MAX, 1.0)), gap)
            back = np.unique(rows[stale])
            self._changed(back, now, stale=False)
            m.stale[back] = False
            self.stale -= len(back)
        m.rhythm[rows] = np.maximum(gap, rhythm * RHYTHM_KEEP)

    def check(self, now: float) -> None:
        """See who has fallen silent since the last look, some at a time."""
        m, since = self._memories, self._connected_since()
        if np.isnan(since):
            return
        rows = m.taken()
        silent = now - np.maximum(m.seen[rows], since)
        over = (m.rhythm[rows] > 0.0) & ~m.stale[rows]
        over &= silent > np.maximum(m.rhythm[rows] * STALE_TIMES, STALE_SECONDS_MIN)
        rows = rows[over]
        rows = rows[m.column("seq", rows) >= EVENTS_MIN][:TOLD_AT_ONCE_MAX]
        m.stale[rows] = True
        self.stale = int(np.count_nonzero(m.stale))
        self._changed(rows, now, stale=True)

    def _changed(self, rows: NDArray[np.intp], now: float, *, stale: bool) -> None:
        m = self._memories
        keys: Sequence[str] = m.keys(rows.tolist())
        silent, usual = (now - m.seen[rows]).round(3).tolist(), m.rhythm[rows].round(3).tolist()
        for key, *seconds in zip(keys, silent, usual, strict=True):
            self._tell(StalenessChange(key, stale, *seconds))
