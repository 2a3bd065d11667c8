"""What the API answers: the shapes of its JSON, of which `openapi` makes the description.

Times are epoch seconds, durations seconds. A number is null where there is none: a prediction before the
first event, a ratio of nothing. Of a model with several features or targets a value is an object by name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stream_lstm.core.codec.naming import Interval, Numbers

Layer = list[float]


class Answer(msgspec.Struct, gc=False):
    """One of the shapes below."""


class Problem(Answer):
    """Why there is no answer."""

    error: str
    parameter: str | None = None


class Counts(Answer):
    """How many streams there are."""

    known: int
    memory: int
    disk: int  # wait there for their next event
    active: int  # heard of within the last minute
    stale: int  # silent for longer than they should be
    odd: int  # within the last minutes
    frozen_filters: int


class Latency(Answer):
    """From a message's arrival to its prediction's write, over the last seconds."""

    median_seconds: float | None
    p99_seconds: float | None


class Overview(Answer):
    """How the service fares, and what it has seen since its start."""

    version: str
    model: str
    now: float
    started: float
    ready: bool
    obstacles: list[str]
    connected: bool
    broker: str
    over_seconds: float  # what the rates are taken over
    events_per_second: float
    predictions_per_second: float
    rejected_per_second: float
    latency: Latency
    streams: Counts
    events: int
    predictions: int
    alerts: int
    rejected: dict[str, int]  # by reason
    redelivered: int
    late: int
    backlog_seconds: float | None  # now minus the newest event time seen
    inbox_messages: int
    unacknowledged: int
    reading_paused: bool
    error_ratio: float | None  # mean error by that of "same as last time", since the start
    covered: float | None  # share of values inside their interval, since the start
    interval: float  # the share that is meant
    alert_from: float  # an anomaly from here on is odd
    checkpoint_age_seconds: float
    state_bytes: int
    viewers: int


class Line(Answer):
    """A stream in a line of the list."""

    name: str
    events: int
    time: float  # of the newest event
    seen: float  # when it was last heard of
    value: Numbers
    prediction: Numbers  # for the next event
    interval: Interval
    anomaly: float | None  # of the last event
    odd: float  # how odd it is, or still is from the last minutes
    error_ratio: float | None  # mean error by that of "same as last time", of late; the worst target's
    covered: float | None  # share of values inside their interval, of late; the worst target's
    warm: bool
    stale: bool


class Streams(Answer):
    """A page of the list."""

    total: int  # that match
    memory: int  # that there are, in memory
    disk: int  # that wait on disk, and are not listed
    offset: int
    streams: list[Line]


class Event(Answer):
    """An event, what was expected of it, and what is expected after it."""

    seq: int
    time: float
    clock: str
    value: Numbers
    expected: Numbers  # for this event
    expected_interval: Interval  # likewise
    prediction: Numbers  # for the next one
    interval: Interval  # likewise
    anomaly: float | None
    kind: str | None
    alert: bool
    frozen: bool
    label: str | None = None
    probabilities: dict[str, float] | None = None


class Stream(Answer):
    """One stream, and its last events, oldest first."""

    name: str
    where: str  # memory, or disk
    events_total: int
    time: float
    seen: float
    value: Numbers
    prediction: Numbers
    interval: Interval
    anomaly: float | None
    odd: float
    error_ratio: Numbers
    covered: Numbers
    mean: Numbers
    deviation: Numbers
    usual_gap_seconds: float
    warm: bool
    stale: bool
    frozen: bool
    features: list[str]
    targets: list[str]
    labels: list[str]
    alert_from: float  # an anomaly from here on is odd
    interval_share: float  # of the values that are to lie inside their interval
    events: list[Event]


class Inside(Answer):
    """What the gates of one layer did with an event; a number a unit, rounded."""

    seq: int
    time: float
    event: list[float]  # what entered the first layer
    forget: Layer  # share of the LTM that was kept
    learn: Layer  # share of the news that counted
    news: Layer  # what was new in STM and event, -1 to 1
    use: Layer  # share of the new LTM that was shown
    ltm: Layer  # after the event
    stm: Layer  # after the event


class Ahead(Answer):
    """What is expected some events ahead."""

    ahead: int
    value: Numbers
    interval: Interval


class Insides(Answer):
    """A stream's cell at work on its last events, oldest first; and its memory now."""

    name: str
    layer: int
    layers: int
    units: int
    entering: list[str]  # names of what enters the first layer
    seq: int  # of the event that LTM and STM stand after
    ltm: Layer
    stm: Layer
    events: list[Inside]
    forecast: list[Ahead]  # after the last of these events


class News(Answer):
    """What is new of a stream since the last time, for those who look at it live."""

    name: str
    after: int  # the seq up to which this was told before
    events: list[Event]
    insides: list[Inside]
    forecast: list[Ahead]


class Example(Answer):
    """A message that was refused; shortened, and as text."""

    time: float
    topic: str
    detail: str
    payload: str
    payload_bytes: int


class Refusals(Answer):
    """What was refused for one reason since the start, with the latest examples, newest first."""

    reason: str
    meaning: str
    count: int
    examples: list[Example]


class Rejected(Answer):
    """What was refused, by reason."""

    total: int
    reasons: list[Refusals]


class Alert(Answer):
    """An incident that began, or got far worse."""

    name: str
    seq: int
    time: float  # of the event
    at: float  # when it was predicted
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
