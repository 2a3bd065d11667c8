"""The state writer: the one thread that touches the state file, and the order in which it writes.

Commits come in order, each durable before its future is done. Between them, changed records are written in
chunks (the checkpoint), so that the journal can be trimmed and a start is quick. A record is written only
when the predictions of its last event have reached the broker: after a crash, predictions that may not have
reached it are made again by replay, and replay starts from what is written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import DiskFailed, DiskFull, StateError
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.settings import StateSettings
from stream_lstm.service.state.disk_thread import DiskThread
from stream_lstm.service.state.recovery import RecoveredState
from stream_lstm.store.checkpoint import Rows, StoredRecord
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry, encode
from stream_lstm.store.faults import corrupt
from stream_lstm.store.progress import Progress

FULL_RETRY_SECONDS = 1.0  # space is freed by people and cron jobs, not within milliseconds
WAL_BYTES_MAX = 33_554_432  # from here on it is checkpointed early: a long WAL makes reads and starts slow
WAL_CHECK_SECONDS = 1.0  # often enough to keep it near that limit at full load
WAL_LARGE_BYTES = 8 * WAL_BYTES_MAX  # something that reads the file holds the log back: worth a warning
FILES_CHECK_SECONDS = 1.0  # each commit checks the files, too; without one, a loss is noticed this soon
SLOW_SECONDS = 2.0  # an fsync takes milliseconds; a disk that needs longer is reported on /readyz

R = TypeVar("R")
Confirm = Callable[[int], Awaitable[None]]


class StateWriter:
    """Commits entries and checkpoints records, in a thread of its own.

    Args:
        clock: seconds, monotonic.
        wall_clock: epoch seconds.

    Attributes:
        number: of the last entry handed in.
        disk_error: why the disk accepts nothing at present; None if it does.
        state_bytes: size of the state on disk after the last checkpoint.
    """

    def __init__(
        self,
        database: Database,
        recovered: RecoveredState,
        settings: StateSettings,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._memories = recovered.memories
        self._registry = recovered.registry
        self._settings = settings
        self._counters = counters
        self._clock = clock
        self._wall_clock = wall_clock
        self._thread = DiskThread("state-writer")
        # Not the event loop's executor: at its end the loop waits for that, however long the disk takes.
        self._wal_thread = DiskThread("wal-checkpoint")
        self._closing = threading.Event()
        self._writing = asyncio.Lock()  # an older copy of a record must not follow a newer one
        self._throttle = Throttle(clock)
        self._noting = False  # progress, soon
        self._call_started: float | None = None  # of the call that the thread is in
        self.number = recovered.number
        self.disk_error: StateError | None = None
        self.state_bytes = database.size_bytes

    def commit(self, entry: Entry) -> asyncio.Future[None]:
        """Hand in an entry; the future is done when it is durable.

        A full disk holds it, and all later ones, until there is space or the service closes.
        """
        self.number = entry.number
        # Encoded here: while the thread does so, this one would wait for the interpreter's lock.
        done = self._submit(self._commit, entry, encode(entry))
        done.add_done_callback(_retrieve_exception)
        return done

    def _commit(self, entry: Entry, encoded: bytes) -> None:
        if self.disk_error:  # an earlier entry failed finally
            raise self.disk_error
        while True:
            started = self._clock()
            try:
                self._database.commit(entry, encoded)
            except DiskFull as error:
                self._wait_for_space(error)
                continue
            except StateError as error:
                self.disk_error = error
                raise
            self._counters.commit.add(self._clock() - started)
            self._counters.batch.add(len(entry.batch.streams))
            if self.disk_error:
                logger.warning("disk writable again, resuming")
                self.disk_error = None
            return

    def _wait_for_space(self, error: DiskFull) -> None:
        self.disk_error = error
        if self._throttle.allow("full") is not None:
            logger.error("disk full: holding the current batch, acknowledging nothing: %s", error)
        if self._closing.wait(FULL_RETRY_SECONDS):
            raise error

    async def checkpoint(self, confirm: Confirm) -> int:
        """Write every record that has changed since it was last written, and trim the journal.

        Args:
            confirm: waits until the predictions of an entry have reached the broker.

        Returns:
            How many records were written.
        """
        started, horizon = self._clock(), self.number
        changed = self._registry.unwritten()
        await self._write(changed, confirm)
        await confirm(horizon)
        while await self._run(self._trim, horizon):
            pass  # some entries at a time, so that commits come between
        await self._checkpoint_wal()
        self._counters.checkpoint_seconds = self._clock() - started
        self._counters.checkpoint_time = self._wall_clock()
        return len(changed)

    async def _write(self, changed: NDArray[np.intp], confirm: Confirm) -> None:
        """Write these rows in chunks, so that commits come between."""
        memories, registry, most = self._memories, self._registry, self._settings.checkpoint_rows_max
        for start in range(0, len(changed), most):
            async with self._writing:
                rows = changed[start : start + most]
                rows = rows[~registry.is_written(rows)]  # not written or evicted meanwhile
                # Copied together, here, where no batch is half applied.
                ids, applied, seen = memories.ids[rows], registry.applied[rows], registry.seen[rows]
                columns = ids.tolist(), applied.tolist(), seen.tolist(), memories.records(rows)
                await confirm(int(applied.max(initial=0)))
                await self._run(self._database.checkpoint, list(map(StoredRecord, *columns)))
                same = memories.ids[rows] == ids
                registry.record_written(rows[same], applied[same])

    async def evict(self, rows: NDArray[np.intp], confirm: Confirm) -> int:
        """Write what has changed of these rows, and free them; returns how many were freed.

        A full disk is waited for: a stream can leave memory only when its record is on disk.
        """
        while True:
            try:
                await self._write(rows, confirm)
                break
            except DiskFull as error:
                self.disk_error = error
                if self._closing.is_set():
                    raise
                await asyncio.sleep(FULL_RETRY_SECONDS)
        if isinstance(self.disk_error, DiskFull):
            self.disk_error = None
        leaving = rows[self._registry.is_written(rows)].tolist()
        for row in leaving:
            self._memories.remove(self._memories.key(row))
            self._registry.clear(row)
        return len(leaving)

    async def fetch(self, keys: Sequence[str]) -> Rows:
        """The given streams that are on disk.

        Raises:
            StateCorrupt: one is damaged, or has no record: no stream leaves memory without.
        """
        rows = await self._run(self._database.rows_of, keys)
        if not rows.entries.all():
            missing = rows.keys[int(rows.entries.argmin())]
            raise corrupt(str(self._database.path), f"the record of {missing!r} is missing")
        return rows

    async def last_seen_before(self, before: float, limit: int) -> list[tuple[int, str]]:
        """Numbers and keys of streams on disk whose last event arrived before this, epoch seconds."""
        return await self._run(self._database.last_seen_before, before, limit)

    async def delete(self, streams: Sequence[int]) -> None:
        """Delete streams from the disk."""
        await self._run(self._database.delete, streams)

    async def note_filters(self, filters: Sequence[str]) -> None:
        """Note the topic filters that our session at the broker subscribes to."""
        await self._run(self._database.note_filters, filters)

    def note_progress(self, progress: Callable[[], Progress]) -> None:
        """Write, soon, how far the broker has publications and acknowledgements; returns at once."""
        if not self._noting:
            self._noting = True
            self._submit(self._note_progress, progress).add_done_callback(_retrieve_exception)

    def _note_progress(self, progress: Callable[[], Progress]) -> None:
        self._noting = False
        self._database.note_progress(progress())

    def _trim(self, horizon: int) -> int:
        history = self._settings.history_seconds
        before = self._wall_clock() - history if history else float("inf")
        return self._database.trim(horizon, before=before, bytes_max=self._settings.history_bytes_max)

    async def _checkpoint_wal(self) -> None:
        """Checkpoint the WAL while commits go on, then its rest on the thread of the commits."""
        await self._wal_thread.submit(self._database.checkpoint_wal)
        await self._run(self._database.checkpoint_wal)
        self.state_bytes = self._database.size_bytes
        wal_bytes = self._database.wal_bytes
        if wal_bytes > WAL_LARGE_BYTES and self._throttle.allow("wal") is not None:
            logger.warning(
                "the write-ahead log has %d MB and grows: a program that reads the state file holds it back; "
                "end that program (a snapshot, inspect, sqlite3, a backup)",
                wal_bytes // 1_000_000,
            )

    async def checkpoint_periodically(self, confirm: Confirm, after: Callable[[], Awaitable[object]]) -> None:
        """Checkpoint every `checkpoint_seconds`, then await `after`; on a full disk, try again next time."""
        due = self._clock() + self._settings.checkpoint_seconds
        while True:
            await asyncio.sleep(min(WAL_CHECK_SECONDS, max(due - self._clock(), 0.0)))
            try:
                if self._clock() < due:
                    if self._database.wal_bytes > WAL_BYTES_MAX:
                        await self._checkpoint_wal()
                    continue
                due = self._clock() + self._settings.checkpoint_seconds
                count = await self.checkpoint(confirm)
                await after()
            except DiskFull as error:
                self._counters.checkpoint_failures_total += 1
                if self._throttle.allow("checkpoint") is not None:
                    logger.error("checkpoint not written: %s", error)
                continue
            logger.debug("checkpoint of %d records written", count)

    def verify_files(self) -> None:
        """Check that the state file is still the one that is open.

        Raises:
            StateError: it was deleted, moved, replaced or cut, or its path cannot be read.
        """
        try:
            self._database.verify_files()
        except StateError as error:
            self.disk_error = error
            raise

    async def verify_files_periodically(self) -> None:
        """Check it also while nothing is committed.

        Raises:
            StateError: as for `verify_files`.
        """
        while True:
            await asyncio.sleep(FILES_CHECK_SECONDS)
            await self._run(self.verify_files)

    @property
    def wal_bytes(self) -> int:
        """Size of the write-ahead log now."""
        return self._database.wal_bytes

    @property
    def obstacle(self) -> str | None:
        """Why nothing is acknowledged at present, if the disk is the reason."""
        if self.disk_error:
            return str(self.disk_error)
        waiting = self._clock() - started if (started := self._call_started) is not None else 0.0
        return f"the disk has not answered for {waiting:.0f} s" if waiting >= SLOW_SECONDS else None

    async def _run(self, call: Callable[..., R], *arguments: object) -> R:
        return await self._submit(call, *arguments)

    def _submit(self, call: Callable[..., R], *arguments: object) -> asyncio.Future[R]:
        return self._thread.submit(self._timed, call, arguments)

    def _timed(self, call: Callable[..., R], arguments: tuple[object, ...]) -> R:
        self._call_started = self._clock()
        try:
            return call(*arguments)
        except DiskFailed as error:
            self.disk_error = error  # whoever asked for the call: no later commit may succeed
            raise
        finally:
            self._call_started = None

    async def close(self, *, cleanly: bool) -> None:
        """Close the state file.

        Args:
            cleanly: everything was published and acknowledged, so the broker will send nothing again.
        """
        self._closing.set()
        try:
            if cleanly:
                await self._run(self._database.close_cleanly)
        finally:
            await self._run(self._database.close)
        await self._wal_thread.submit(int)  # `end` would block the loop until the disk has answered
        self._wal_thread.end()
        self._thread.end()


def _retrieve_exception(done: asyncio.Future[None]) -> None:
    """The first failure ends the pipeline; asyncio must not warn of the later ones."""
    if not done.cancelled():
        done.exception()
