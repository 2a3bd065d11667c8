"""How long to wait before the next attempt; holds no timer.

Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): many clients that
lose the same broker must not come back in step.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waits that grow while a broker stays away.

    Args:
        seconds_min: the first wait is at most this.
        seconds_max: every later one at most this.
        refused_seconds_min: least wait where only a changed setting can help.
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
        """A connection stands; only one that lasts makes the waits short again."""
        self._connected = self._clock()

    def failed(self, *, lasting: bool = False) -> float:
        """An attempt failed or a connection ended.

        Args:
            lasting: no retry will help until somebody changes a setting.

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
