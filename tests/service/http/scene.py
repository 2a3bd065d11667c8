"""A line's parts, put together for people to look at: events are applied as the worker does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from prometheus_client import CollectorRegistry

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.model.file import Model
from stream_lstm.events import Events
from stream_lstm.service.assembly import identity, load_model
from stream_lstm.service.http import HttpContext, WebRoutes
from stream_lstm.service.http.server import HttpServer
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.pipeline.freeze import freezer
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import StalenessMonitor
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import recover
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry, Rejection
from tests.service.metrics.test_exporter import PRESENT

MODEL = load_model(None)
BEGUN = 1_700_000_000.0
Told = dict[str, Any]


async def confirmed(_: int) -> None:
    """The broker has everything."""


class Scene:
    """A restored line without a broker, and the view of it.

    Args:
        path: of the state file.
        kept: events.
    """

    def __init__(self, path: Path, *, model: Model = MODEL, kept: int = 1_000, **settings: Any) -> None:
        self.settings = Settings(
            state={"path": path}, http={"recent_events_max": kept, **settings.pop("http", {})}, **settings
        )
        self.database = Database.open(path, identity(model))
        self.encoder = Encoder(model.id, model.spec, forecast=True)
        builder = PublicationBuilder(self.settings.publish, self.encoder, status_topic="status")
        self.recovered = recover(
            self.database,
            model,
            builder,
            streams_max=self.settings.limits.streams_max,
            now=BEGUN,
            batch_events_max=1,
        )
        self.engine, self.memories = self.recovered.engine, self.recovered.memories
        self.registry = self.recovered.registry
        self.counters = Counters(started_seconds=BEGUN, checkpoint_time=BEGUN)
        self.state_writer = StateWriter(self.database, self.recovered, self.settings.state, self.counters)
        self.streams = Residency(
            self.recovered, self.state_writer, self.settings.limits, self.counters, confirm=confirmed
        )
        self.staleness = StalenessMonitor(self.memories, self.registry, lambda: 1.0, lambda change: None)
        self.recorder = Recorder(model, self.memories, self.registry, recent_events_max=kept)
        self.freezer = freezer(self.settings)
        self.obstacles: list[str] = []
        self.now = BEGUN
        self.wide = len(model.spec.features)

    def present(self) -> Gauges:
        return replace(
            PRESENT,
            model=self.engine.model.id,
            streams=len(self.memories),
            streams_on_disk=self.streams.on_disk,
            streams_stale=self.staleness.stale,
        )

    @property
    def view(self) -> HttpContext:
        return HttpContext(
            settings=self.settings,
            engine=self.engine,
            registry=self.registry,
            recorder=self.recorder,
            state_writer=self.state_writer,
            freezer=self.freezer,
            counters=self.counters,
            present=self.present,
            obstacles=lambda: self.obstacles,
        )

    async def come(self, keys: Sequence[str], values: Any, *, mark: int = 0, gap: float = 1.0) -> list[Told]:
        """A batch of events, each of which comes `gap` seconds after the one before; what is published."""
        columns = np.asarray(values, np.float64).reshape(len(keys), self.wide)
        times = (self.now + gap * (np.arange(len(keys)) + 1)).tolist()
        self.now = times[-1]
        events = Events(list(keys), times, [mark] * len(keys), columns.ravel().tolist())
        named, refused = await self.streams.admit(keys)
        assert not refused
        rows = np.array(self.memories.rows(keys), np.intp)
        batch = events.batch(rows, self.wide)
        entry = Entry(
            number=self.state_writer.number + 1,
            model=self.engine.model.id,
            batch=batch.with_streams(self.memories.ids[rows].astype(np.intp)),
            new_streams=named,
            digests=np.empty((0, 2), np.uint64),
            rejected=[],
            published_through=self.state_writer.number,
            acked_through=self.state_writer.number,
        )
        committed = self.state_writer.commit(entry)
        predictions = self.engine.apply(batch)
        self.staleness.observe(rows, self.now)
        self.registry.record_applied(rows, entry.number, self.now)
        self.recorder.record_batch(batch, predictions, self.now)
        self.counters.observe_predictions(predictions)
        self.counters.events_total += len(keys)
        self.counters.predictions_total += len(keys)
        await committed
        return [json.loads(payload) for payload in self.encoder.encode(events, predictions)]

    def refuse(self, reason: str, *, topic: str = "s/a", payload: bytes = b"x", detail: str = "no") -> None:
        """A message is refused."""
        self.counters.rejected_total[reason] += 1
        self.recorder.record_rejection(Rejection(topic, payload, reason, detail, self.now))

    def row(self, key: str) -> int:
        (row,) = self.memories.rows([key])
        assert row is not None
        return row


@asynccontextmanager
async def scene(path: Path, **options: Any) -> AsyncIterator[Scene]:
    set_up = Scene(path, **options)
    try:
        yield set_up
    finally:
        await set_up.state_writer.close(cleanly=False)


class Visitor:
    """Asks over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, server: HttpServer, site: WebRoutes) -> None:
        self.session, self.server, self.site = session, server, site

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def ask(
        self, path: str, method: str = "GET", *, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, what came back (JSON if it is), headers by small names; a line for each of one name."""
        async with self.session.request(method, self.url + path, params=query, headers=headers) as answer:
            body = await answer.read()
            found = {name.lower(): "\n".join(answer.headers.getall(name)) for name in answer.headers}
            if found.get("content-type", "").startswith("application/json") and body:
                return answer.status, json.loads(body), found
            return answer.status, body, found

    async def told(self, path: str, **query: Any) -> Told:
        """What a question is answered with."""
        status, answer, _ = await self.ask(path, **query)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer


@asynccontextmanager
async def visited(view: HttpContext | None, *, page: bool = True, **options: Any) -> AsyncIterator[Visitor]:
    """A server that shows a view, and somebody who asks it."""
    site = WebRoutes()
    if view:
        site.open(view)
    server = HttpServer(CollectorRegistry(), list, site=site if page else None, **options)
    await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            yield Visitor(session, server, site)
    finally:
        await server.close()


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
