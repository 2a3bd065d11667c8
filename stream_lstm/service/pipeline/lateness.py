"""What becomes of events that come too late, or twice at one time; only where an operator asks for it.

Who is refused leaves no trace in memory. Ten refused in a row are believed: then the sensor's clock has been
set back (`stream_lstm.core.trackers.event_time` does the same).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.event_time import LATE_IN_A_ROW_MAX
from stream_lstm.errors import PayloadError
from stream_lstm.events import CLOCK_BITS, Clock, Events
from stream_lstm.service.settings import TimeSettings


class LatenessFilter:
    """Refuses events by their time.

    Args:
        memories: say when each stream's newest event was.
    """

    def __init__(self, settings: TimeSettings, memories: Memories) -> None:
        self._late_max = settings.late_seconds_max
        self._refuse_repeated = settings.repeated == "reject"
        self._memories = memories
        self._behind: dict[int, int] = {}  # by row, how many were refused in a row

    @property
    def enabled(self) -> bool:
        """Whether there is anything to refuse."""
        return self._late_max is not None or self._refuse_repeated

    def rejected(self, events: Events, rows: NDArray[np.intp]) -> dict[int, PayloadError]:
        """Which events of a batch are refused, by their place in it, and why."""
        times, counts = (self._memories.column(name, rows).tolist() for name in ("time", "seq"))
        newest = dict(zip(rows.tolist(), zip(times, counts, strict=True), strict=True))
        out: dict[int, PayloadError] = {}
        for n, (row, time, mark) in enumerate(zip(rows.tolist(), events.times, events.marks, strict=True)):
            last, seq = newest[row]
            if mark & CLOCK_BITS != Clock.EVENT:
                continue
            problem = self._problem(row, time, last) if seq else None
            if problem:
                out[n] = problem
            else:
                newest[row] = max(last, time), seq + 1
        return out

    def _problem(self, row: int, time: float, last: float) -> PayloadError | None:
        if self._refuse_repeated and time == last:
            return PayloadError("repeated", "an event of this stream has this time already")
        if self._late_max is None or last - time <= self._late_max:
            self._behind.pop(row, None)
            return None
        behind = self._behind[row] = self._behind.get(row, 0) + 1
        if behind > LATE_IN_A_ROW_MAX:
            return None
        return PayloadError("late", f"{last - time:.3f} s older than the newest event of its stream")
