"""A deterministic event loop: the clock jumps to the next timer, and thread timing is drawn from the seed."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from typing import Any


class Stuck(Exception):
    """Deadlock: every task waits, and no timer is due."""


class _Jumping(selectors.SelectSelector):
    """A selector that never waits: the clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.now += max(timeout, 0.0)
        return []


class SimLoop(asyncio.SelectorEventLoop):
    """Runs calls for an executor in the loop itself, later, and in order for each executor.

    Attributes:
        crashed: set by the world; from then on no call runs in an executor.
        network: opens connections; None: there is none.
    """

    def __init__(self, draw: random.Random) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._draw = draw
        self._free_at: dict[Any, float] = {}
        self.crashed = False
        self.network: Any = None

    def time(self) -> float:
        return self._jumping.now

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        return await self.network.connect(protocol_factory)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        if self.crashed:
            raise RuntimeError("the process has ended")
        done = self.create_future()
        start = max(self._free_at.get(executor, 0.0), self.time()) + self._draw.expovariate(500.0)
        self._free_at[executor] = start
        self.call_at(start, self._run, done, func, args)
        return done

    def _run(self, done: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.crashed:
            return
        try:
            result = func(*args)
        except Exception as error:
            if not done.cancelled():
                done.set_exception(error)
        else:
            if not done.cancelled():
                done.set_result(result)


class SimDiskThread:
    """Has the simulated loop make the calls of a `DiskThread`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def submit(self, call: Callable[..., Any], *arguments: object) -> Any:
        return asyncio.get_running_loop().run_in_executor(self, call, *arguments)  # type: ignore[arg-type]

    def end(self) -> None:
        """There is no thread."""
