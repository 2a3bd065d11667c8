"""Life cycle of the service: start HTTP, open and recover the state, run the pipeline, stop in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.service import tls
from stream_lstm.service.allowed_hosts import AllowedHosts, is_loopback
from stream_lstm.service.assembly import credentials, decoder, load_model
from stream_lstm.service.http import HttpContext, WebRoutes
from stream_lstm.service.http.server import HttpServer
from stream_lstm.service.log import logger
from stream_lstm.service.metrics import exporter
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.runtime import Runtime, Tools
from stream_lstm.service.settings import Settings
from stream_lstm.service.startup import Startup
from stream_lstm.service.systemd import Notifier
from stream_lstm.store.files import require_folder

CONNECTIONS_BESIDE_VIEWERS = 64  # scrapes, health checks and single requests
COLLECTED_OBJECTS_MIN = 100_000  # measured: the default, 700, costs 6 % of throughput


class Status(Protocol):
    """Source of health and metrics, before and after recovery."""

    def obstacles(self) -> list[str]:
        """Reasons why the service is not ready; empty when it is."""

    def gauges(self) -> Gauges:
        """Levels at this moment."""

    def stop(self) -> None:
        """End as soon as possible."""


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
        model = load_model(settings.model.path)
        require_folder(settings.state.path)
        credentials(settings.mqtt)  # a file that cannot be read is reported before anything is opened
        publish = settings.publish
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
        self._startup = Startup(model, self._tools)
        self._status: Status = self._startup

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
            runtime = await self._startup.run()
            if runtime:
                await self._serve(runtime, server.port)
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

    async def _serve(self, runtime: Runtime, port: int) -> None:
        """Run the pipeline, and show it."""
        try:
            self._status = runtime
            if self._startup.stop_requested:
                runtime.stop()
            await runtime.prepare()
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


async def serve(settings: Settings, *, on_ready: Callable[[int], None] | None = None) -> None:
    """Run a service until SIGTERM or SIGINT; a second signal ends the process at once, and loses nothing."""
    service = Service(settings, on_ready=on_ready)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, end_at_once)  # costs no more than a replay
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await service.run()


def end_at_once(number: int, _: FrameType | None = None) -> None:
    """End this process for a signal; as process 1 of a container it has no default that would."""
    os._exit(128 + number)


def end(code: int = 0) -> None:
    """End this process, also if a thread is still busy: with a step of `Startup`, or a disk that hangs.

    The interpreter would wait for such a thread.
    """
    if threading.active_count() > 1:
        logging.shutdown()
        os._exit(code)
    sys.exit(code)
