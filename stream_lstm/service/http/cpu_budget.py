"""What looking may cost: a share of the time, saved up to a bound.

All who look pay from one purse, so that however many there are and whatever they ask for, the line keeps
nearly all of its core. They come one after another, so that the line has its turn between them; who comes
when the purse is empty waits, and is sent away if that would take too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.05  # of the time, in all
SAVED_SECONDS_MAX = 0.5
PATIENCE_SECONDS = 5.0


class BudgetExhausted(Exception):
    """Others look so much that this would have to wait for long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too much is asked at once; try again in {seconds:.0f} s")
        self.seconds = seconds


class CpuBudget:
    """Fills with time, and is spent from.

    Args:
        clock: seconds, by which it fills.
        meter: seconds of the processor that this thread has had: where others keep it busy, who looks pays
            no more for it.

    Attributes:
        spent: seconds, in all.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        meter: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock = clock
        self._meter = meter
        self._turn = asyncio.Lock()
        self._left = SAVED_SECONDS_MAX
        self._filled = clock()
        self.spent = 0.0

    def spend(self, seconds: float) -> None:
        """Take out what something took; it may be more than is there."""
        now = self._clock()
        self._left = min(self._left + (now - self._filled) * SHARE, SAVED_SECONDS_MAX) - seconds
        self._filled = now
        self.spent += seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Take out what is done inside, which does not wait for anything."""
        begun = self._meter()
        try:
            yield
        finally:
            self.spend(self._meter() - begun)

    @property
    def owed_seconds(self) -> float:
        """How long it takes until there is something in it again."""
        self.spend(0.0)
        return max(-self._left / SHARE, 0.0)

    async def afford(self) -> None:
        """Wait until there is something in it, and all who came before have had their turn.

        Raises:
            Busy: that would take too long.
        """
        if (owed := self.owed_seconds) > PATIENCE_SECONDS:
            raise BudgetExhausted(owed)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._turn:
                await asyncio.sleep(0)
                while (owed := self.owed_seconds) > 0.0:  # noqa: ASYNC110 (others spend meanwhile)
                    await asyncio.sleep(owed)
        except TimeoutError:
            raise BudgetExhausted(max(self.owed_seconds, 1.0)) from None
