"""A worker with all that it needs, on a scripted link."""

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
from stream_lstm.service.metrics.counters import Measures
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.pipeline.lateness import Order
from stream_lstm.service.pipeline.pipeline import Worker
from stream_lstm.service.pipeline.recorder import Chronicle
from stream_lstm.service.pipeline.staleness import Change, Silence
from stream_lstm.service.publications import Outbox
from stream_lstm.service.settings.load import Settings
from stream_lstm.service.state.recovery import Restored, restore
from stream_lstm.service.state.residency import Streams
from stream_lstm.service.state.writer import Keeper
from stream_lstm.store.database import Database
from tests.service.scripted import Said, ScriptedLink

MODEL = load_model(None)


class Line:
    """A worker with its keeper, on a scripted link."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.settings = Settings(
            subscribe=[{"topic": "s/{d}", "stream": "{d}", "fields": ["v", "w"], "time": ["t"]}],
            state={"path": path, "checkpoint_rows_max": 2},
            **settings,
        )
        self.database = Database.open(path, identity(MODEL))
        encoder = Encoder(MODEL.id, MODEL.description)
        self.outbox = Outbox(self.settings.publish, encoder, status_topic="status")
        self.restored: Restored = restore(
            self.database, MODEL, self.outbox, streams_max=self.settings.limits.streams_max
        )
        self.measures = Measures()
        self.now = 0.0  # seconds, monotonic
        self.wall = 1_700_000_000.0  # epoch seconds
        self.link = ScriptedLink()
        self.link.settled = self.restored.settled
        self.keeper = Keeper(self.database, self.restored, self.settings.state, self.measures)
        self.streams = Streams(
            self.restored,
            self.keeper,
            self.settings.limits,
            self.measures,
            confirm=self.link.confirm,
            clock=lambda: self.now,
        )
        self.freezer = freezer(self.settings)
        self.changes: list[Change] = []
        self.silence = Silence(self.restored.memories, lambda: self.link.connected_since, self.changes.append)
        self.chronicle = Chronicle(MODEL, self.restored.memories, recent_events_max=1_000)
        self.worker = Worker(
            freezer=self.freezer,
            order=Order(self.settings.time, self.restored.memories),
            silence=self.silence,
            chronicle=self.chronicle,
            link=self.link,  # type: ignore[arg-type]
            engine=self.restored.engine,
            decoder=decoder(self.settings, MODEL),
            outbox=self.outbox,
            keeper=self.keeper,
            window=self.restored.window,
            measures=self.measures,
            streams=self.streams,
            batch_events_max=100,
            clock=lambda: self.wall,
        )

    def predictions(self) -> list[dict[str, Any]]:
        return [
            json.loads(body) for topic, body in self.link.publications if topic.startswith("predictions/")
        ]

    def records(self) -> dict[str, bytes]:
        memories = self.restored.memories
        keys = ["a:v", "b:v"]
        return {
            key: memories.records(np.array(memories.rows([key]), np.intp))[0]
            for key in keys
            if key in memories
        }


@asynccontextmanager
async def line(path: Path, *, cleanly: bool = False, **settings: Any) -> AsyncIterator[Line]:
    running = Line(path, **settings)
    task = asyncio.create_task(running.worker.run())
    try:
        yield running
        running.worker.stop()
        await task
    finally:
        task.cancel()
        await running.keeper.close(cleanly=cleanly)


def said(device: str, value: float, t: float, **more: Any) -> Said:
    return Said(f"s/{device}", json.dumps({"v": value, "t": 1.7e9 + t}).encode(), **more)
