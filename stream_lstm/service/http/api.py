"""The read-only API: its endpoints, their parameters, and the methods that answer them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

import numpy as np

from stream_lstm.core.codec.naming import Naming
from stream_lstm.core.model.spec import LAYERS_MAX
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
from stream_lstm.service.settings import masked

OFFSET_MAX = 100_000_000  # ten times the most streams that limits.streams_max allows


class Endpoint(NamedTuple):
    """A path of the API.

    Attributes:
        summary: what it answers, in a sentence.
        answer: type of the answer.
        not_found: True if it answers 404 for a stream that does not exist.
    """

    path: str
    summary: str
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    not_found: bool = False


NAME = Parameter("name", "name of the stream")
LAYER = Parameter(
    "layer",
    "layer of the cell, counted from 0; predictions are read from the last one",
    0,
    maximum=LAYERS_MAX - 1,
)
LIVE = Endpoint(
    "/api/live",
    "Server-sent events: `overview` each second; for one stream `news` when there are new events, or `gone`.",
    None,
    (Parameter("name", "name of the stream to follow; empty: overviews only", ""), LAYER),
)
ENDPOINTS = {
    "overview": Endpoint(
        "/api/overview",
        "State of the service: rates over the last seconds, counts since the start.",
        schemas.Overview,
    ),
    "streams": Endpoint(
        "/api/streams",
        "Streams in memory: searched, filtered, sorted, in pages.",
        schemas.Streams,
        (
            Parameter("search", "text that the stream's name contains, ignoring case", ""),
            Parameter(
                "state",
                "only streams in this state; `worse`: predicted worse than by the last-value forecast",
                "all",
                get_args(State),
            ),
            Parameter(
                "sort",
                "sort key; `error`: relative error, `covered`: coverage, `seen`: arrival of the last event",
                "anomaly",
                get_args(Sort),
            ),
            Parameter(
                "order",
                "sort order; empty: ascending for names, descending for all other keys",
                "",
                ("", "ascending", "descending"),
            ),
            Parameter("offset", "streams to skip", 0, maximum=OFFSET_MAX),
            Parameter("limit", "streams to return at most", 50, minimum=1, maximum=LIMIT_MAX),
        ),
    ),
    "stream": Endpoint(
        "/api/stream",
        "One stream and its last events.",
        schemas.Stream,
        (
            NAME,
            Parameter("events", "last events to return, as far as they are kept", 300, maximum=EVENTS_MAX),
        ),
        not_found=True,
    ),
    "insides": Endpoint(
        "/api/stream/insides",
        "A stream's LTM and STM, and what the four gates did with its last events.",
        schemas.Insides,
        (
            NAME,
            LAYER,
            Parameter(
                "events", "last events to return, as far as they can be traced", 96, maximum=INSIDES_MAX
            ),
        ),
        not_found=True,
    ),
    "alerts": Endpoint("/api/alerts", "The latest alerts, newest first.", schemas.Alerts),
    "rejected": Endpoint(
        "/api/rejected", "Rejections since the start by reason, with the latest examples.", schemas.Rejected
    ),
    "model": Endpoint("/api/model", "The model in use.", schemas.Card),
    "settings": Endpoint(
        "/api/settings", "The settings in force; secrets are shown as asterisks.", schemas.Settings
    ),
}


class Api:
    """Answers requests: a method for each of `ENDPOINTS`, with its parameters as arguments."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._naming = Naming(context.engine.model.spec)
        self.budget = CpuBudget()
        self._overviews = OverviewBuilder(context)
        self._stream_list = StreamList(context, self.budget)
        self._detail = StreamDetail(context, self.budget)
        self.feed = LiveFeed(
            self._overviews, self._detail, self.budget, viewers_max=context.settings.http.viewers_max
        )

    async def close(self) -> None:
        """Disconnect all viewers and end the thread."""
        await self.feed.close()
        self._stream_list.close()

    @property
    def layers(self) -> int:
        """Number of layers of the model."""
        return self._context.engine.model.spec.layers

    async def overview(self) -> schemas.Overview:
        """`/api/overview`."""
        with self.budget.charged():
            return self._overviews.overview(viewers=self.feed.viewers)

    async def streams(
        self, *, search: str, state: State, sort: Sort, order: str, offset: int, limit: int
    ) -> schemas.Streams:
        """`/api/streams`."""
        ascending = order == "ascending" if order else sort == "name"
        query = ListQuery(search, state, sort, ascending)
        return await self._stream_list.page(query, offset=offset, limit=limit)

    async def stream(self, *, name: str, events: int) -> schemas.Stream:
        """`/api/stream`."""
        return await self._detail.stream(name, events=events)

    async def insides(self, *, name: str, layer: int, events: int) -> schemas.Insides:
        """`/api/stream/insides`."""
        return await self._detail.insides(name, layer=layer, events=events)

    async def alerts(self) -> schemas.Alerts:
        """`/api/alerts`."""
        with self.budget.charged():
            alerts = [self._alert(alert) for alert in reversed(self._context.recorder.alerts)]
        return schemas.Alerts(self._context.counters.alerts_total, alerts)

    def _alert(self, alert: RecordedAlert) -> schemas.Alert:
        return schemas.Alert(
            name=alert.stream,
            seq=alert.seq,
            time=alert.time,
            at=alert.at,
            anomaly=round(alert.anomaly, 3),
            kind=alert.kind,
            value=self._naming.value(alert.value),
            expected=self._naming.target(alert.expected),
        )

    async def rejected(self) -> schemas.Rejected:
        """`/api/rejected`."""
        counts, rejections = self._context.counters.rejected_total, self._context.recorder.rejections
        with self.budget.charged():
            reasons = [
                schemas.Refusals(reason, meaning, counts[reason], _examples(reversed(rejections[reason])))
                for reason, meaning in REASONS.items()
            ]
        return schemas.Rejected(sum(counts.values()), reasons)

    async def model(self) -> schemas.Card:
        """`/api/model`."""
        model, path = self._context.engine.model, self._context.settings.model.path
        spec = model.spec
        arrays = [array for layer in model.layers for array in layer] + list(model.readout)
        return schemas.Card(
            id=model.id,
            name=spec.name,
            source=str(path) if path else "the built-in default model",
            readout=spec.readout,
            scaling=spec.scaling,
            features=spec.features,
            targets=spec.targets,
            labels=spec.labels,
            inputs=spec.inputs,
            layers=spec.layers,
            units=spec.units,
            horizon=spec.horizon,
            weights=int(np.sum([array.size for array in arrays])),
            memory_bytes_per_stream=self._context.engine.memories.record_bytes,
            made=spec.made,
        )

    async def settings(self) -> schemas.Settings:
        """`/api/settings`."""
        return masked(self._context.settings)


def _examples(rejections: Iterable[RejectedExample]) -> list[schemas.Example]:
    """Rejected messages as text."""
    return [
        schemas.Example(
            time=rejection.time,
            topic=rejection.topic,
            detail=rejection.detail,
            payload=rejection.payload.decode("utf-8", "backslashreplace"),
            payload_bytes=rejection.payload_bytes,
        )
        for rejection in rejections
    ]
