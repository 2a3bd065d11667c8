"""A pipeline with all its parts, on a scripted broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.service.assembly import decoder, identity, load_model
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.pipeline.admission import Admission
from stream_lstm.service.pipeline.apply import Applier
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.pipeline.ingest import Ingest
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.pipeline.pipeline import Pipeline, Stages
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import StalenessChange, StalenessMonitor
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.database import Database
from tests.service.scripted import ScriptedBroker, SentMessage

MODEL = load_model(None)


class PipelineHarness:
    """A pipeline, its state writer and its state file, on a scripted broker."""

    def __init__(self, path: Path, *, state: dict[str, Any] | None = None, **settings: Any) -> None:
        subscribe = [{"topic": "s/{d}", "stream": "{d}", "fields": ["v", "w"], "time": ["t"]}]
        self.settings = Settings(
            **{"subscribe": subscribe} | settings,
            state={"path": path, "checkpoint_rows_max": 2} | (state or {}),
        )
        self.database = Database.open(path, identity(MODEL))
        encoder = Encoder(MODEL.id, MODEL.spec)
        self.now = 0.0  # seconds, monotonic
        self.wall = 1_700_000_000.0  # epoch seconds
        self.builder = PublicationBuilder(self.settings.publish, encoder, status_topic="status")
        self.recovered: RecoveredState = recover(
            self.database,
            MODEL,
            self.builder,
            streams_max=self.settings.limits.streams_max,
            now=self.wall,
        )
        self.counters = Counters()
        self.link = ScriptedBroker(hasty=not self.settings.state.commit_interval_seconds)
        self.link.acked_through = self.recovered.acked_through
        self.state_writer = StateWriter(self.database, self.recovered, self.settings.state, self.counters)
        self.streams = Residency(
            self.recovered,
            self.state_writer,
            self.settings.limits,
            self.counters,
            confirm=self.link.confirm,
            clock=lambda: self.now,
        )
        self.freezer = freezer(self.settings)
        self.changes: list[StalenessChange] = []
        memories, registry = self.recovered.memories, self.recovered.registry
        self.staleness = StalenessMonitor(
            memories, registry, lambda: self.link.connected_since, self.changes.append
        )
        self.recorder = Recorder(MODEL, memories, registry, recent_events_max=1_000)
        lateness = LatenessFilter(self.settings.time, memories)
        is_own_topic = self.builder.is_own_topic
        self.pipeline = Pipeline(
            self.link,
            Stages(
                ingest=Ingest(
                    decoder(self.settings, MODEL),
                    self.recovered.dedup,
                    self.freezer,
                    is_own_topic,
                    self.counters,
                ),
                admission=Admission(memories, self.streams, lateness, features=1),
                freezer=self.freezer,
                state_writer=self.state_writer,
                applier=Applier(self.recovered.engine, self.staleness, self.recorder, self.counters),
                builder=self.builder,
            ),
            self.recorder,
            self.counters,
            batch_events_max=100,
            commit_interval_seconds=self.settings.state.commit_interval_seconds,
            clock=lambda: self.wall,
        )

    def predictions(self) -> list[dict[str, Any]]:
        return [
            json.loads(body) for topic, body in self.link.publications if topic.startswith("predictions/")
        ]

    def records(self) -> dict[str, bytes]:
        memories = self.recovered.memories
        keys = ["a:v", "b:v"]
        return {
            key: memories.records(np.array(memories.rows([key]), np.intp))[0]
            for key in keys
            if key in memories
        }

    def validate(self) -> None:
        """Check the invariants of memory, dedup window, registry and state file."""
        memories = self.recovered.memories
        memories.validate()
        self.recovered.dedup.validate()
        self.recovered.registry.validate(memories, self.state_writer.number)
        self.database.validate()


@asynccontextmanager
async def running_pipeline(
    path: Path, *, cleanly: bool = False, **settings: Any
) -> AsyncIterator[PipelineHarness]:
    running = PipelineHarness(path, **settings)
    task = asyncio.create_task(running.pipeline.run())
    try:
        yield running
        running.pipeline.stop()
        await task
        await running.state_writer.fetch([])  # the disk thread still makes the calls of cancelled tasks
        running.validate()
    finally:
        task.cancel()
        await running.state_writer.close(cleanly=cleanly)


def reading(device: str, value: float, t: float, **more: Any) -> SentMessage:
    return SentMessage(f"s/{device}", json.dumps({"v": value, "t": 1.7e9 + t}).encode(), **more)
