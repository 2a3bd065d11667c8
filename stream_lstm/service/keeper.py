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
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stream_lstm.errors import DiskFull, StateError
from stream_lstm.service.log import Seldom, logger
from stream_lstm.service.measures import Measures
from stream_lstm.service.restore import Restored
from stream_lstm.service.settings import StateSettings
from stream_lstm.store.database import Database
from stream_lstm.store.journal import Entry

FULL_RETRY_SECONDS = 1.0


class Keeper:
    """Commits entries and checkpoints memories, in a thread of its own.

    Attributes:
        trouble: why the disk does not take what it is given just now; None if it does.
        number: of the last entry handed in.
    """

    def __init__(
        self, database: Database, restored: Restored, settings: StateSettings, measures: Measures
    ) -> None:
        self._database = database
        self._memories = restored.memories
        self._settings = settings
        self._measures = measures
        self._thread = ThreadPoolExecutor(1, "keeper")
        self._leaving = threading.Event()
        self._seldom = Seldom(time.monotonic)
        self._written = restored.written  # (rows,) the entry that each row's record on disk reflects
        self.number = restored.number
        self.trouble: StateError | None = None
        self.state_bytes = database.size_bytes

    def commit(self, entry: Entry) -> asyncio.Future[None]:
        """Hand in an entry; the future is done when it is durable.

        A full disk holds it, and all that come after, until there is space (or the service leaves).
        """
        self.number = entry.number
        return asyncio.get_running_loop().run_in_executor(self._thread, self._commit, entry)

    def _commit(self, entry: Entry) -> None:
        while True:
            begun = time.perf_counter()
            try:
                self._database.commit(entry)
            except DiskFull as error:
                self._hold(error)
                continue
            except StateError as error:
                self.trouble = error
                raise
            self._measures.commit.add(time.perf_counter() - begun)
            self._measures.batch.add(len(entry.streams))
            if self.trouble:
                logger.warning("the disk accepts again")
                self.trouble = None
            return

    def _hold(self, error: DiskFull) -> None:
        self.trouble = error
        if self._seldom.due("full") is not None:
            logger.error("the disk is full: holding the batch in hand, acknowledging nothing: %s", error)
        if self._leaving.wait(FULL_RETRY_SECONDS):
            raise error

    async def checkpoint(self, confirm: Callable[[int], Awaitable[None]]) -> int:
        """Write every memory that has changed since it was last written, and cut the journal.

        Args:
            confirm: waits until the predictions of an entry have reached the broker.

        Returns:
            How many memories were written.
        """
        begun, horizon = time.monotonic(), self.number
        memories, most = self._memories, self._settings.checkpoint_rows_max
        changed = np.flatnonzero(memories.applied > self._written)
        for start in range(0, len(changed), most):
            rows = changed[start : start + most]
            # Copied together, here, where no batch is half applied.
            records, applied, ids = memories.records(rows), memories.applied[rows], memories.ids[rows]
            await confirm(int(applied.max()))
            chunk = list(zip(ids.tolist(), applied.tolist(), records, strict=True))
            await self._run(self._database.checkpoint, chunk)
            self._written[rows] = applied
        await confirm(horizon)
        await self._run(self._trim, horizon)
        self._measures.checkpoint_seconds = time.monotonic() - begun
        self._measures.checkpoint_time = time.time()
        return len(changed)

    def _trim(self, horizon: int) -> None:
        settings = self._settings
        self._database.trim(
            horizon,
            now=time.time(),
            history_seconds=settings.history_seconds,
            history_bytes_max=settings.history_bytes_max if settings.history_seconds else 0,
        )
        self.state_bytes = self._database.size_bytes

    async def checkpoint_for_ever(self, confirm: Callable[[int], Awaitable[None]]) -> None:
        """Checkpoint every `checkpoint_seconds`; a full disk is tried again next time."""
        while True:
            await asyncio.sleep(self._settings.checkpoint_seconds)
            try:
                count = await self.checkpoint(confirm)
            except DiskFull as error:
                self._measures.checkpoint_failures_total += 1
                if self._seldom.due("checkpoint") is not None:
                    logger.error("no checkpoint: %s", error)
                continue
            logger.debug("checkpoint of %d memories", count)

    async def _run(self, call: Callable[..., object], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

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
