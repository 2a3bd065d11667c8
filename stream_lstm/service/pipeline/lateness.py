"""Lateness: rejects late events, and repeated event times, where the operator asks for it (`[time]`).

A rejected event changes nothing. After ten late events in a row a stream's events are accepted again: then
its sensor's clock has been set back. `core.trackers.event_time` counts the accepted ones in the same way.
Counts are kept by the streams' numbers: a row may hold another stream by the next batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.event_time import LATE_IN_A_ROW_MAX
from stream_lstm.errors import PayloadError
from stream_lstm.events import CLOCK_BITS, Clock, Events
from stream_lstm.service.settings import TimeSettings

COUNTED_STREAMS_MAX = 100_000  # bounds memory; to forget the counts costs each stream ten rejections more


class LatenessFilter:
    """Rejects events by their event time.

    Args:
        memories: hold the event time of each stream's newest event.
    """

    def __init__(self, settings: TimeSettings, memories: Memories) -> None:
        self._late_seconds_max = settings.late_seconds_max
        self._reject_repeated = settings.repeated == "reject"
        self._memories = memories
        self._late_in_a_row: dict[int, int] = {}  # by number of the stream

    @property
    def enabled(self) -> bool:
        """True if the settings reject any event."""
        return self._late_seconds_max is not None or self._reject_repeated

    def rejected(self, events: Events, rows: NDArray[np.intp]) -> dict[int, PayloadError]:
        """The events of a batch that are rejected, by position, and why."""
        times, counts = (self._memories.column(name, rows).tolist() for name in ("event_time.time", "seq"))
        streams = self._memories.ids[rows].tolist()
        newest = dict(zip(streams, zip(times, counts, strict=True), strict=True))
        if len(self._late_in_a_row) > COUNTED_STREAMS_MAX:
            self._late_in_a_row.clear()
        out: dict[int, PayloadError] = {}
        for n, (stream, time, mark) in enumerate(zip(streams, events.times, events.marks, strict=True)):
            last, seq = newest[stream]
            if mark & CLOCK_BITS != Clock.EVENT:
                continue
            problem = self._problem(stream, time, last) if seq else None
            if problem:
                out[n] = problem
            else:
                newest[stream] = max(last, time), seq + 1
        return out

    def _problem(self, stream: int, time: float, last: float) -> PayloadError | None:
        if self._reject_repeated and time == last:
            return PayloadError("repeated", "an event of this stream has this time already")
        if self._late_seconds_max is None or last - time <= self._late_seconds_max:
            self._late_in_a_row.pop(stream, None)
            return None
        late = self._late_in_a_row[stream] = self._late_in_a_row.get(stream, 0) + 1
        if late > LATE_IN_A_ROW_MAX:
            return None
        return PayloadError("late", f"{last - time:.3f} s older than the newest event of its stream")
