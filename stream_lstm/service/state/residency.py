"""The streams' life: met, in memory, on disk while silent, back with their next event, forgotten.

Memory holds about `limits.streams_max` streams. When more are known, those that were silent for longest wait
on disk: written like in a checkpoint, so bit for bit, and fetched when an event of theirs comes. New streams
are let in at a limited rate, so that a flood of new names (an attack, a typo in a template) costs those
names, not the streams that are known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import PayloadError
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.settings import Limits
from stream_lstm.service.state.recovery import RecoveredState
from stream_lstm.service.state.writer import StateWriter

BURST_SECONDS = 60.0  # so much of the rate may be used at once
EVICTED_SHARE = 0.01  # of memory, at once, so that one write serves many
FORGOTTEN_AT_ONCE_MAX = 4_096
TOO_MANY_NEW = "more new streams at once than limits.new_streams_per_second lets in"


class StoredStream(NamedTuple):
    """A stream on disk: its number, the entry that its record reflects, when it was last heard of."""

    stream: int
    entry: int
    seen: float
    record: bytes


class TokenBucket:
    """How many new streams may come: a bucket that fills with time."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most = max(per_second * BURST_SECONDS, 1.0)
        self._left = self._most
        self._filled = clock()

    def take(self, count: int) -> int:
        """How many of these are let in."""
        now = self._clock()
        self._left = min(self._left + (now - self._filled) * self._per_second, self._most)
        self._filled = now
        taken = min(count, int(self._left))
        self._left -= taken
        return taken


class Residency:
    """Finds the row of every event's stream, and makes room.

    Args:
        restored: memories, and the number of the next new stream.
        confirm: waits until the predictions of an entry have reached the broker.
        clock: seconds, monotonic.

    Attributes:
        on_disk: how many streams wait on disk.
    """

    def __init__(
        self,
        recovered: RecoveredState,
        state_writer: StateWriter,
        limits: Limits,
        counters: Counters,
        *,
        confirm: Callable[[int], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memories = recovered.memories
        self._state_writer = state_writer
        self._counters = counters
        self._confirm = confirm
        self._streams_max = limits.streams_max
        self._next_stream = recovered.next_stream
        self._allowance = TokenBucket(limits.new_streams_per_second, clock)
        self._moving = asyncio.Lock()  # streams come and go one call at a time
        self.on_disk = recovered.on_disk

    async def admit(self, keys: Iterable[str]) -> tuple[list[tuple[int, str]], dict[str, PayloadError]]:
        """Bring every stream of these into memory, from disk or for the first time.

        Returns:
            The new ones, number and key, and why each of those that did not come in was refused.
        """
        async with self._moving:
            wanted = list(dict.fromkeys(keys))
            rows = self._memories.rows(wanted)
            missing = [key for key, row in zip(wanted, rows, strict=True) if row is None]
            known = await self._fetch(missing)
            new = [key for key in missing if key not in known]
            let_in = self._allowance.take(len(new))
            refused = {key: PayloadError("new_streams", TOO_MANY_NEW) for key in new[let_in:]}
            busy = np.array([row for row in rows if row is not None], np.intp)
            await self._make_room(len(known) + let_in, busy)
            return self._enter(known, new[:let_in], refused), refused

    async def _fetch(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """Those of these streams that wait on disk."""
        if not self.on_disk:
            return {}
        rows = await self._state_writer.fetch(keys)
        size = self._memories.row_type.itemsize
        records = (rows.records[n * size : (n + 1) * size] for n in range(len(rows.keys)))
        found = zip(rows.ids.tolist(), rows.entries.tolist(), rows.seen.tolist(), records, strict=True)
        return {key: StoredStream(*row) for key, row in zip(rows.keys, found, strict=True)}

    def _enter(
        self, known: dict[str, StoredStream], new: Sequence[str], refused: dict[str, PayloadError]
    ) -> list[tuple[int, str]]:
        """Give rows to those that come; whoever finds none is refused."""
        memories, named = self._memories, []
        for key, waiting in known.items():
            try:
                row = memories.restore(key, waiting.stream, waiting.record)
            except PayloadError as error:
                refused[key] = error.without_traceback()
                continue
            memories.applied[row], memories.seen[row] = waiting.entry, waiting.seen
            self._state_writer.note_written(row, waiting.entry)
            self._counters.fetched_total += 1
            self.on_disk -= 1
        for key in new:
            try:
                memories.admit(key, self._next_stream)
            except PayloadError as error:
                refused[key] = error.without_traceback()
                continue
            named.append((self._next_stream, key))
            self._next_stream += 1
        return named

    async def _make_room(self, count: int, busy: NDArray[np.intp]) -> None:
        """Send the longest silent to disk, until there is room for so many more, or none is left to go."""
        memories = self._memories
        over = len(memories) + count - self._streams_max
        if over <= 0:
            return
        rows = np.setdiff1d(memories.taken(), busy, assume_unique=True)
        leaving = min(max(over, int(self._streams_max * EVICTED_SHARE)), len(rows))
        if leaving:
            oldest = np.argpartition(memories.applied[rows], leaving - 1)[:leaving]
            gone = await self._state_writer.evict(rows[oldest], self._confirm)
            self._counters.evicted_total += gone
            self.on_disk += gone

    async def forget(self, before: float) -> int:
        """Drop streams that were last heard of before this, epoch seconds; returns how many."""
        total = 0
        while True:
            async with self._moving:
                gone = self._out_of_memory(
                    await self._state_writer.silent(before, FORGOTTEN_AT_ONCE_MAX), before
                )
                if not gone:
                    return total
                await self._state_writer.forget(gone)
            total += len(gone)
            self._counters.forgotten_total += len(gone)

    def _out_of_memory(self, silent: Sequence[tuple[int, str]], before: float) -> list[int]:
        """The numbers of those that are to be forgotten; those in memory leave it."""
        gone = []
        for stream, key in silent:
            (row,) = self._memories.rows([key])
            if row is None:
                self.on_disk -= 1
            elif self._memories.seen[row] >= before or not self._state_writer.is_written(row):
                continue  # heard of since that record was written, or somebody has yet to hear its prediction
            else:
                self._memories.evict(key)
                self._state_writer.note_written(row, 0)
            gone.append(stream)
        return gone
