"""Residency: which streams are in memory and which are on disk; admission, eviction, expiry.

Memory holds about `limits.streams_max` streams. Where more are known, those whose last event is oldest are
evicted: written as in a checkpoint, so bit for bit, and read back with their next event. New streams are
admitted at a limited rate (token bucket): the ones above it are rejected, and known streams are unaffected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import PayloadError, StateError
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.settings import Limits
from stream_lstm.service.state.recovery import RecoveredState
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.service.token_bucket import TokenBucket
from stream_lstm.store.entry import STREAM_NUMBER_MAX

BURST_SECONDS = 60.0  # of the rate: a plant that starts up brings all its streams within a minute
EVICTED_SHARE = 0.01  # of memory, at once, so that one write serves many
EXPIRED_AT_ONCE_MAX = 4_096  # the next commit waits for no longer a transaction than this
NO_NUMBERS = f"all {STREAM_NUMBER_MAX:,} numbers of streams have been given: start with a new state file"
TOO_MANY_NEW = "more new streams at once than limits.new_streams_per_second admits"


class StoredStream(NamedTuple):
    """A stream on disk: its number, the entry its record reflects, arrival of its last event, its record."""

    stream: int
    entry: int
    seen: float
    record: bytes


class Residency:
    """Brings the streams of events into memory, and makes space for them.

    Args:
        recovered: the memories, their registry, and the number of the next new stream.
        confirm: waits until the predictions of an entry have reached the broker.
        clock: seconds, monotonic.

    Attributes:
        on_disk: streams that are known and not in memory.
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
        self._registry = recovered.registry
        self._state_writer = state_writer
        self._counters = counters
        self._confirm = confirm
        self._streams_max = limits.streams_max
        self._next_stream = recovered.next_stream
        rate = limits.new_streams_per_second
        self._new_streams = TokenBucket(rate, max(rate * BURST_SECONDS, 1.0), clock)
        self._moving = asyncio.Lock()  # one call at a time moves streams
        self.on_disk = recovered.on_disk

    async def admit(self, keys: Iterable[str]) -> tuple[list[tuple[int, str]], dict[str, PayloadError]]:
        """Bring every stream of these into memory, from disk or for the first time.

        Returns:
            The new ones, number and key, and for each stream that was not admitted why.
        """
        async with self._moving:
            wanted = list(dict.fromkeys(keys))
            rows = self._memories.rows(wanted)
            missing = [key for key, row in zip(wanted, rows, strict=True) if row is None]
            known = await self._fetch(missing)
            new = [key for key in missing if key not in known]
            admitted = self._new_streams.take(len(new))
            rejected = {key: PayloadError("new_streams", TOO_MANY_NEW) for key in new[admitted:]}
            busy = np.array([row for row in rows if row is not None], np.intp)
            await self._make_space(len(known) + admitted, busy)
            return self._enter(known, new[:admitted], rejected), rejected

    async def _fetch(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """The given streams that are on disk."""
        if not self.on_disk:
            return {}
        rows = await self._state_writer.fetch(keys)
        size = self._memories.record_bytes
        records = (rows.records[n * size : (n + 1) * size] for n in range(len(rows.keys)))
        found = zip(rows.ids.tolist(), rows.entries.tolist(), rows.seen.tolist(), records, strict=True)
        return {key: StoredStream(*row) for key, row in zip(rows.keys, found, strict=True)}

    def _enter(
        self, known: dict[str, StoredStream], new: Sequence[str], rejected: dict[str, PayloadError]
    ) -> list[tuple[int, str]]:
        """Give each stream a row; those for which none is free are added to `rejected`."""
        memories, new_streams = self._memories, []
        for key, stored in known.items():
            try:
                row = memories.restore(key, stored.stream, stored.record)
            except PayloadError as error:
                rejected[key] = error.without_traceback()
                continue
            self._registry.record_read(row, stored.entry, stored.seen)
            self._counters.fetched_total += 1
            self.on_disk -= 1
        for key in new:
            if self._next_stream > STREAM_NUMBER_MAX:
                rejected[key] = PayloadError("streams_max", NO_NUMBERS)
                continue
            try:
                memories.add(key, self._next_stream)
            except PayloadError as error:
                rejected[key] = error.without_traceback()
                continue
            new_streams.append((self._next_stream, key))
            self._next_stream += 1
        return new_streams

    async def _make_space(self, count: int, busy: NDArray[np.intp]) -> None:
        """Evict the streams whose last event is oldest, until this many more have space or none is left."""
        memories = self._memories
        over = len(memories) + count - self._streams_max
        if over <= 0:
            return
        rows = np.setdiff1d(memories.taken(), busy, assume_unique=True)
        leaving = min(max(over, int(self._streams_max * EVICTED_SHARE)), len(rows))
        if leaving:
            oldest = np.argpartition(self._registry.applied[rows], leaving - 1)[:leaving]
            evicted = await self._state_writer.evict(rows[oldest], self._confirm)
            self._counters.evicted_total += evicted
            self.on_disk += evicted

    async def expire(self, before: float) -> int:
        """Forget streams whose last event arrived before this, epoch seconds; returns how many."""
        total = 0
        while True:
            async with self._moving:
                expired = await self._state_writer.last_seen_before(before, EXPIRED_AT_ONCE_MAX)
                gone = self._leave_memory(expired, before)
                if not gone:
                    return total
                try:
                    await self._state_writer.delete(gone)
                except StateError:
                    self.on_disk += len(gone)  # they stay there
                    raise
            total += len(gone)
            self._counters.forgotten_total += len(gone)

    def _leave_memory(self, expired: Sequence[tuple[int, str]], before: float) -> list[int]:
        """The numbers of those that are to be forgotten; those in memory leave it."""
        gone = []
        for stream, key in expired:
            (row,) = self._memories.rows([key])
            if row is None:
                self.on_disk -= 1
            elif self._registry.seen[row] >= before or not self._registry.is_written(row):
                continue  # it has had an event since, or the prediction of its last event is not confirmed
            else:
                self._memories.remove(key)
                self._registry.clear(row)
            gone.append(stream)
        return gone
