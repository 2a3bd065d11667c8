"""Startup: compilation and recovery, in a thread that a stop does not wait for."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from stream_lstm import __version__
from stream_lstm.compiler import cache
from stream_lstm.core.model.file import LstmModel
from stream_lstm.service.assembly import former_layouts, identity
from stream_lstm.service.broker import TransportStats
from stream_lstm.service.compilation import compile_service
from stream_lstm.service.log import logger
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.metrics.quality import StreamQuality
from stream_lstm.service.runtime import Runtime, Tools
from stream_lstm.service.state.disk_thread import DiskThread
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.store.database import Database
from stream_lstm.store.meta import Owner

COMPILING = "compiling the engine, once for this release, model and kind of CPU"
RECOVERING = "memory is being recovered"
_Recovered = tuple[Database, Owner, RecoveredState]


class Startup:
    """Steps from the settings to a runtime, and the status until there is one.

    Nothing that a step has begun needs an end: the state file is as safe as from a kill. So a stop leaves the
    step to its thread, which ends with the process.

    Args:
        model: the settings' model, read.

    Attributes:
        step: what is being done.
    """

    def __init__(self, model: LstmModel, tools: Tools) -> None:
        self._model = model
        self._tools = tools
        self._settings = tools.settings
        self._steps: asyncio.Future[_Recovered] | None = None
        self._awaited = True
        self.stop_requested = False
        self.step = COMPILING

    def obstacles(self) -> list[str]:
        """The step that the start has come to."""
        return [self.step]

    def stop(self) -> None:
        """Do not wait for the steps any longer."""
        self.stop_requested = True
        if self._steps:
            self._steps.cancel()

    def gauges(self) -> Gauges:
        """Zeros, and the limits of the settings."""
        settings = self._settings
        return Gauges(
            model=self._model.id,
            streams=0,
            streams_on_disk=0,
            streams_max=settings.limits.streams_max,
            streams_stale=0,
            quality=lambda: StreamQuality(0, 0, 0),
            interval=settings.model.interval,
            freezes=0,
            state_bytes=0,
            wal_bytes=0,
            broker_connected=False,
            transport=TransportStats(receive_maximum=settings.mqtt.receive_maximum),
            commits_waiting=0,
            ready=False,
            now=self._tools.wall_clock(),
        )

    async def run(self) -> Runtime | None:
        """Take the steps; None if a stop was requested before their end.

        Raises:
            StateError: the state cannot be read.
        """
        thread = DiskThread("startup")
        self._steps = thread.submit(self._take)
        if self.stop_requested:
            self._steps.cancel()
        try:
            database, owner, recovered = await self._steps
        except asyncio.CancelledError:
            self._awaited = False
            if not self.stop_requested:
                raise
            logger.info("stopped", extra={"about": {"while": self.step}})
            return None
        thread.end()
        return Runtime(database, owner, recovered, self._tools)

    def _take(self) -> _Recovered:
        self._compile()
        self.step = RECOVERING
        database = self._open()
        try:
            recovered = self._recover(database)
            owner = database.start_run(self._tools.wall_clock())
        except BaseException:
            database.close()
            raise
        if not self._awaited:
            database.close()
        return database, owner, recovered

    def _compile(self) -> None:
        """Compile the engine for this model, or read its machine code from the cache."""
        started = time.perf_counter()
        compile_service(self._model)
        if cache.compiled_names:
            about = {
                "functions": len(cache.compiled_names),
                "seconds": round(time.perf_counter() - started, 3),
            }
            logger.info("engine compiled", extra={"about": about})

    def _open(self) -> Database:
        state = self._settings.state
        _warn_of_permissions(state.path, "state", may=0o700, hint="chmod 600")
        _warn_of_permissions(self._settings.model.path, "model", may=0o755, hint="chmod go-w")
        database = Database.open(
            state.path, identity(self._model), former=former_layouts(self._model), fsync=state.fsync
        )
        if database.converted:
            logger.info("records converted", extra={"about": {"records": database.converted}})
        if not database.last_entry:  # expected once: later, state.path may be mistyped
            logger.info("new, empty state", extra={"about": {"path": str(state.path)}})
        return database

    def _recover(self, database: Database) -> RecoveredState:
        started, limits = time.perf_counter(), self._settings.limits
        recovered = recover(
            database,
            self._model,
            self._tools.builder,
            streams_max=limits.streams_max,
            now=self._tools.wall_clock(),
            batch_events_max=limits.batch_events_max,
            interval=self._settings.model.interval,
        )
        seconds = self._tools.counters.restore_seconds = time.perf_counter() - started
        about = {
            "streams": len(recovered.memories),
            "replayed": recovered.replayed,
            "seconds": round(seconds, 3),
            "model": self._model.id,
            "version": __version__,
        }
        logger.info("memory recovered", extra={"about": about})
        return recovered


def _warn_of_permissions(path: Path | None, what: str, *, may: int, hint: str) -> None:
    """Warn of a file that other users may read or write beyond these permissions."""
    if path and path.exists() and path.stat().st_mode & 0o777 & ~may:
        about = {"path": str(path), "hint": hint}
        logger.warning("%s file is accessible to other users", what, extra={"about": about})
