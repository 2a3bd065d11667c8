"""A running pipeline with all its parts: built after recovery, run until stopped, taken apart in order.

Every part exists from construction on, so nothing here is optional. `stream_lstm.service.app` owns it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.errors import DiskFull, StateLocked
from stream_lstm.service.assembly import client_options
from stream_lstm.service.log import logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.metrics.quality import stream_quality
from stream_lstm.service.mqtt import ClientSignature, Granted, MqttClient
from stream_lstm.service.pipeline.admission import Admission
from stream_lstm.service.pipeline.apply import Applier
from stream_lstm.service.pipeline.batch_size import events_max
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.service.pipeline.ingest import Ingest
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.pipeline.pipeline import Pipeline, Stages
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import CHECK_SECONDS, StalenessChange, StalenessMonitor
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import RecoveredState
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.silence import SilenceClock
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.service.systemd import Notifier
from stream_lstm.store.database import Database
from stream_lstm.store.meta import Owner
from stream_lstm.store.progress import Progress

# A broker that waits for acknowledgements of messages that are no longer received may answer nothing more.
CONFIRM_SECONDS_MAX = 3.0
UNKNOWN_SESSION = (
    "the broker has a session of our client id, but the state is new and empty: events that it delivered "
    "before are not in memory; check state.path, that the file was not lost, and that no other service uses "
    "this mqtt.client_id"
)
# To close the state file, which copies the log into it. Without that the next start reads the log, so nothing
# is lost. With `shutdown_seconds_max`, 10 by default, a stop stays below the 30 s of systemd and compose.
CLOSE_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class Tools:
    """The parts that exist before recovery, from which the runtime is built.

    Attributes:
        wall_clock: epoch seconds.
    """

    settings: Settings
    decoder: Decoder
    builder: PublicationBuilder
    freezer: Freezer
    counters: Counters
    systemd: Notifier
    wall_clock: Callable[[], float] = time.time


class Runtime:
    """The parts of a running service, and their tasks.

    Attributes:
        recovered: the state, which the engine changes from now on.
        recorder: what the page and the API show.
        state_writer: the thread that writes the state.
        stop_requested: set by `stop`.
    """

    def __init__(self, database: Database, owner: Owner, recovered: RecoveredState, tools: Tools) -> None:
        settings, counters = tools.settings, tools.counters
        self._tools = tools
        # Its filters are noted before the first connection.
        self._new_state = recovered.number == 0 and not database.filters
        self._subscriptions = _Subscriptions(
            settings, owner.name, database.filters, resumed=recovered.number > 0
        )
        options = self._subscriptions.options
        signature = ClientSignature.of(options.client_id, started_ms=owner.started_ms, key=owner.key)
        self._client = MqttClient(options, observer=self, signature=signature, clock=tools.wall_clock)
        self._client.resume(
            recovered.published_through,
            acked_through=recovered.acked_through,
            last_fresh=recovered.last_fresh,
        )
        self._not_connected = "not connected to the broker yet"
        self._cleanly = False
        self._noting: set[asyncio.Task[None]] = set()
        self.recovered = recovered
        self.stop_requested = asyncio.Event()
        self.state_writer = StateWriter(
            database, recovered, settings.state, counters, wall_clock=tools.wall_clock
        )
        confirm = self._client.confirm
        self._residency = Residency(recovered, self.state_writer, settings.limits, counters, confirm=confirm)
        self._staleness = StalenessMonitor(
            recovered.memories, recovered.registry, lambda: self._client.connected_since, self._publish_stale
        )
        self._silence = SilenceClock(
            database.newest_seen(),
            wall_clock=tools.wall_clock,
            clock=time.monotonic,
            connected_since=lambda: self._client.connected_since,
        )
        self.recorder = Recorder(
            recovered.engine.model,
            recovered.memories,
            recovered.registry,
            recent_events_max=settings.http.events_kept,
        )
        self._pipeline = Pipeline(
            self._client,
            self._stages(),
            self.recorder,
            counters,
            batch_events_max=events_max(recovered.engine.model.spec, settings.limits.batch_events_max),
            commit_interval_seconds=settings.state.commit_interval_seconds,
            clock=tools.wall_clock,
        )

    def _stages(self) -> Stages:
        tools, recovered = self._tools, self.recovered
        lateness = LatenessFilter(tools.settings.time, recovered.memories)
        features = len(recovered.engine.model.spec.features)
        is_own_topic = tools.builder.is_own_topic
        return Stages(
            ingest=Ingest(tools.decoder, recovered.dedup, tools.freezer, is_own_topic, tools.counters),
            admission=Admission(recovered.memories, self._residency, lateness, features=features),
            freezer=tools.freezer,
            state_writer=self.state_writer,
            applier=Applier(recovered.engine, self._staleness, self.recorder, tools.counters),
            builder=tools.builder,
        )

    def _publish_stale(self, change: StalenessChange) -> None:
        if topic := self._tools.settings.publish.stale_topic:
            self._client.publish_unconfirmed(topic, change.encode())

    def stop(self) -> None:
        """Finish the batches in flight, and end `run`."""
        self.stop_requested.set()

    async def prepare(self) -> None:
        """Note new topic filters before the first connection: from then on the broker keeps the session.

        Raises:
            StateError: the disk failed.
        """
        if self._subscriptions.added:
            noting = asyncio.create_task(self._note_filters(self._subscriptions.all_filters))
            stop = asyncio.create_task(self.stop_requested.wait())
            await asyncio.wait({noting, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if noting.done():
                noting.result()

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            StateError: the disk failed.
            SessionTaken: another client uses the same client id.
        """
        pipeline = asyncio.create_task(self._run_pipeline(), name="pipeline")
        checkpoints = asyncio.create_task(
            self.state_writer.checkpoint_periodically(self._client.confirm, self._expire_streams),
            name="checkpoint",
        )
        stop = asyncio.create_task(self.stop_requested.wait(), name="stop")
        tasks = {
            pipeline,
            asyncio.create_task(self._client.run(), name="mqtt-client"),
            checkpoints,
            asyncio.create_task(self.state_writer.verify_files_periodically(), name="state-files"),
            asyncio.create_task(self._check_staleness(), name="staleness"),
            stop,
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks - {stop}:
                if task.done():
                    task.result()  # raises what ended it
            logger.info("stopping")
            self._tools.systemd.stopping()
            checkpoints.cancel()
            await self._finish(pipeline)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Close the state file; a state left cleanly expects nothing again from the broker."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await asyncio.gather(*self._noting, return_exceptions=True)
                await self.state_writer.close(cleanly=self._cleanly)
        except TimeoutError:
            self._cleanly = False
            logger.warning("disk does not answer: the state file is left as by a kill, which loses nothing")
        logger.info("stopped", extra={"about": {"cleanly": self._cleanly}})

    async def _run_pipeline(self) -> None:
        """Publish again what may not have reached the broker before the restart, then run the pipeline."""
        for number, publications in self.recovered.resend:
            await self._client.deliver(number, publications, [])
            self._tools.counters.resent_total += len(publications)
        self.recovered.resend.clear()
        await self._pipeline.run()

    async def _check_staleness(self) -> None:
        """Check periodically which streams have become stale; keeps the watchdog informed."""
        systemd = self._tools.systemd
        pause = min(CHECK_SECONDS, systemd.watchdog_seconds or CHECK_SECONDS)
        due = time.monotonic()
        while True:
            systemd.alive()
            await asyncio.sleep(pause)
            if time.monotonic() >= due:
                due = time.monotonic() + CHECK_SECONDS
                self._staleness.check(self._tools.wall_clock())

    async def _expire_streams(self) -> None:
        """Forget streams that were silent for longer than the settings allow."""
        ttl = self._tools.settings.limits.stream_ttl_seconds
        if ttl:
            await self._residency.expire(self._silence.before(ttl))

    async def _finish(self, pipeline: asyncio.Task[None]) -> None:
        """Commit, publish, acknowledge and write the batches in flight, as far as time allows."""
        most = self._tools.settings.limits.shutdown_seconds_max
        client = self._client
        self._pipeline.stop()
        client.stop_receiving()
        try:
            async with asyncio.timeout(most):
                if client.connected:
                    await pipeline
                    async with asyncio.timeout(min(most, CONFIRM_SECONDS_MAX)):
                        await client.confirm(self.state_writer.number)
                    await self.state_writer.checkpoint(client.confirm)
                    async with asyncio.timeout(min(most, CONFIRM_SECONDS_MAX)):
                        self._cleanly = await client.settle()
        except TimeoutError:
            reason = self.state_writer.obstacle or "broker did not confirm in time"
            logger.warning("%s: the next start expects and publishes the rest", reason)
        except DiskFull as error:
            logger.error("disk full: unacknowledged messages stay at the broker: %s", error)
        await client.stop()

    def connected(self, granted: Granted) -> None:
        """The client is connected."""
        url = self._tools.settings.mqtt.url
        for finding in granted.findings:
            logger.warning("broker: %s", finding)
        client_id = self._subscriptions.options.client_id
        if self._new_state and granted.session_present:
            about = {"path": str(self._tools.settings.state.path), "client_id": client_id}
            logger.warning(UNKNOWN_SESSION, extra={"about": about})
        self._new_state = False
        logger.info("connected", extra={"about": {"broker": url, "client_id": client_id}})
        self._tools.systemd.status(f"connected to {url}")
        self._not_connected = ""
        if self._subscriptions.removed:
            self._subscriptions.removed = []
            noting = asyncio.create_task(self._note_filters(self._subscriptions.filters))
            self._noting.add(noting)

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """The client is not, or no longer, connected."""
        self._not_connected = f"not connected to the broker: {reason}"
        logger.warning("%s; trying again in %.1f s", self._not_connected, retry_seconds)
        self._tools.systemd.status(self._not_connected)

    def settled(self) -> None:
        """The broker has more publications or acknowledgements than was known."""
        client = self._client
        self.state_writer.note_progress(lambda: Progress(client.confirmed, client.acked_through))

    async def _note_filters(self, filters: Sequence[str]) -> None:
        """Note the topic filters of the session, so that a later start can unsubscribe from the rest."""
        try:
            await self.state_writer.note_filters(filters)
        except (DiskFull, StateLocked) as error:
            logger.warning("topic filters not noted; removed ones stay subscribed: %s", error)

    def obstacles(self) -> list[str]:
        """Why the service is not ready."""
        disk = self.state_writer.obstacle
        stopping = "stopping" if self.stop_requested.is_set() else None
        return [problem for problem in (disk, self._not_connected, stopping) if problem]

    def gauges(self) -> Gauges:
        """Levels at this moment."""
        tools, memories = self._tools, self.recovered.memories
        settings = tools.settings
        return Gauges(
            model=self.recovered.engine.model.id,
            streams=len(memories),
            streams_on_disk=self._residency.on_disk,
            streams_max=settings.limits.streams_max,
            streams_stale=self._staleness.stale,
            quality=lambda: stream_quality(self.recovered.engine, settings.model.interval),
            interval=settings.model.interval,
            freezes=tools.freezer.active,
            state_bytes=self.state_writer.state_bytes,
            wal_bytes=self.state_writer.wal_bytes,
            broker_connected=not self._not_connected,
            transport=self._client.stats,
            commits_waiting=self._pipeline.batches_in_flight,
            ready=not self.obstacles(),
            now=tools.wall_clock(),
        )


class _Subscriptions:
    """Topic filters: those of the settings, and those that the session at the broker still has.

    Attributes:
        options: of the MQTT client.
        filters: wanted now.
        removed: no longer wanted; unsubscribed at the next connection.
        added: wanted now, and not noted yet.
    """

    def __init__(self, settings: Settings, name: str, noted: Sequence[str], *, resumed: bool) -> None:
        options = client_options(settings, name=name, session_expected=resumed)
        patterns = [entry.pattern for entry in (*options.filters, *options.watched)]
        self.filters = sorted({*patterns, options.status_topic, options.dropped_topic} - {""})
        self.removed = [pattern for pattern in noted if pattern not in self.filters]
        self.added = sorted(set(self.filters) - set(noted))
        self.options = replace(options, unsubscribe=list(self.removed))

    @property
    def all_filters(self) -> list[str]:
        """Filters that the session may be subscribed to once it is connected."""
        return [*self.removed, *self.filters]
