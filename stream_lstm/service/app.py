"""Puts the service together, runs it until it is told to stop, and takes it apart in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stream_lstm import __version__
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.errors import DiskFull, StateError
from stream_lstm.service import tls
from stream_lstm.service.allowed_hosts import AllowedHosts, is_loopback
from stream_lstm.service.assembly import client_options, decoder, identity, load_model
from stream_lstm.service.http import HttpContext, WebRoutes
from stream_lstm.service.http.server import HttpServer
from stream_lstm.service.log import logger
from stream_lstm.service.metrics import exporter, quality
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.mqtt import Granted, MqttClient
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.pipeline.pipeline import Pipeline
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import CHECK_SECONDS, StalenessChange, StalenessMonitor
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.service.systemd import Notifier
from stream_lstm.store.database import Database

# A broker that waits for acknowledgements of what we no longer take may answer nothing more.
CONFIRM_SECONDS_MAX = 3.0
CONNECTIONS_BESIDE_VIEWERS = 64
COLLECTED_OBJECTS_MIN = 100_000  # measured: the default, 700, costs 6 % of the line


class Service:
    """One service: state, engine, line, broker and HTTP.

    Args:
        settings: all of them.
        on_ready: called once HTTP listens and memory is restored, with the HTTP port (0: none).
    """

    def __init__(self, settings: Settings, *, on_ready: Callable[[int], None] | None = None) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._systemd = Notifier()
        self._counters = Counters(started_seconds=time.time(), checkpoint_time=time.time())
        self._model = load_model(settings.model.path)
        self._decoder = decoder(settings, self._model)
        client_options(settings)  # a password file that cannot be read is told before anything is opened
        self._link: MqttClient | None = None
        publish = settings.publish
        encoder = Encoder(
            self._model.id, self._model.spec, details=publish.details, forecast=publish.forecast
        )
        self._builder = PublicationBuilder(publish, encoder, status_topic=settings.mqtt.status_topic)
        self._freezer = freezer(settings)
        self._site = WebRoutes() if settings.http.page else None
        self._staleness: StalenessMonitor | None = None
        self._recovered: RecoveredState | None = None
        self._state_writer: StateWriter | None = None
        self._worker: Pipeline | None = None
        self._streams: Residency | None = None
        self._connected = False
        self._filters: list[str] = []  # what we subscribe to
        self._former: list[str] = []  # what we did, and no longer want
        self._noting: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._why_away = "not connected to the broker yet"

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            SettingsError: something cannot be as it is set.
            StateError: the state cannot be read, or the disk failed.
            SessionTaken: another client uses our id.
        """
        http = self._settings.http
        server = HttpServer(
            exporter.registry(self._counters, self._present),
            self._obstacles,
            credentials=http.credentials() if http.enabled else (),
            hosts=AllowedHosts(http.names) if http.checks_host else None,
            site=self._site,
            connections_max=http.viewers_max + CONNECTIONS_BESIDE_VIEWERS,
        )
        if http.enabled:
            files = http.cert_file, http.key_file
            context = tls.server_context(certificate=files[0], key=files[1]) if files[0] else None
            await server.start(http.host, http.port, context=context)
            where = f"{'https' if context else 'http'}://{http.host}:{server.port}"
            logger.info("listening", extra={"about": {"http": where}})
            if not (http.requires_credentials or is_loopback(http.host)):
                logger.warning(
                    "HTTP is open to whoever reaches this address: http.token_file asks for a token"
                )
        try:
            database = await asyncio.to_thread(self._open)
            recovered = await asyncio.to_thread(self._restore, database)
            await self._run_line(database, recovered, server.port)
        finally:
            await server.close()

    def stop(self) -> None:
        """Finish what is in hand and leave; a signal handler may call it."""
        self._stop.set()

    def _open(self) -> Database:
        state = self._settings.state
        _name_open(state.path, may=0o700, hint="chmod 600")
        _name_open(self._settings.model.path, may=0o755, hint="chmod go-w")
        return Database.open(state.path, identity(self._model), fsync=state.fsync)

    def _restore(self, database: Database) -> RecoveredState:
        begun = time.perf_counter()
        try:
            recovered = recover(
                database,
                self._model,
                self._builder,
                streams_max=self._settings.limits.streams_max,
                batch_events_max=self._settings.limits.batch_events_max,
                interval=self._settings.model.interval,
            )
        except BaseException:
            database.close()
            raise
        self._counters.restore_seconds = time.perf_counter() - begun
        about = {
            "streams": len(recovered.memories),
            "replayed": recovered.replayed,
            "seconds": round(self._counters.restore_seconds, 3),
            "model": self._model.id,
            "version": __version__,
        }
        logger.info("memory is restored", extra={"about": about})
        return recovered

    async def _run_line(self, database: Database, recovered: RecoveredState, port: int) -> None:
        state = self._settings.state
        state_writer = StateWriter(database, recovered, state, self._counters)
        options = client_options(self._settings, session_expected=recovered.number > 0)
        filters = [entry.pattern for entry in (*options.filters, *options.watched)]
        self._filters = sorted({*filters, options.status_topic, options.dropped_topic} - {""})
        former = [pattern for pattern in database.filters if pattern not in self._filters]
        link = MqttClient(replace(options, unsubscribe=former), observer=self)
        link.resume(recovered.published_through, acked_through=recovered.acked_through)
        if set(self._filters) - set(database.filters):  # before: the session outlives us from then on
            await self._note_filters(state_writer, [*former, *self._filters])
        self._former = former
        streams = Residency(
            recovered, state_writer, self._settings.limits, self._counters, confirm=link.confirm
        )
        topic = self._settings.publish.stale_topic

        def tell(change: StalenessChange) -> None:
            if topic:
                link.say(topic, change.encode())

        self._staleness = StalenessMonitor(recovered.memories, lambda: link.connected_since, tell)
        kept = self._settings.http.events_kept
        recorder = Recorder(self._model, recovered.memories, recent_events_max=kept)
        worker = Pipeline(
            link=link,
            freezer=self._freezer,
            order=LatenessFilter(self._settings.time, recovered.memories),
            staleness=self._staleness,
            recorder=recorder,
            engine=recovered.engine,
            decoder=self._decoder,
            builder=self._builder,
            state_writer=state_writer,
            streams=streams,
            window=recovered.window,
            counters=self._counters,
            batch_events_max=self._settings.limits.batch_events_max,
        )
        self._state_writer, self._worker, self._recovered, self._link = state_writer, worker, recovered, link
        self._streams = streams
        self._show(recovered, state_writer, recorder)
        gc.collect()
        gc.freeze()  # what lives as long as the service is not looked at again by the collector
        gc.set_threshold(COLLECTED_OBJECTS_MIN)  # nor is every batch, which goes by itself
        if self._on_ready:
            self._on_ready(port)
        self._systemd.ready()
        try:
            await self._until_stopped(link, worker, state_writer, recovered)
        finally:
            await self._leave(state_writer)

    def _show(self, recovered: RecoveredState, state_writer: StateWriter, recorder: Recorder) -> None:
        """Let people look."""
        if self._site:
            view = HttpContext(
                settings=self._settings,
                engine=recovered.engine,
                recorder=recorder,
                state_writer=state_writer,
                freezer=self._freezer,
                counters=self._counters,
                present=self._present,
                obstacles=self._obstacles,
            )
            self._site.open(view)

    async def _until_stopped(
        self, link: MqttClient, worker: Pipeline, state_writer: StateWriter, recovered: RecoveredState
    ) -> None:
        line = asyncio.create_task(self._line(link, worker, recovered), name="line")
        linking = asyncio.create_task(link.run(), name="link")
        checkpoints = asyncio.create_task(
            state_writer.checkpoint_for_ever(link.confirm, self._forget), name="checkpoint"
        )
        watching = asyncio.create_task(self._watch(), name="silence")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        tasks = {line, linking, checkpoints, watching, stop}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks - {stop}:
                if task.done():
                    task.result()  # raises what ended it
            logger.info("stopping")
            self._systemd.stopping()
            checkpoints.cancel()
            await self._finish(link, worker, line, state_writer)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Look who has fallen silent, for ever."""
        pause = min(CHECK_SECONDS, self._systemd.watchdog_seconds or CHECK_SECONDS)
        due = time.monotonic()
        while self._staleness:
            self._systemd.alive()
            await asyncio.sleep(pause)
            if time.monotonic() >= due:
                due = time.monotonic() + CHECK_SECONDS
                self._staleness.check(time.time())

    async def _forget(self) -> None:
        """Forget streams that were silent for too long."""
        most = self._settings.limits.stream_ttl_seconds
        if most and self._streams:
            await self._streams.forget(time.time() - most)

    async def _line(self, link: MqttClient, worker: Pipeline, recovered: RecoveredState) -> None:
        """Publish again what may not have left before the restart, then run the line."""
        for number, publications in recovered.resend:
            await link.deliver(number, publications, [])
            self._counters.resent_total += len(publications)
        recovered.resend.clear()
        await worker.run()

    async def _finish(
        self, link: MqttClient, worker: Pipeline, line: asyncio.Task[None], state_writer: StateWriter
    ) -> None:
        """Commit, publish, acknowledge and write what is in hand, as far as time allows."""
        most = self._settings.limits.shutdown_seconds_max
        worker.stop()
        link.stop_receiving()
        try:
            async with asyncio.timeout(most):
                if link.connected:
                    await line
                    async with asyncio.timeout(min(most, CONFIRM_SECONDS_MAX)):
                        await link.confirm(state_writer.number)
                    await state_writer.checkpoint(link.confirm)
                    self._cleanly = True
        except TimeoutError:
            logger.warning("not confirmed by the broker in time: the rest is done at the next start")
        except DiskFull as error:
            logger.error("the disk is full: what is in hand stays with the broker: %s", error)
        await link.stop()

    _cleanly = False

    async def _leave(self, state_writer: StateWriter) -> None:
        if self._noting:
            await self._noting
        if self._site:
            await self._site.close()  # nobody looks at what is taken apart
        await state_writer.close(cleanly=self._cleanly)
        logger.info("stopped", extra={"about": {"cleanly": self._cleanly}})

    def connected(self, verdict: Granted) -> None:
        """The link has connected."""
        self._connected = True
        for finding in verdict.findings:
            logger.warning("broker: %s", finding)
        logger.info("connected", extra={"about": {"broker": self._settings.mqtt.url}})
        self._systemd.status(f"connected to {self._settings.mqtt.url}")
        if self._state_writer and self._former:
            self._former = []
            self._noting = asyncio.create_task(self._note_filters(self._state_writer, self._filters))

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """The link is not, or no longer, connected."""
        self._connected = False
        self._why_away = f"not connected to the broker: {reason}"
        logger.warning("%s; trying again in %.1f s", self._why_away, retry_seconds)
        self._systemd.status(self._why_away)

    async def _note_filters(self, state_writer: StateWriter, filters: Sequence[str]) -> None:
        """Note what we are subscribed to, so that a later start can unsubscribe what it no longer wants."""
        try:
            await state_writer.note_filters(filters)
        except StateError as error:
            logger.warning("subscriptions are not noted, and not unsubscribed if they change: %s", error)

    def _obstacles(self) -> list[str]:
        """Why the service is not ready."""
        if self._state_writer is None:
            return ["memory is being restored"]
        obstacles = []
        if self._state_writer.obstacle:
            obstacles.append(self._state_writer.obstacle)
        if not self._connected:
            obstacles.append(self._why_away)
        if self._stop.is_set():
            obstacles.append("stopping")
        return obstacles

    def _quality(self) -> quality.StreamQuality:
        if self._recovered is None:
            return quality.StreamQuality(0, 0, 0)
        return quality.stream_quality(self._recovered.memories, self._settings.model.interval)

    def _present(self) -> exporter.Gauges:
        link, state_writer, worker, recovered = self._link, self._state_writer, self._worker, self._recovered
        return exporter.Gauges(
            model=self._model.id,
            streams=len(recovered.memories) if recovered else 0,
            streams_on_disk=self._streams.on_disk if self._streams else 0,
            streams_max=self._settings.limits.streams_max,
            streams_stale=self._staleness.stale if self._staleness else 0,
            quality=self._quality,
            interval=self._settings.model.interval,
            freezes=self._freezer.active,
            state_bytes=state_writer.state_bytes if state_writer else 0,
            broker_connected=self._connected,
            connections_total=link.connections_total if link else 0,
            messages_total=link.messages_received_total if link else 0,
            received_bytes_total=link.bytes_received_total if link else 0,
            inbox_messages=link.inbox_messages if link else 0,
            unacknowledged=link.unacknowledged if link else 0,
            receive_maximum=self._settings.mqtt.receive_maximum,
            reading_paused=link.reading_paused if link else False,
            broker_dropped_total=link.broker_dropped_total if link else None,
            left_out_total=link.messages_left_out_total if link else 0,
            refused_total=link.publications_refused_total if link else 0,
            commits_waiting=worker.in_hand if worker else 0,
            ready=not self._obstacles(),
            now=time.time(),
        )


def _name_open(path: Path | None, *, may: int, hint: str) -> None:
    """Warn of a file of ours that others on this machine may read, or write, beyond these permissions."""
    if path and path.exists() and path.stat().st_mode & 0o777 & ~may:
        about = {"path": str(path), "hint": hint}
        logger.warning("others on this machine may get at a file of ours", extra={"about": about})


async def serve(settings: Settings, *, on_ready: Callable[[int], None] | None = None) -> None:
    """Run a service until SIGTERM or SIGINT; a second signal leaves at once (and loses nothing)."""
    service = Service(settings, on_ready=on_ready)
    loop = asyncio.get_running_loop()

    def leave() -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(sign)  # the next one kills, which costs nothing but a replay
        service.stop()

    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, leave)
    await service.run()
