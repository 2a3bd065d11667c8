"""Exponential back-off with full jitter between connection attempts; holds no timer.

Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015) keeps the many clients
of a lost broker from reconnecting in step.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Wait before the next connection attempt, longer after each failure.

    Args:
        seconds_min: upper bound of the first wait.
        seconds_max: upper bound of all later waits.
        refused_seconds_min: shortest wait after a failure that only a changed setting can cure.
        random: draws the jitter.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        seconds_min: float,
        seconds_max: float,
        refused_seconds_min: float,
        random: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._refused_seconds_min = refused_seconds_min
        self._random = random
        self._clock = clock
        self._ceiling = seconds_min
        self._connected: float | None = None

    def connected(self) -> None:
        """Note a new connection; the waits become short again only if it lasts for `seconds_max`."""
        self._connected = self._clock()

    def failed(self, *, lasting: bool = False) -> float:
        """Note a failed attempt or the end of a connection.

        Args:
            lasting: no retry helps until a setting changes.

        Returns:
            Seconds to wait before the next attempt.
        """
        if self._connected is not None and self._clock() - self._connected >= self._seconds_max:
            self._ceiling = self._seconds_min
        self._connected = None
        if lasting:
            return self._random.uniform(1, 2) * max(self._refused_seconds_min, self._seconds_max)
        ceiling, self._ceiling = self._ceiling, min(self._ceiling * 2, self._seconds_max)
        return self._random.uniform(0, ceiling)
