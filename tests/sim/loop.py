"""An event loop whose clock jumps, and whose threads are drawn by lot: one seed, one course of events."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from typing import Any


class Stuck(Exception):
    """Everybody waits, and nothing is due."""


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: the clock goes straight to what is due next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.now += max(timeout, 0.0)
        return []


class SimLoop(asyncio.SelectorEventLoop):
    """Runs what is meant for a thread within itself, later, and one after another for each thread.

    Attributes:
        crashed: set by the world; from then on no thread does anything.
    """

    def __init__(self, draw: random.Random) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._draw = draw
        self._free_at: dict[int, float] = {}
        self.crashed = False

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        start = max(self._free_at.get(id(executor), 0.0), self.time()) + self._draw.expovariate(500.0)
        self._free_at[id(executor)] = start
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
