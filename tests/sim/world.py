"""One seed's world: sensors, broker, disk, clock, and the real pipeline over many lives of the process.

At the end, whatever faults there were, each stream's record is the fold over its distinct events, every event
has its prediction, and duplicates of a prediction are identical (`tests.sim.judge`).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from xxhash import xxh3_64_intdigest as digest

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.dedup import content
from stream_lstm.errors import DiskFull
from stream_lstm.service.assembly import decoder, identity
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.pipeline import pipeline as piping
from stream_lstm.service.pipeline.admission import Admission
from stream_lstm.service.pipeline.apply import Applier
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.pipeline.ingest import Ingest
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.pipeline.pipeline import Pipeline, Stages
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import StalenessMonitor
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state import recovery as restoring
from stream_lstm.service.state import writer as keeping
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store import wal
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry
from stream_lstm.store.progress import Progress
from tests.service.scripted import SentMessage
from tests.sim.broker import ARRIVAL, SimBroker, SimBrokerClient
from tests.sim.disk import Died, Disk
from tests.sim.judge import MODEL, POISON, Wrong, judge, read_records
from tests.sim.loop import SimDiskThread, SimLoop
from tests.sim.plans import Plan

LIVES_MAX = 60
LIFE_SECONDS_MAX = 120.0  # by the simulated clock; most take less than one
DEVICES_BUSY_MAX = 9  # more are quiet
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # memory, where there is some to write to


class World:
    """Everything that one seed decides.

    A payload is repeated only where docs/guarantees.md promises that it is not taken for a duplicate: once an
    entry on disk says that the broker has the last one's acknowledgement.

    Args:
        place: a folder for its files, which are removed after `run`.

    Attributes:
        faults: injected faults by kind.
        records: of each stream by its key, as they are on disk at the end.
        journal: its rows at the end, as bytes.
    """

    def __init__(self, seed: int, place: Path) -> None:
        draw = self.draw = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.plan = Plan.drawn(draw)
        self.broker = SimBroker(draw, self.faults, self._messages(), self._choose)
        self._folder = Path(tempfile.mkdtemp(dir=place))
        self.disk = Disk(self._folder, draw, self.faults)
        self._started = ARRIVAL  # of this life
        self._committed: dict[
            tuple[int, int], float
        ] = {}  # entry of each payload, infinite before its commit
        self._acked_through = 0  # as an entry on disk must say
        self._forgotten: Counter[str] = Counter()
        self.settings = Settings(
            subscribe=[{"topic": "s/{d}", "stream": "{d}", "fields": ["v"], "time": ["t"]}],
            limits={"streams_max": self.plan.streams_max},
            state={
                "checkpoint_rows_max": draw.choice([1, 3, 100]),
                "commit_interval_seconds": draw.choice([0.0, 0.0, 0.002, 0.1]),
            },
        )

    def _messages(self) -> list[SentMessage]:
        device = self._devices()
        clock = (
            "t" if self.plan.payloads == "timed" else "n"
        )  # an event time, or a counter that is not read as one
        out = []
        for n in range(self.draw.randint(10, 120)):
            topic = f"s/d{device()}"
            if self.draw.random() < self.plan.poison_share:
                out.append(SentMessage(topic, self.draw.choice(POISON) + b" " * n))
            else:
                event = {"v": round(self.draw.gauss(20.0, 5.0), 3), clock: 1_700_000_000 + n}
                out.append(SentMessage(topic, json.dumps(event).encode()))
        return out

    def _devices(self) -> Callable[[], int]:
        """Draws a device: of a few, the first ones most often; or of many quiet ones."""
        draw, most = self.draw, self.plan.devices
        if most > DEVICES_BUSY_MAX:
            return lambda: draw.randrange(most)
        return lambda: min(int(draw.expovariate(0.5)), most - 1)

    def _choose(self, message: SentMessage) -> SentMessage:
        """Repeat an earlier payload instead, where that is allowed."""
        if self.plan.payloads != "repeated" or self.draw.random() > self.plan.repeated_share:
            return message
        payload = b'{"v": 21.%d}' % self.draw.randrange(self.plan.repeated_payloads)
        key = digest(message.topic.encode()), content(digest(payload), timed=False)
        if self._committed.get(key, 0) > self._acked_through:
            return message
        self._committed[key] = math.inf
        self.faults["repeated payload"] += 1
        return SentMessage(message.topic, payload)

    def run(self) -> Counter[str]:
        """Live all lives, and check the end.

        Raises:
            Wrong: an expectation does not hold.
        """
        try:
            with self._simulated():
                for life in range(LIVES_MAX):
                    if self._live(dies=life < self.plan.deaths):
                        break
                else:
                    raise Wrong(f"not done after {LIVES_MAX} lives")
            sent = [(message.topic, message.payload) for message in self.broker.sent]
            judge(self.records, sent, self.broker.published, forgotten=self._forgotten)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return self.faults

    @contextmanager
    def _simulated(self) -> Any:
        """Simulate the disk, and make batches, memory and waits small."""
        with ExitStack() as patches:
            for place, name, value in (
                (keeping, "FULL_RETRY_SECONDS", 0.0),
                (keeping, "DiskThread", SimDiskThread),
                (restoring, "spare_rows", lambda batch_events_max: 16),
                (piping, "OVERLAP_MESSAGES_MIN", self.plan.overlap_messages_min),
                (wal, "sqlite3", SimpleNamespace(connect=self.disk.connect)),
            ):
                patches.enter_context(patch.object(place, name, value))
            yield

    def _live(self, *, dies: bool) -> bool:
        """One life; returns True if everything was done at its end."""
        loop = SimLoop(self.draw)
        asyncio.set_event_loop(loop)
        self.broker.clock = lambda: self._started + loop.time()
        self._mortal = dies
        self.disk.full_share = self.plan.full_share
        self.disk.dies_in = self.draw.randint(1, 160) if dies and self.draw.random() < 0.6 else -1
        if dies and self.disk.dies_in < 0:
            loop.call_later(self.draw.expovariate(8.0), self._die)
        self._database: Database | None = None
        try:
            return bool(loop.run_until_complete(self._serve()))
        except (Died, DiskFull):  # the latter at the start: the service ends, and is started again
            loop.crashed = True
            self.disk.reborn(power_cut=self.draw.random() < 0.5)
            self.faults["death"] += 1
            return False
        finally:
            loop.crashed = True
            self._started += loop.time() + 1.0
            self._bury(loop)

    def _die(self) -> None:
        self.faults["death at a moment"] += 1
        raise Died

    def _bury(self, loop: SimLoop) -> None:
        """Cancel what is left of a life, so that it cannot act in the next."""
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with suppress(BaseException):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        if self._database:
            with suppress(BaseException):
                self._database.close()
        asyncio.set_event_loop(None)
        loop.close()

    async def _serve(self) -> bool:
        loop = asyncio.get_running_loop()
        self._database = database = Database.open(
            self.disk.path,
            identity(MODEL),
            window_messages=self.plan.window_messages,
            connect=self.disk.connect,
        )
        builder = PublicationBuilder(
            self.settings.publish, Encoder(MODEL.id, MODEL.spec), status_topic="status"
        )
        recovered = recover(
            database,
            MODEL,
            builder,
            streams_max=self.settings.limits.streams_max,
            now=self.broker.clock(),
            batch_events_max=8,
        )
        database.start_run(self.broker.clock())
        link = SimBrokerClient(
            self.broker,
            cut_share=self.plan.cut_share,
            resume=recovered.published_through,
            acked_through=recovered.acked_through,
            outages=self.plan.outages,
        )
        counters = Counters()
        state_writer = StateWriter(database, recovered, self.settings.state, counters)
        link.settled = lambda: state_writer.note_progress(
            lambda: Progress(link.confirmed, link.acked_through)
        )
        self._note_commits(state_writer, link)
        residency = Residency(
            recovered, state_writer, self.settings.limits, counters, confirm=link.confirm, clock=loop.time
        )
        self._note_forgotten(residency)
        pipeline = self._pipeline(link, builder, recovered, state_writer, residency, counters)
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(link.pump()),
                tasks.create_task(self._checkpoints(state_writer, link)),
                tasks.create_task(self._forget(residency)),
            ]
            running = tasks.create_task(self._run_pipeline(pipeline, link, recovered.resend))
            while not self.broker.done:
                await asyncio.sleep(0.01)
                if loop.time() > LIFE_SECONDS_MAX:
                    raise Wrong("the pipeline does not go on")
            pipeline.stop()
            await running
            for task in beside:
                task.cancel()
        await self._close(database, recovered, state_writer, link)
        self.faults["eviction"] += counters.evicted_total
        self.faults["return from disk"] += counters.fetched_total
        return True

    def _pipeline(
        self,
        link: Any,
        builder: PublicationBuilder,
        recovered: RecoveredState,
        state_writer: StateWriter,
        residency: Residency,
        counters: Counters,
    ) -> Pipeline:
        memories, registry = recovered.memories, recovered.registry
        frozen = freezer(self.settings)
        recorder = Recorder(MODEL, memories, registry, recent_events_max=64)
        staleness = StalenessMonitor(memories, registry, lambda: 0.0, lambda change: None)
        stages = Stages(
            ingest=Ingest(
                decoder(self.settings, MODEL), recovered.dedup, frozen, builder.is_own_topic, counters
            ),
            admission=Admission(
                memories, residency, LatenessFilter(self.settings.time, memories), features=1
            ),
            freezer=frozen,
            state_writer=state_writer,
            applier=Applier(recovered.engine, staleness, recorder, counters),
            builder=builder,
        )
        return Pipeline(
            link,
            stages,
            recorder,
            counters,
            batch_events_max=self.plan.batch_events_max,
            commit_interval_seconds=self.settings.state.commit_interval_seconds,
            clock=self.broker.clock,
        )

    async def _close(
        self, database: Database, recovered: RecoveredState, state_writer: StateWriter, link: Any
    ) -> None:
        """Write and close the state without faults, and keep what it holds."""
        self.disk.full_share, self.disk.dies_in = 0.0, -1
        await link.confirm(state_writer.number)
        await state_writer.checkpoint(link.confirm)
        recovered.memories.validate()
        recovered.dedup.validate()
        recovered.registry.validate(recovered.memories, state_writer.number)
        database.validate()
        self.records = read_records(database)
        self.journal = _journal(self.disk.path)
        await state_writer.close(cleanly=self.draw.random() < 0.5)
        link.alive = False

    def _note_commits(self, state_writer: StateWriter, link: SimBrokerClient) -> None:
        """Note which payloads are in an entry on disk, and what it must say of acknowledgements."""
        commit = state_writer.commit

        def noted(entry: Entry, acked_through: int, done: asyncio.Future[None]) -> None:
            if done.cancelled() or done.exception():
                return
            self._acked_through = max(self._acked_through, acked_through)
            for key in map(tuple, entry.digests.tolist()):
                if key in self._committed:
                    self._committed[key] = entry.number

        def noting(entry: Entry) -> asyncio.Future[None]:
            done = commit(entry)
            done.add_done_callback(partial(noted, entry, link.acked_through))
            return done

        state_writer.commit = noting  # type: ignore[method-assign]

    def _note_forgotten(self, residency: Residency) -> None:
        """Count how often each stream is forgotten."""
        leave = residency._leave_memory

        def noting(expired: Sequence[tuple[int, str]], before: float) -> list[int]:
            gone = leave(expired, before)
            self._forgotten.update(key for stream, key in expired if stream in gone)
            self.faults["forgotten stream"] += len(gone)
            return gone

        residency._leave_memory = noting  # type: ignore[method-assign]

    async def _run_pipeline(self, pipeline: Pipeline, link: Any, resend: list[Any]) -> None:
        for number, publications in resend:
            self.faults["prediction sent again"] += len(publications)
            await link.deliver(number, publications, [])
        await pipeline.run()

    async def _checkpoints(self, state_writer: StateWriter, link: Any) -> None:
        """Checkpoint now and then; try again after a full disk."""
        while True:
            await asyncio.sleep(self.draw.expovariate(self.plan.checkpoint_rate))
            with suppress(DiskFull):
                await state_writer.checkpoint(link.confirm)
                self.faults["checkpoint"] += 1

    async def _forget(self, residency: Residency) -> None:
        """Forget all streams whose records are written, now and then; the process may die right after."""
        while self.plan.forget_rate:
            await asyncio.sleep(self.draw.expovariate(self.plan.forget_rate))
            with suppress(DiskFull):
                if await residency.expire(math.inf) and self._mortal and self.draw.random() < 0.5:
                    self._die()


def _journal(path: Path) -> list[bytes]:
    """The journal's rows, in order."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT number, time, messages, blob FROM journal ORDER BY number"
        ).fetchall()
    return [repr(row[:3]).encode() + row[3] for row in found]
