"""Staleness: streams without an event for longer than their own recent gaps let expect.

Each stream is compared with its own longest recent gap between arrivals, so no timeout has to be set. Arrival
counts, not event time: a sensor that sends an hour's readings at once is expected once an hour. Without a
connection no stream becomes stale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.service.state.registry import Registry

CHECK_SECONDS = 5.0  # half the shortest time after which a stream can be stale
EVENTS_MIN = 20  # fewer gaps say too little of a stream
STALE_GAPS = 3.0  # longest recent gaps: a sensor that misses two readings in a row is not stale yet
STALE_SECONDS_MIN = 10.0  # a fast sensor is not stale while its gateway restarts its connection
CHANGES_AT_ONCE_MAX = 1_000  # published per check; the others follow at the next one


class StalenessChange(NamedTuple):
    """A stream has become stale, or has had an event again."""

    stream: str
    stale: bool
    silent_seconds: float
    usual_seconds: float

    def encode(self) -> bytes:
        """As published on `publish.stale_topic`."""
        return msgspec.json.encode(self._asdict())


class StalenessMonitor:
    """Tracks each stream's longest recent gap, and publishes changes of staleness.

    Args:
        memories: the streams.
        registry: holds `seen`, `longest_gap` and `stale`; the latter two are kept here.
        connected_since: epoch seconds; NaN without a connection.
        publish: receives each change.

    Attributes:
        stale: how many streams are stale.
    """

    def __init__(
        self,
        memories: Memories,
        registry: Registry,
        connected_since: Callable[[], float],
        publish: Callable[[StalenessChange], object],
    ) -> None:
        self._memories = memories
        self._registry = registry
        self._connected_since = connected_since
        self._publish = publish
        self.stale = 0

    def observe(self, rows: NDArray[np.intp], anomaly: NDArray[np.float64], entry: int, now: float) -> None:
        """Events of these rows have arrived and were applied; see `Registry.record_batch`."""
        registry, since = self._registry, self._connected_since()
        back = registry.record_batch(rows, anomaly, entry, now, since=since, stale=self.stale)
        if len(back.rows):  # seldom
            self.stale -= len(back.rows)
            self._report(*back, stale=False)

    def check(self, now: float) -> None:
        """Mark the streams that have become stale since the last check, some at a time."""
        registry, since = self._registry, self._connected_since()
        if np.isnan(since):
            return
        rows = self._memories.taken()
        silent = now - np.maximum(registry.seen[rows], since)
        over = (registry.longest_gap[rows] > 0.0) & ~registry.stale[rows]
        over &= silent > np.maximum(registry.longest_gap[rows] * STALE_GAPS, STALE_SECONDS_MIN)
        rows = rows[over]
        rows = rows[self._memories.column("seq", rows) >= EVENTS_MIN][:CHANGES_AT_ONCE_MAX]
        registry.record_stale(rows, stale=True)
        self.stale = int(np.count_nonzero(registry.stale))
        usual = registry.longest_gap[rows].astype(np.float64)
        silent = (now - registry.seen[rows]).astype(np.float64)
        self._report(rows, silent, usual, stale=True)

    def _report(
        self,
        rows: NDArray[np.intp],
        silent: NDArray[np.float64],
        usual: NDArray[np.float64],
        *,
        stale: bool,
    ) -> None:
        seconds = zip(silent.round(3).tolist(), usual.round(3).tolist(), strict=True)
        for key, (silent_seconds, usual_seconds) in zip(
            self._memories.keys(rows.tolist()), seconds, strict=True
        ):
            self._publish(StalenessChange(key, stale, silent_seconds, usual_seconds))
