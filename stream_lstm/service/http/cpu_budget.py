"""CPU budget of the HTTP API: a token bucket of processor seconds that all clients share.

However many clients ask, and whatever they ask for, the pipeline keeps nearly all of its core. Requests take
turns, and the event loop runs other tasks between two of them. A request that finds the budget overdrawn
waits; one that would wait too long is rejected, with the time to try again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from stream_lstm.service.token_bucket import TokenBucket

SHARE = 0.05  # of a core: the API may slow the pipeline by a twentieth at most
SAVED_SECONDS_MAX = 0.5  # after a pause: the page opens at once, and the pipeline is delayed no longer
WAIT_SECONDS_MAX = 5.0  # a person waits that long for a page; a client that waits longer has often left


class BudgetExhausted(Exception):
    """The budget is overdrawn, and a request would wait too long for it.

    Attributes:
        seconds: time until it is no longer overdrawn.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the API's CPU budget is used up; try again in {seconds:.0f} s")
        self.seconds = seconds


class CpuBudget:
    """Processor seconds, which requests spend and time refills.

    Args:
        clock: seconds, monotonic.
        meter: processor seconds of this thread; time in which other threads ran does not count.
        sleep: waits for so many seconds.

    Attributes:
        spent: processor seconds since the start.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        meter: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bucket = TokenBucket(SHARE, SAVED_SECONDS_MAX, clock)
        self._meter = meter
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self.spent = 0.0

    def spend(self, seconds: float) -> None:
        """Charge processor seconds; the budget may become overdrawn."""
        self._bucket.spend(seconds)
        self.spent += seconds

    @contextmanager
    def charged(self) -> Iterator[None]:
        """Charge the processor time of the block, which must not await."""
        begun = self._meter()
        try:
            yield
        finally:
            self.spend(self._meter() - begun)

    async def acquire(self) -> None:
        """Wait for this request's turn, and until the budget is no longer overdrawn.

        Raises:
            BudgetExhausted: that takes longer than `WAIT_SECONDS_MAX`.
        """
        if (overdrawn := self._bucket.overdrawn_seconds) > WAIT_SECONDS_MAX:
            raise BudgetExhausted(overdrawn)
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX), self._turn:
                await self._sleep(0)
                while (overdrawn := self._bucket.overdrawn_seconds) > 0.0:  # others spend meanwhile
                    await self._sleep(overdrawn)
        except TimeoutError:
            raise BudgetExhausted(max(self._bucket.overdrawn_seconds, 1.0)) from None
