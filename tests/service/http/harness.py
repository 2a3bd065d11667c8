"""Harness for the API: the parts of a running service without a broker, and an HTTP client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from prometheus_client import CollectorRegistry

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.compilation import compile_ahead
from stream_lstm.core.model.file import LstmModel
from stream_lstm.events import Events
from stream_lstm.service.assembly import identity, load_model
from stream_lstm.service.http import HttpContext, WebRoutes
from stream_lstm.service.http.api import Api
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
Json = dict[str, Any]


async def confirmed(_: int) -> None:
    """The broker has all predictions."""


class Harness:
    """The recovered state of a service, and the context that the API reads.

    Args:
        path: of the state file.
        kept: events in the history.
        settings: sections beside `state`.

    Attributes:
        clock: of the context; seconds, monotonic.
        wall_clock: of the context; epoch seconds.
        now: event time of the last event, epoch seconds.
        features: F, of the model.
    """

    def __init__(self, path: Path, *, model: LstmModel = MODEL, kept: int = 1_000, **settings: Any) -> None:
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
        compile_ahead(self.engine)  # as the service does at its start
        self.registry = self.recovered.registry
        self.counters = Counters(started_seconds=BEGUN, checkpoint_time=BEGUN)
        self.state_writer = StateWriter(self.database, self.recovered, self.settings.state, self.counters)
        self.residency = Residency(
            self.recovered, self.state_writer, self.settings.limits, self.counters, confirm=confirmed
        )
        self.staleness = StalenessMonitor(self.memories, self.registry, lambda: 1.0, lambda change: None)
        self.recorder = Recorder(model, self.memories, self.registry, recent_events_max=kept)
        self.freezer = freezer(self.settings)
        self.obstacles: list[str] = []
        self.clock: Callable[[], float] = time.monotonic
        self.wall_clock: Callable[[], float] = time.time
        self.now = BEGUN
        self.features = len(model.spec.features)

    def gauges(self) -> Gauges:
        return replace(
            PRESENT,
            model=self.engine.model.id,
            streams=len(self.memories),
            streams_on_disk=self.residency.on_disk,
            streams_stale=self.staleness.stale,
        )

    @property
    def context(self) -> HttpContext:
        return HttpContext(
            settings=self.settings,
            engine=self.engine,
            registry=self.registry,
            recorder=self.recorder,
            state_writer=self.state_writer,
            freezer=self.freezer,
            counters=self.counters,
            gauges=self.gauges,
            obstacles=lambda: self.obstacles,
            clock=self.clock,
            wall_clock=self.wall_clock,
        )

    async def apply(self, keys: Sequence[str], values: Any, *, mark: int = 0, gap: float = 1.0) -> list[Json]:
        """Apply a batch of events, each `gap` seconds after the one before; returns its predictions."""
        columns = np.asarray(values, np.float64).reshape(len(keys), self.features)
        times = (self.now + gap * (np.arange(len(keys)) + 1)).tolist()
        self.now = times[-1]
        events = Events(list(keys), times, [mark] * len(keys), columns.ravel().tolist())
        new_streams, rejected = await self.residency.admit(keys)
        assert not rejected
        rows = np.array(self.memories.rows(keys), np.intp)
        batch = events.batch(rows, self.features)
        entry = Entry(
            number=self.state_writer.number + 1,
            model=self.engine.model.id,
            batch=batch.with_streams(self.memories.ids[rows].astype(np.intp)),
            new_streams=new_streams,
            digests=np.empty((0, 2), np.uint64),
            rejected=[],
            published_through=self.state_writer.number,
            acked_through=self.state_writer.number,
        )
        committed = self.state_writer.commit(entry)
        predictions = self.engine.apply(batch)
        totals = predictions.totals()
        self.staleness.observe(rows, predictions.anomaly, entry.number, self.now)
        self.recorder.record_batch(batch, predictions, totals, self.now)
        self.counters.observe_predictions(totals)
        self.counters.events_total += len(keys)
        self.counters.predictions_total += len(keys)
        await committed
        return [json.loads(payload) for payload in self.encoder.encode(events, predictions)]

    def reject(self, reason: str, *, topic: str = "s/a", payload: bytes = b"x", detail: str = "no") -> None:
        """Record a rejected message."""
        self.counters.rejected_total[reason] += 1
        self.recorder.record_rejection(Rejection(topic, payload, reason, detail, self.now))

    def row(self, key: str) -> int:
        (row,) = self.memories.rows([key])
        assert row is not None
        return row


@asynccontextmanager
async def open_harness(path: Path, **options: Any) -> AsyncIterator[Harness]:
    harness = Harness(path, **options)
    try:
        yield harness
        harness.memories.validate()
        harness.registry.validate(harness.memories, harness.state_writer.number)
        harness.database.validate()
    finally:
        await harness.state_writer.close(cleanly=False)


class Client:
    """An HTTP client of a server."""

    def __init__(self, session: aiohttp.ClientSession, server: HttpServer, routes: WebRoutes) -> None:
        self.session, self.server, self.routes = session, server, routes

    @property
    def api(self) -> Api:
        assert self.routes._api
        return self.routes._api

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def request(
        self, path: str, method: str = "GET", *, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (parsed if it is JSON), headers by lower-case names; values of one name by line."""
        async with self.session.request(method, self.url + path, params=query, headers=headers) as response:
            body = await response.read()
            found = {name.lower(): "\n".join(response.headers.getall(name)) for name in response.headers}
            if found.get("content-type", "").startswith("application/json") and body:
                return response.status, json.loads(body), found
            return response.status, body, found

    async def get(self, path: str, **query: Any) -> Json:
        """The answer to a request that succeeds."""
        status, answer, _ = await self.request(path, **query)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer


@asynccontextmanager
async def serve(context: HttpContext | None, *, page: bool = True, **options: Any) -> AsyncIterator[Client]:
    """A server, and a client of it.

    Args:
        context: None: the API does not serve yet.
        page: serve live page and API.
    """
    routes = WebRoutes()
    if context:
        routes.open(context)
    server = HttpServer(CollectorRegistry(), list, routes=routes if page else None, **options)
    await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, server, routes)
    finally:
        await server.close()


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
