"""Life cycle of the service: start HTTP, open and recover the state, run the pipeline, stop in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stream_lstm import __version__
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.service import tls
from stream_lstm.service.allowed_hosts import AllowedHosts, is_loopback
from stream_lstm.service.assembly import client_options, decoder, former_layouts, identity, load_model
from stream_lstm.service.broker import TransportStats
from stream_lstm.service.compilation import compile_service
from stream_lstm.service.http import HttpContext, WebRoutes
from stream_lstm.service.http.server import HttpServer
from stream_lstm.service.log import logger
from stream_lstm.service.metrics import exporter
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.metrics.quality import StreamQuality
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.runtime import Runtime, Tools
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.service.systemd import Notifier
from stream_lstm.store.database import Database

CONNECTIONS_BESIDE_VIEWERS = 64  # scrapes, health checks and single requests
COMPILED_SECONDS_LOGGED = 1.0  # reading machine code from the cache takes less
COMPILING = "compiling the engine, once for this release, model and kind of CPU"
RECOVERING = "memory is being recovered"
COLLECTED_OBJECTS_MIN = 100_000  # measured: the default, 700, costs 6 % of throughput


class Status(Protocol):
    """Source of health and metrics, before and after recovery."""

    def obstacles(self) -> list[str]:
        """Reasons why the service is not ready; empty when it is."""

    def gauges(self) -> Gauges:
        """Levels at this moment."""

    def stop(self) -> None:
        """End as soon as possible."""


class Starting:
    """The status until memory is recovered.

    Args:
        model: its id.
        wall_clock: epoch seconds.

    Attributes:
        step: what is being done.
    """

    def __init__(self, settings: Settings, model: str, wall_clock: Callable[[], float]) -> None:
        self._settings = settings
        self._model = model
        self._wall_clock = wall_clock
        self.stop_requested = False
        self.step = COMPILING

    def obstacles(self) -> list[str]:
        """The step that the start has come to."""
        return [self.step]

    def stop(self) -> None:
        """Remember the request until there is something to stop."""
        self.stop_requested = True

    def gauges(self) -> Gauges:
        """Zeros, and the limits of the settings."""
        settings = self._settings
        return Gauges(
            model=self._model,
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
            now=self._wall_clock(),
        )


class Service:
    """One service: state, engine, pipeline, broker and HTTP.

    Args:
        on_ready: called once HTTP listens and memory is recovered, with the HTTP port (0: none).
        wall_clock: epoch seconds.

    Raises:
        SettingsError: a setting cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_ready: Callable[[int], None] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._model = load_model(settings.model.path)
        client_options(settings)  # a password file that cannot be read is reported before anything is opened
        publish, model = settings.publish, self._model
        encoder = Encoder(model.id, model.spec, details=publish.details, forecast=publish.forecast)
        self._tools = Tools(
            settings=settings,
            decoder=decoder(settings, model),
            builder=PublicationBuilder(publish, encoder, status_topic=settings.mqtt.status_topic),
            freezer=freezer(settings),
            counters=Counters(started_seconds=wall_clock(), checkpoint_time=wall_clock()),
            systemd=Notifier(),
            wall_clock=wall_clock,
        )
        self._routes = WebRoutes() if settings.http.page else None
        self._starting = Starting(settings, model.id, wall_clock)
        self._status: Status = self._starting

    def stop(self) -> None:
        """Finish the batches in flight and end; a signal handler may call it."""
        self._status.stop()

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            SettingsError: a setting cannot be used.
            StateError: the state cannot be read, or the disk failed.
            SessionTaken: another client uses the same client id.
        """
        server = self._server()
        if self._settings.http.enabled:
            await self._listen(server)
        try:
            await asyncio.to_thread(self._compile)
            self._starting.step = RECOVERING
            database = await asyncio.to_thread(self._open)
            recovered = await asyncio.to_thread(self._recover, database)
            await self._serve(Runtime(database, recovered, self._tools), server.port)
        finally:
            await server.close()

    def _server(self) -> HttpServer:
        http = self._settings.http
        return HttpServer(
            exporter.registry(self._tools.counters, lambda: self._status.gauges()),
            lambda: self._status.obstacles(),
            credentials=http.credentials() if http.enabled else (),
            hosts=AllowedHosts(http.names) if http.checks_host else None,
            routes=self._routes,
            connections_max=http.viewers_max + CONNECTIONS_BESIDE_VIEWERS,
        )

    async def _listen(self, server: HttpServer) -> None:
        http = self._settings.http
        context = (
            tls.server_context(certificate=http.cert_file, key=http.key_file) if http.cert_file else None
        )
        await server.start(http.host, http.port, context=context)
        url = f"{'https' if context else 'http'}://{http.host}:{server.port}"
        logger.info("listening", extra={"about": {"http": url}})
        if not (http.requires_credentials or is_loopback(http.host)):
            logger.warning("HTTP is open to every client that reaches this address; set http.token_file")

    def _compile(self) -> None:
        """Compile the engine for this model, or read its machine code from the cache."""
        started = time.perf_counter()
        compile_service(self._model)
        seconds = time.perf_counter() - started
        if seconds > COMPILED_SECONDS_LOGGED:
            logger.info("engine compiled", extra={"about": {"seconds": round(seconds, 3)}})

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
        try:
            recovered = recover(
                database,
                self._model,
                self._tools.builder,
                streams_max=limits.streams_max,
                now=self._tools.wall_clock(),
                batch_events_max=limits.batch_events_max,
                interval=self._settings.model.interval,
            )
        except BaseException:
            database.close()
            raise
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

    async def _serve(self, runtime: Runtime, port: int) -> None:
        """Run the pipeline, and show it."""
        try:
            await runtime.prepare()
            self._status = runtime
            if self._starting.stop_requested:
                runtime.stop()
            if self._routes:
                self._routes.open(self._context(runtime))
            gc.collect()
            gc.freeze()  # what lives as long as the service is not visited again by the collector
            gc.set_threshold(COLLECTED_OBJECTS_MIN)  # batches are freed by reference counting
            if self._on_ready:
                self._on_ready(port)
            self._tools.systemd.ready()
            await runtime.run()
        finally:
            if self._routes:
                await self._routes.close()  # no request may see parts that are being closed
            await runtime.close()

    def _context(self, runtime: Runtime) -> HttpContext:
        return HttpContext(
            settings=self._settings,
            engine=runtime.recovered.engine,
            registry=runtime.recovered.registry,
            recorder=runtime.recorder,
            state_writer=runtime.state_writer,
            freezer=self._tools.freezer,
            counters=self._tools.counters,
            gauges=runtime.gauges,
            obstacles=runtime.obstacles,
        )


def _warn_of_permissions(path: Path | None, what: str, *, may: int, hint: str) -> None:
    """Warn of a file that other users may read or write beyond these permissions."""
    if path and path.exists() and path.stat().st_mode & 0o777 & ~may:
        about = {"path": str(path), "hint": hint}
        logger.warning("%s file is accessible to other users", what, extra={"about": about})


async def serve(settings: Settings, *, on_ready: Callable[[int], None] | None = None) -> None:
    """Run a service until SIGTERM or SIGINT; a second signal ends it at once, and loses nothing."""
    service = Service(settings, on_ready=on_ready)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)  # the next one kills, which costs no more than a replay
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await service.run()
