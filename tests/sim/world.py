"""One seed's world: sensors, broker, disk, clock, and the real pipeline over many lives of the process.

At the end, whatever faults there were, each stream's record is the fold over its distinct events, every event
has its prediction, and duplicates of a prediction are identical.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.errors import DiskFull
from stream_lstm.events import Batch
from stream_lstm.service.assembly import decoder, identity
from stream_lstm.service.metrics.counters import Counters
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
from stream_lstm.service.state.recovery import recover
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.database import Database
from tests.core.models import random_model
from tests.service.scripted import SentMessage
from tests.sim.broker import ARRIVAL, SimBroker, SimBrokerClient
from tests.sim.disk import Died, Disk
from tests.sim.loop import SimDiskThread, SimLoop

MODEL = random_model(seed=5, units=8)
LIVES_MAX = 60
LIFE_SECONDS_MAX = 600.0  # by the simulated clock; most take less than one
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # memory, where there is some to write to
POISON = (b"online", b"", b"{", b'{"v": "x"}', b'{"v": NaN}', b'{"v": 1e999, "t": 1}', b"[1]", b"\xff\xfe")


class Wrong(AssertionError):
    """An expectation on the end of a world does not hold."""


class World:
    """Everything that one seed decides.

    Args:
        place: a folder for its files, which are removed after `run`.

    Attributes:
        faults: injected faults by kind.
        records: of each stream by its key, as they are on disk at the end.
        journal: its rows at the end, as bytes.
    """

    def __init__(self, seed: int, place: Path, *, fsync: bool = True) -> None:
        self.draw = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.messages = self._messages()
        self.broker = SimBroker(self.draw, self.faults, self.messages)
        self._folder = Path(tempfile.mkdtemp(dir=place))
        self.disk = Disk(self._folder, self.draw, self.faults)
        self.disk.syncs = fsync
        self._fsync = fsync
        self._cut_share = self.draw.choice([0.0, 0.05, 0.3])
        self._full_share = self.draw.choice([0.0, 0.0, 0.02])
        self._deaths = self.draw.randint(0, 6)
        self.settings = Settings(
            subscribe=[{"topic": "s/{d}", "stream": "{d}", "fields": ["v"], "time": ["t"]}],
            limits={"streams_max": self.draw.choice([2, 4, 50])},
            state={
                "checkpoint_rows_max": self.draw.choice([1, 3, 100]),
                "commit_interval_seconds": self.draw.choice([0.0, 0.0, 0.002, 0.1]),
            },
        )

    def _messages(self) -> list[SentMessage]:
        devices = self.draw.randint(1, 9)
        clock = self.draw.choice("tn")  # an event time, or a counter that is not read as one
        out = []
        for n in range(self.draw.randint(10, 120)):
            device = f"d{min(int(self.draw.expovariate(0.5)), devices - 1)}"
            if self.draw.random() < 0.08:
                out.append(SentMessage(f"s/{device}", self.draw.choice(POISON) + b" " * n))
            else:
                event = {"v": round(self.draw.gauss(20.0, 5.0), 3), clock: 1_700_000_000 + n}
                out.append(SentMessage(f"s/{device}", json.dumps(event).encode()))
        return out

    def run(self) -> Counter[str]:
        """Live all lives, and check the end.

        Raises:
            Wrong: an expectation does not hold.
        """
        try:
            return self._run()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> Counter[str]:
        with (
            patch.object(keeping, "FULL_RETRY_SECONDS", 0.0),
            patch.object(keeping, "DiskThread", SimDiskThread),
            patch.object(restoring, "spare_rows", lambda batch_events_max: 16),
        ):
            for life in range(LIVES_MAX):
                if self._live(dies=life < self._deaths):
                    break
            else:
                raise Wrong(f"not done after {LIVES_MAX} lives")
        self._judge()
        return self.faults

    def _live(self, *, dies: bool) -> bool:
        """One life; returns True if everything was done at its end."""
        loop = SimLoop(self.draw)
        asyncio.set_event_loop(loop)
        self.disk.full_share = self._full_share
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
            self.disk.path, identity(MODEL), fsync=self._fsync, connect=self.disk.connect
        )
        builder = PublicationBuilder(
            self.settings.publish, Encoder(MODEL.id, MODEL.spec), status_topic="status"
        )
        limits = self.settings.limits
        recovered = recover(
            database, MODEL, builder, streams_max=limits.streams_max, now=ARRIVAL, batch_events_max=8
        )
        counters = Counters()
        link: Any = SimBrokerClient(
            self.broker,
            cut_share=self._cut_share,
            resume=recovered.published_through,
            acked_through=recovered.acked_through,
        )
        state_writer = StateWriter(database, recovered, self.settings.state, counters)
        residency = Residency(recovered, state_writer, limits, counters, confirm=link.confirm)
        memories, registry = recovered.memories, recovered.registry
        frozen = freezer(self.settings)
        recorder = Recorder(MODEL, memories, registry, recent_events_max=64)
        staleness = StalenessMonitor(memories, registry, lambda: 0.0, lambda change: None)
        lateness = LatenessFilter(self.settings.time, memories)
        stages = Stages(
            ingest=Ingest(
                decoder(self.settings, MODEL), recovered.dedup, frozen, builder.is_own_topic, counters
            ),
            admission=Admission(memories, residency, lateness, features=1),
            freezer=frozen,
            state_writer=state_writer,
            applier=Applier(recovered.engine, staleness, recorder, counters),
            builder=builder,
        )
        pipeline = Pipeline(
            link,
            stages,
            recorder,
            counters,
            batch_events_max=8,
            commit_interval_seconds=self.settings.state.commit_interval_seconds,
        )
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(link.pump()),
                tasks.create_task(self._checkpoints(state_writer, link)),
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
        self.disk.full_share, self.disk.dies_in = 0.0, -1
        await link.confirm(state_writer.number)
        await state_writer.checkpoint(link.confirm)
        memories.validate()
        recovered.dedup.validate()
        registry.validate(memories, state_writer.number)
        database.validate()
        self.faults["eviction"] += counters.evicted_total
        self.faults["return from disk"] += counters.fetched_total
        self.records = {
            key: rows.records[n * rows_bytes : (n + 1) * rows_bytes]
            for rows in database.rows()
            for rows_bytes in [database.identity.row_bytes]
            for n, key in enumerate(rows.keys)
        }
        self.journal = _journal(self.disk.path)
        await state_writer.close(cleanly=self.draw.random() < 0.5)
        link.alive = False
        return True

    async def _run_pipeline(self, pipeline: Pipeline, link: Any, resend: list[Any]) -> None:
        for number, publications in resend:
            self.faults["prediction sent again"] += len(publications)
            await link.deliver(number, publications, [])
        await pipeline.run()

    async def _checkpoints(self, state_writer: StateWriter, link: Any) -> None:
        """Checkpoint now and then; try again after a full disk."""
        while True:
            await asyncio.sleep(self.draw.expovariate(10.0))
            with suppress(DiskFull):
                await state_writer.checkpoint(link.confirm)
                self.faults["checkpoint"] += 1

    def _judge(self) -> None:
        """Compare memory and predictions with the fold over the distinct events."""
        expected = self._fold()
        if self.records != expected:
            known = {*expected, *self.records}
            wrong = sorted(key for key in known if expected.get(key) != self.records.get(key))
            raise Wrong(f"memory of {wrong} is not the fold over its events")
        values: dict[str, list[float]] = {}
        for key, event in self._events():
            values.setdefault(key, []).append(event["v"])
        found: dict[tuple[str, int], bytes] = {}
        for topic, payload in self.broker.published:
            if topic.startswith("predictions/"):
                told = json.loads(payload)
                key = told["stream"], told["seq"]
                if found.setdefault(key, payload) != payload:
                    raise Wrong(f"two different predictions for {key}")
        wanted = {(key, n): value for key, all_ in values.items() for n, value in enumerate(all_, 1)}
        if set(found) != set(wanted):
            missing, unexpected = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
            raise Wrong(f"predictions missing: {missing}; unexpected: {unexpected}")
        if any(json.loads(found[key])["value"] != value for key, value in wanted.items()):
            raise Wrong("predictions out of order")
        rejected = sum(topic == "stream_lstm/rejected" for topic, _ in self.broker.published)
        if rejected < len(self.messages) - len(wanted):
            raise Wrong("a rejection is missing")

    def _events(self) -> Iterator[tuple[str, dict[str, float]]]:
        """The readable events of the sensors: stream and event, in order."""
        for message in self.messages:
            if message.payload.startswith(b'{"v": ') and b": 17000" in message.payload:
                yield f"{message.topic[2:]}:v", json.loads(message.payload)

    def _fold(self) -> dict[str, bytes]:
        """Every stream's record after its events, applied one at a time."""
        memories = Memories(MODEL.spec, rows_max=64)
        engine = Engine(MODEL, memories)
        for key, event in self._events():
            if key not in memories:
                memories.add(key, len(memories) + 1)
            row = np.array(memories.rows([key]), np.intp)
            engine.apply(Batch.timed(row, np.array([event.get("t", ARRIVAL)]), np.array([[event["v"]]])))
        keys = [memories.key(row) for row in memories.taken().tolist()]
        return dict(zip(keys, memories.records(memories.taken()), strict=True))


def _journal(path: Path) -> list[bytes]:
    """The journal's rows, in order."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT number, time, messages, blob FROM journal ORDER BY number"
        ).fetchall()
    return [repr(row[:3]).encode() + row[3] for row in found]
