"""Silence: how long a stream has had no event while the service could receive one.

The service receives nothing while it is stopped or not connected. That time does not count, nor does time by
which the system clock is set ahead: both are added to `limits.stream_ttl_seconds`. At the start, the time
since the newest event on disk is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable


class SilenceClock:
    """Adds up the seconds in which the service could not receive events.

    Args:
        newest: arrival of the newest event on disk, epoch seconds; None: there is none.
        wall_clock: epoch seconds.
        clock: seconds, monotonic.
        connected_since: start of the present connection, epoch seconds; NaN without one.

    Attributes:
        missed_seconds: seconds in which it could not, since the newest event before the start.
    """

    def __init__(
        self,
        newest: float | None,
        *,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        connected_since: Callable[[], float],
    ) -> None:
        self._wall_clock, self._clock = wall_clock, clock
        self._connected_since = connected_since
        self._wall, self._time = wall_clock(), clock()
        self.missed_seconds = max(self._wall - newest, 0.0) if newest is not None else 0.0

    def before(self, silent_seconds: float) -> float:
        """Streams whose last event came before this, epoch seconds, have been silent for so long."""
        self._update()
        return self._wall - silent_seconds - self.missed_seconds

    def _update(self) -> None:
        """Add the seconds since the last call in which it could not."""
        wall, time, since = self._wall_clock(), self._clock(), self._connected_since()
        connected = 0.0
        if not math.isnan(since):
            begun = max(since, self._wall) if since <= wall else self._wall  # later: the clock was set back
            connected = min(max(wall - begun, 0.0), time - self._time)
        self.missed_seconds += max(wall - self._wall - connected, 0.0)
        self._wall, self._time = wall, time
