"""Silence: how long a stream has had no event while the service could hear it.

A sensor cannot be heard while the service is stopped or not connected, and a clock that is set ahead makes
nobody silent. Such time extends `limits.stream_ttl_seconds`: it is added up, also that since the last event
before the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable


class SilenceClock:
    """Adds up the seconds in which nothing could be heard.

    Args:
        newest: arrival of the newest event on disk, epoch seconds; None: there is none.
        wall_clock: epoch seconds.
        clock: seconds, monotonic.
        connected_since: start of the present connection, epoch seconds; NaN without one.

    Attributes:
        deaf_seconds: since the newest event before the start.
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
        self.deaf_seconds = max(self._wall - newest, 0.0) if newest is not None else 0.0

    def before(self, silent_seconds: float) -> float:
        """Streams whose last event came before this, epoch seconds, have been silent for so long."""
        self._listen()
        return self._wall - silent_seconds - self.deaf_seconds

    def _listen(self) -> None:
        """Add what passed since the last call, and could not be heard."""
        wall, time, since = self._wall_clock(), self._clock(), self._connected_since()
        heard = 0.0
        if not math.isnan(since):
            begun = max(since, self._wall) if since <= wall else self._wall  # later: the clock was set back
            heard = min(max(wall - begun, 0.0), time - self._time)
        self.deaf_seconds += max(wall - self._wall - heard, 0.0)
        self._wall, self._time = wall, time
