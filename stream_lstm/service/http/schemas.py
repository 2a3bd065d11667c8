"""Schemas of the API's JSON answers; `openapi` generates the description from them.

Times are epoch seconds, durations seconds. A number is null where it is unknown: a prediction before the
first event, a ratio of nothing. With several features or targets a value is an object by name. "Relative
error" is the mean error relative to the last-value forecast; 1.0 is no better. "Coverage" is the share of
values inside their prediction interval.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stream_lstm.core.codec.naming import Interval, Numbers

Layer = list[float]  # (H,) a number a unit


class Answer(msgspec.Struct, gc=False):
    """Base of all answers."""


class Problem(Answer):
    """Why a request failed, and which parameter is wrong."""

    error: str
    parameter: str | None = None


class Counts(Answer):
    """Numbers of streams."""

    known: int  # in memory and on disk
    memory: int
    disk: int  # read back with their next event
    active: int  # with an event in the last minute
    stale: int  # without events for three times their longest recent gap
    odd: int  # anomalous now, or in the last minutes
    frozen_filters: int


class Latency(Answer):
    """Latency from a message's arrival to its prediction's write, over the last seconds."""

    median_seconds: float | None  # p50
    p99_seconds: float | None


class Overview(Answer):
    """State of the service: rates over the last seconds, levels now, counts since the start."""

    version: str
    model: str
    now: float
    started: float
    ready: bool
    obstacles: list[str]  # why it is not ready
    connected: bool
    broker: str
    over_seconds: float  # that the rates cover
    events_per_second: float
    predictions_per_second: float
    rejected_per_second: float
    latency: Latency
    streams: Counts
    events: int
    predictions: int
    alerts: int
    rejected: dict[str, int]  # by reason
    redelivered: int  # duplicates, dropped
    late: int
    backlog_seconds: float | None  # age of the newest event, by event time
    inbox_messages: int  # received and not yet applied
    unacknowledged: int
    reading_paused: bool  # backpressure
    error_ratio: float | None  # relative error since the start
    covered: float | None  # coverage since the start
    interval: float  # target coverage
    alert_from: float  # anomalous from this score on
    checkpoint_age_seconds: float
    state_bytes: int
    viewers: int


class Line(Answer):
    """A stream in the list."""

    name: str
    events: int
    time: float  # of the newest event
    seen: float  # arrival of the last event
    value: Numbers
    prediction: Numbers  # for the next event
    interval: Interval
    anomaly: float | None  # of the last event
    odd: float  # anomaly of the last event, or faded of one in the last minutes, whichever is larger
    error_ratio: float | None  # recent relative error of the worst target
    covered: float | None  # recent coverage of the target farthest from the intended one
    warm: bool
    stale: bool


class Streams(Answer):
    """A page of the list of streams."""

    total: int  # matching streams
    memory: int  # streams in memory
    disk: int  # streams on disk, which are not listed
    offset: int
    streams: list[Line]


class Event(Answer):
    """An event, the prediction for it, and the prediction after it."""

    seq: int
    time: float
    clock: str
    value: Numbers
    expected: Numbers  # prediction for this event
    expected_interval: Interval
    prediction: Numbers  # for the next event
    interval: Interval
    anomaly: float | None
    kind: str | None
    alert: bool
    frozen: bool
    label: str | None = None
    probabilities: dict[str, float] | None = None


class Stream(Answer):
    """One stream and its last events, oldest first."""

    name: str
    where: str  # memory, or disk
    events_total: int
    time: float  # of the newest event
    seen: float  # arrival of the last event
    value: Numbers
    prediction: Numbers
    interval: Interval
    anomaly: float | None  # of the last event
    odd: float  # as in Line
    error_ratio: Numbers  # recent relative error
    covered: Numbers  # recent coverage
    mean: Numbers
    deviation: Numbers
    usual_gap_seconds: float
    warm: bool
    stale: bool
    frozen: bool
    features: list[str]
    targets: list[str]
    labels: list[str]
    alert_from: float  # anomalous from this score on
    interval_share: float  # target coverage
    events: list[Event]


class Inside(Answer):
    """Gates of one layer at an event; one number per unit, rounded."""

    seq: int
    time: float
    event: list[float]  # input of the first layer
    forget: Layer  # share of the LTM (cell state) that was kept
    learn: Layer  # input gate: share of the news that counted
    news: Layer  # candidate: news in STM and event, -1 to 1
    use: Layer  # output gate: share of the new LTM that was shown
    ltm: Layer  # cell state after the event
    stm: Layer  # hidden state after the event


class Ahead(Answer):
    """Prediction for some events ahead."""

    ahead: int
    value: Numbers
    interval: Interval


class Insides(Answer):
    """One layer of a stream's cell: its gates at the last events, oldest first, and its memory now."""

    name: str
    layer: int
    layers: int
    units: int
    entering: list[str]  # names of the first layer's inputs
    seq: int  # of the event after which LTM and STM are given
    ltm: Layer
    stm: Layer
    events: list[Inside]
    forecast: list[Ahead]  # after the last of these events


class News(Answer):
    """New events of a stream, for viewers of the live feed."""

    name: str
    after: int  # seq of the last event that was sent before
    events: list[Event]
    insides: list[Inside]
    forecast: list[Ahead]


class Example(Answer):
    """A rejected message, shortened, as text."""

    time: float
    topic: str
    detail: str
    payload: str
    payload_bytes: int


class Refusals(Answer):
    """Rejections for one reason since the start, with the latest examples, newest first."""

    reason: str
    meaning: str
    count: int
    examples: list[Example]


class Rejected(Answer):
    """Rejections since the start, by reason."""

    total: int
    reasons: list[Refusals]


class Alert(Answer):
    """The first event of an incident, or one at which it became far worse."""

    name: str
    seq: int
    time: float  # of the event
    at: float  # of the prediction
    anomaly: float
    kind: str
    value: Numbers
    expected: Numbers


class Alerts(Answer):
    """The latest alerts, newest first."""

    total: int  # since the start
    alerts: list[Alert]


class Card(Answer):
    """The model in use."""

    id: str
    name: str
    source: str
    readout: str
    scaling: str
    features: list[str]
    targets: list[str]
    labels: list[str]
    inputs: list[str]
    layers: int
    units: int
    horizon: list[int]
    weights: int
    memory_bytes_per_stream: int
    made: dict[str, str]


Settings = dict[str, Any]
