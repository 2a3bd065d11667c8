"""What looking may cost: a share of the time, saved up to a bound.

All who look pay from one purse, so that however many there are and whatever they ask for, the line keeps
nearly all of its core. Who comes when it is empty waits, and is sent away if that would take too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.05  # of the time, in all
SAVED_SECONDS_MAX = 0.5
PATIENCE_SECONDS = 5.0


class Busy(Exception):
    """Others look so much that this would have to wait for long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too much is asked at once; try again in {seconds:.0f} s")
        self.seconds = seconds


class Purse:
    """Fills with time, and is spent from.

    Attributes:
        spent: seconds, in all.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._left = SAVED_SECONDS_MAX
        self._filled = clock()
        self.spent = 0.0

    def spend(self, seconds: float) -> None:
        """Take out what something took; it may be more than is there."""
        self._left = min(self._left + (self._clock() - self._filled) * SHARE, SAVED_SECONDS_MAX) - seconds
        self._filled = self._clock()
        self.spent += seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Take out what is done inside, which does not wait for anything."""
        begun = self._clock()
        try:
            yield
        finally:
            self.spend(self._clock() - begun)

    async def afford(self) -> None:
        """Wait until there is something in it.

        Raises:
            Busy: that would take too long.
        """
        self.spend(0.0)
        if self._left < 0.0:
            seconds = -self._left / SHARE
            if seconds > PATIENCE_SECONDS:
                raise Busy(seconds)
            await asyncio.sleep(seconds)
