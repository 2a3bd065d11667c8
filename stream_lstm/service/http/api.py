"""The read-only API: what can be asked, what comes back, and who answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, get_args

import numpy as np

from stream_lstm.core.codec.naming import Naming
from stream_lstm.core.model.spec import LAYERS_MAX
from stream_lstm.core.record import row_type
from stream_lstm.events import REASONS
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.live_feed import LiveFeed
from stream_lstm.service.http.overview import OverviewBuilder
from stream_lstm.service.http.parameters import Parameter
from stream_lstm.service.http.stream_detail import EVENTS_MAX, INSIDES_MAX, StreamDetail
from stream_lstm.service.http.stream_list import LIMIT_MAX, ListQuery, Sort, State, StreamList
from stream_lstm.service.pipeline.recorder import RecordedAlert, RejectedExample
from stream_lstm.service.settings.load import masked

OFFSET_MAX = 100_000_000
Reply = Callable[[dict[str, Any]], Awaitable[Any]]


class Endpoint(NamedTuple):
    """Something that can be asked.

    Attributes:
        summary: what it answers, in a sentence.
        answer: the shape of that.
        unknown: whether what is named may not be there.
    """

    path: str
    summary: str
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    unknown: bool = False


NAME = Parameter("name", "the stream's name")
LAYER = Parameter(
    "layer",
    "of the cell, counted from 0; the last is the one that the prediction is read from",
    0,
    most=LAYERS_MAX - 1,
)
LIVE = Endpoint(
    "/api/live",
    "Server-sent events: `overview` each second, and of one stream `news` as they come (or `gone`).",
    None,
    (Parameter("name", "the stream to tell of; none: only how the service fares", ""), LAYER),
)
ENDPOINTS = {
    "overview": Endpoint(
        "/api/overview", "How the service fares, and what it has seen since its start.", schemas.Overview
    ),
    "streams": Endpoint(
        "/api/streams",
        "The streams in memory by the page: searched, filtered, sorted.",
        schemas.Streams,
        (
            Parameter("search", "text that the name holds, in any case", ""),
            Parameter("state", "only those that are so", "all", get_args(State)),
            Parameter("sort", "what they are sorted by", "odd", get_args(Sort)),
            Parameter(
                "order",
                "the larger first, or the smaller; left out: names from A on, all else the larger",
                "",
                ("", "ascending", "descending"),
            ),
            Parameter("offset", "how many to skip", 0, most=OFFSET_MAX),
            Parameter("limit", "how many to give", 50, least=1, most=LIMIT_MAX),
        ),
    ),
    "stream": Endpoint(
        "/api/stream",
        "One stream and its last events.",
        schemas.Stream,
        (NAME, Parameter("events", "how many of the last, as far as they are kept", 300, most=EVENTS_MAX)),
        unknown=True,
    ),
    "insides": Endpoint(
        "/api/stream/insides",
        "A stream's memory, and what the four gates did with its last events.",
        schemas.Insides,
        (
            NAME,
            LAYER,
            Parameter("events", "how many of the last, as far as they can be told", 96, most=INSIDES_MAX),
        ),
        unknown=True,
    ),
    "alerts": Endpoint("/api/alerts", "The latest alerts, newest first.", schemas.Alerts),
    "rejected": Endpoint(
        "/api/rejected", "What was refused, by reason, with the latest examples.", schemas.Rejected
    ),
    "model": Endpoint("/api/model", "The model in use: what goes in and comes out.", schemas.Card),
    "settings": Endpoint("/api/settings", "The settings in force, secrets as stars.", schemas.Settings),
}


class Api:
    """Answers; one function an endpoint."""

    def __init__(self, view: HttpContext) -> None:
        self._view = view
        self._naming = Naming(view.engine.model.spec)
        budget = CpuBudget()
        self._watcher = OverviewBuilder(view)
        self._listing = StreamList(view, budget)
        self._teller = StreamDetail(view, budget)
        self.budget = budget
        self.feed = LiveFeed(self._watcher, self._teller, budget, viewers_max=view.settings.http.viewers_max)

    async def close(self) -> None:
        """Send everybody away."""
        await self.feed.close()
        self._listing.close()

    @property
    def layers(self) -> int:
        """Of the model."""
        return self._view.engine.model.spec.layers

    async def overview(self) -> schemas.Overview:
        """How the service fares."""
        with self.budget.spending():
            return self._watcher.overview(viewers=self.feed.viewers)

    async def streams(
        self, *, search: str, state: State, sort: Sort, order: str, offset: int, limit: int
    ) -> schemas.Streams:
        """A page of the list."""
        ascending = order == "ascending" if order else sort == "name"
        return await self._listing.page(ListQuery(search, state, sort, ascending), offset=offset, limit=limit)

    async def stream(self, *, name: str, events: int) -> schemas.Stream:
        """One stream."""
        return await self._teller.stream(name, events=events)

    async def insides(self, *, name: str, layer: int, events: int) -> schemas.Insides:
        """A stream's cell."""
        return await self._teller.insides(name, layer=layer, events=events)

    async def alerts(self) -> schemas.Alerts:
        """The latest alerts."""
        with self.budget.spending():
            told = [self._alert(incident) for incident in reversed(self._view.recorder.alerts)]
        return schemas.Alerts(self._view.counters.alerts_total, told)

    def _alert(self, incident: RecordedAlert) -> schemas.Alert:
        return schemas.Alert(
            name=incident.stream,
            seq=incident.seq,
            time=incident.time,
            at=incident.at,
            anomaly=round(incident.anomaly, 3),
            kind=incident.kind,
            value=self._naming.value(incident.value),
            expected=self._naming.target(incident.expected),
        )

    async def rejected(self) -> schemas.Rejected:
        """What was refused."""
        counts, refusals = self._view.counters.rejected_total, self._view.recorder.rejections
        with self.budget.spending():
            reasons = [
                schemas.Refusals(reason, meaning, counts[reason], _examples(refusals[reason]))
                for reason, meaning in REASONS.items()
            ]
        return schemas.Rejected(sum(counts.values()), reasons)

    async def model(self) -> schemas.Card:
        """The model in use."""
        model, path = self._view.engine.model, self._view.settings.model.path
        of = model.spec
        arrays = [array for layer in model.layers for array in layer] + list(model.readout)
        return schemas.Card(
            id=model.id,
            name=of.name,
            source=str(path) if path else "the default model inside",
            readout=of.readout,
            scaling=of.scaling,
            features=of.features,
            targets=of.targets,
            labels=of.labels,
            inputs=of.inputs,
            layers=of.layers,
            units=of.units,
            horizon=of.horizon,
            weights=int(np.sum([array.size for array in arrays])),
            memory_bytes_per_stream=row_type(of).itemsize,
            made=of.made,
        )

    async def settings(self) -> schemas.Settings:
        """The settings in force."""
        return masked(self._view.settings)


def _examples(refusals: deque[RejectedExample]) -> list[schemas.Example]:
    """The newest first, as text."""
    return [
        schemas.Example(
            time=refusal.time,
            topic=refusal.topic,
            detail=refusal.detail,
            payload=refusal.payload.decode("utf-8", "backslashreplace"),
            payload_bytes=refusal.payload_bytes,
        )
        for refusal in reversed(refusals)
    ]
