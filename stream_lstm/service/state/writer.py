"""The one thread that touches the state file, and what is written when.

Commits come in order, each durable before its future is done. Between them, changed memories are written
by the chunk (the checkpoint), so that the journal can be cut and a start is quick. A memory is written only
when the predictions of its last event have reached the broker: after a crash, the predictions that may not
have left are computed again by replay, and replay starts from what is written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import DiskFull, StateError
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.settings import StateSettings
from stream_lstm.service.state.recovery import RecoveredState
from stream_lstm.store.checkpoint import Record, Rows
from stream_lstm.store.database import Database
from stream_lstm.store.journal import Entry

FULL_RETRY_SECONDS = 1.0
LOG_BYTES_MAX = 33_554_432  # from here on the write-ahead log is emptied before its time
LOG_LOOK_SECONDS = 1.0
SLOW_SECONDS = 2.0  # a disk that takes longer for one write is an obstacle

R = TypeVar("R")
Confirm = Callable[[int], Awaitable[None]]


class StateWriter:
    """Commits entries and checkpoints memories, in a thread of its own.

    Attributes:
        trouble: why the disk does not take what it is given just now; None if it does.
        number: of the last entry handed in.
    """

    def __init__(
        self, database: Database, recovered: RecoveredState, settings: StateSettings, counters: Counters
    ) -> None:
        self._database = database
        self._memories = recovered.memories
        self._settings = settings
        self._counters = counters
        self._thread = ThreadPoolExecutor(1, "keeper")
        self._leaving = threading.Event()
        self._writing = asyncio.Lock()  # an older copy of a record must not follow a newer one
        self._throttle = Throttle(time.monotonic)
        self._written = recovered.written  # (rows,) the entry that each row's record on disk reflects
        self._begun: float | None = None  # when the thread began what it does now
        self.number = recovered.number
        self.disk_error: StateError | None = None
        self.state_bytes = database.size_bytes

    def commit(self, entry: Entry) -> asyncio.Future[None]:
        """Hand in an entry; the future is done when it is durable.

        A full disk holds it, and all that come after, until there is space (or the service leaves).
        """
        self.number = entry.number
        done = self._submit(self._commit, entry)
        done.add_done_callback(_seen)
        return done

    def _commit(self, entry: Entry) -> None:
        if self.disk_error:  # an entry before this one failed for good
            raise self.disk_error
        while True:
            begun = time.perf_counter()
            try:
                self._database.commit(entry)
            except DiskFull as error:
                self._hold(error)
                continue
            except StateError as error:
                self.disk_error = error
                raise
            self._counters.commit.add(time.perf_counter() - begun)
            self._counters.batch.add(len(entry.batch.streams))
            if self.disk_error:
                logger.warning("the disk accepts again")
                self.disk_error = None
            return

    def _hold(self, error: DiskFull) -> None:
        self.disk_error = error
        if self._throttle.allow("full") is not None:
            logger.error("the disk is full: holding the batch in hand, acknowledging nothing: %s", error)
        if self._leaving.wait(FULL_RETRY_SECONDS):
            raise error

    async def checkpoint(self, confirm: Confirm) -> int:
        """Write every memory that has changed since it was last written, and cut the journal.

        Args:
            confirm: waits until the predictions of an entry have reached the broker.

        Returns:
            How many memories were written.
        """
        begun, horizon = time.monotonic(), self.number
        changed = np.flatnonzero(self._memories.applied > self._written)
        await self._write(changed, confirm)
        await confirm(horizon)
        while await self._run(self._trim, horizon):
            pass  # some entries at a time, so that commits come between
        await self._flush_log()
        self._counters.checkpoint_seconds = time.monotonic() - begun
        self._counters.checkpoint_time = time.time()
        return len(changed)

    async def _write(self, changed: NDArray[np.intp], confirm: Confirm) -> None:
        """Write these rows, some at a time, so that commits come between."""
        memories, most = self._memories, self._settings.checkpoint_rows_max
        for start in range(0, len(changed), most):
            async with self._writing:
                rows = changed[start : start + most]
                rows = rows[memories.applied[rows] > self._written[rows]]  # not written or gone meanwhile
                # Copied together, here, where no batch is half applied.
                ids, applied, seen = memories.ids[rows], memories.applied[rows], memories.seen[rows]
                columns = ids.tolist(), applied.tolist(), seen.tolist(), memories.records(rows)
                await confirm(int(applied.max(initial=0)))
                await self._run(self._database.checkpoint, list(map(Record, *columns)))
                same = memories.ids[rows] == ids
                self._written[rows[same]] = applied[same]

    async def evict(self, rows: NDArray[np.intp], confirm: Confirm) -> int:
        """Write what has changed of these rows and let them go; returns how many went.

        A full disk is waited for: their streams can only go when they are on it.
        """
        while True:
            try:
                await self._write(rows, confirm)
                break
            except DiskFull as error:
                self.disk_error = error
                if self._leaving.is_set():
                    raise
                await asyncio.sleep(FULL_RETRY_SECONDS)
        if isinstance(self.disk_error, DiskFull):
            self.disk_error = None
        leaving = [row for row in rows.tolist() if self.is_written(row)]
        for row in leaving:
            self._memories.evict(self._memories.key(row))
            self._written[row] = 0
        return len(leaving)

    def is_written(self, row: int) -> bool:
        """Whether the disk has a row's record as it is now."""
        return bool(self._written[row] >= self._memories.applied[row])

    def note_written(self, row: int, entry: int) -> None:
        """A row's record came from the disk, where it reflects this entry."""
        self._written[row] = entry

    async def fetch(self, keys: Sequence[str]) -> Rows:
        """Those of these streams that are on disk."""
        return await self._run(self._database.rows_of, keys)

    async def silent(self, before: float, limit: int) -> list[tuple[int, str]]:
        """Streams on disk that were last heard of before this: numbers and keys."""
        return await self._run(self._database.silent, before, limit)

    async def forget(self, streams: Sequence[int]) -> None:
        """Drop streams from the disk for good."""
        await self._run(self._database.forget, streams)

    async def note_filters(self, filters: Sequence[str]) -> None:
        """Note what the broker's session of ours subscribes to."""
        await self._run(self._database.note_filters, filters)

    def _trim(self, horizon: int) -> int:
        history = self._settings.history_seconds
        before = time.time() - history if history else float("inf")
        return self._database.trim(horizon, before=before, bytes_max=self._settings.history_bytes_max)

    async def _flush_log(self) -> None:
        """The bulk beside the commits, the rest between two of them."""
        await asyncio.to_thread(self._database.checkpoint_wal)
        await self._run(self._database.checkpoint_wal)
        self.state_bytes = self._database.size_bytes

    async def checkpoint_for_ever(self, confirm: Confirm, after: Callable[[], Awaitable[object]]) -> None:
        """Checkpoint every `checkpoint_seconds`, and do what comes after; a full disk is tried again then."""
        due = time.monotonic() + self._settings.checkpoint_seconds
        while True:
            await asyncio.sleep(min(LOG_LOOK_SECONDS, max(due - time.monotonic(), 0.0)))
            try:
                if time.monotonic() < due:
                    if self._database.wal_bytes > LOG_BYTES_MAX:
                        await self._flush_log()
                    continue
                due = time.monotonic() + self._settings.checkpoint_seconds
                count = await self.checkpoint(confirm)
                await after()
            except DiskFull as error:
                self._counters.checkpoint_failures_total += 1
                if self._throttle.allow("checkpoint") is not None:
                    logger.error("no checkpoint: %s", error)
                continue
            logger.debug("checkpoint of %d memories", count)

    @property
    def obstacle(self) -> str | None:
        """Why nothing is acknowledged just now, if it is the disk's fault."""
        if self.disk_error:
            return str(self.disk_error)
        waiting = time.monotonic() - begun if (begun := self._begun) is not None else 0.0
        return f"the disk has not answered for {waiting:.0f} s" if waiting >= SLOW_SECONDS else None

    async def _run(self, call: Callable[..., R], *arguments: object) -> R:
        return await self._submit(call, *arguments)

    def _submit(self, call: Callable[..., R], *arguments: object) -> asyncio.Future[R]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._timed, call, arguments)

    def _timed(self, call: Callable[..., R], arguments: tuple[object, ...]) -> R:
        self._begun = time.monotonic()
        try:
            return call(*arguments)
        finally:
            self._begun = None

    async def close(self, *, cleanly: bool) -> None:
        """Let go of the file.

        Args:
            cleanly: everything was published and acknowledged, so nothing will come again.
        """
        self._leaving.set()
        if cleanly:
            await self._run(self._database.close_cleanly)
        await self._run(self._database.close)
        self._thread.shutdown()


def _seen(done: asyncio.Future[None]) -> None:
    """The first failure ends the line; those behind it need no telling."""
    if not done.cancelled():
        done.exception()
