"""Predictions and rejections to bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from itertools import repeat

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD, KINDS
from stream_lstm.core.trackers.scale import Doubles
from stream_lstm.events import CLOCK_BITS, FROZEN, Clock, Events

CLOCKS = tuple(clock.name.lower() for clock in Clock)
REJECTED_BYTES_MAX = 65_536  # of a rejected payload, what is sent on

DIGITS = 3  # of shares and ratios

Numbers = float | dict[str, float] | None
Interval = tuple[float, float] | dict[str, tuple[float, float]] | None


class HorizonStep(msgspec.Struct, gc=False):
    """What is expected some events ahead."""

    ahead: int
    value: Numbers
    interval: Interval


class Details(msgspec.Struct, gc=False):
    """How far a stream's predictions can be relied on, see `stream_lstm.core.trackers.accuracy`."""

    warm: bool
    error_ratio: Numbers
    covered: Numbers


class Prediction(msgspec.Struct, gc=False):
    """One event's prediction, as published; `docs/predictions.md` explains each field."""

    stream: str
    seq: int
    time: float
    clock: str
    value: Numbers
    expected: Numbers | UnsetType
    prediction: Numbers | UnsetType
    interval: Interval | UnsetType
    anomaly: float | UnsetType | None
    alert: bool | UnsetType
    kind: str | UnsetType | None
    trust: Numbers | UnsetType
    model: str
    label: str | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    frozen: bool | UnsetType = UNSET
    details: Details | UnsetType = UNSET
    forecast: list[HorizonStep] | UnsetType = UNSET


class Encoder:
    """Writes predictions of one model.

    Args:
        model: its id.
        details: say how far each can be relied on.
        forecast: say what is expected further ahead.
    """

    def __init__(
        self, model: str, description: ModelSpec, *, details: bool = False, forecast: bool = False
    ) -> None:
        self._model = model
        self._features = description.features
        self._targets = description.targets
        self._labels = description.labels
        self._single = len(self._features) == 1 and self._targets == self._features
        self._checked = any(target in self._features for target in self._targets)
        self._mixed = description.readout == "step"
        self._horizon = description.horizon
        self._details = details and self._checked
        self._forecast = forecast and bool(description.targets)
        self._json = msgspec.json.Encoder()

    def encode(self, events: Events, predictions: Predictions) -> list[bytes]:
        """A payload for each event, in their order."""
        make = self._plain if self._single else self._named
        said = make(events, predictions)
        if self._details:
            self._tell_details(said, predictions)
        if self._forecast:
            self._tell_forecast(said, predictions)
        if max(events.marks, default=0) >= FROZEN:
            for prediction, mark in zip(said, events.marks, strict=True):
                prediction.frozen = True if mark & FROZEN else UNSET
        return list(map(self._json.encode, said))

    def _tell_details(self, said: list[Prediction], predictions: Predictions) -> None:
        warm = (predictions.seq >= WARM_EVENTS).tolist()
        skill, covered = self._numbers(predictions.relative_mae), self._numbers(predictions.covered)
        for prediction, *details in zip(said, warm, skill, covered, strict=True):
            prediction.details = Details(*details)

    def _tell_forecast(self, said: list[Prediction], predictions: Predictions) -> None:
        steps = []
        for k, ahead in enumerate(self._horizon):
            expected, half_width = predictions.forecast[:, k], predictions.half_width[:, k]
            columns = (
                self._numbers(c, digits=None)
                for c in (expected, expected - half_width, expected + half_width)
            )
            steps.append(
                [HorizonStep(ahead, value, _interval(*ends)) for value, *ends in zip(*columns, strict=True)]
            )
        for prediction, *forecast in zip(said, *steps, strict=True):
            prediction.forecast = forecast

    def _numbers(self, columns: Doubles, digits: int | None = DIGITS) -> list[Numbers]:
        """(B, T) as B numbers, or as B objects by target."""
        rounded = columns if digits is None else columns.round(digits)
        if self._single:
            return list(rounded[:, 0].tolist())
        return [dict(zip(self._targets, row, strict=True)) for row in rounded.tolist()]

    def _plain(self, events: Events, predictions: Predictions) -> list[Prediction]:
        """One number in, one number out: no names needed. Column by column, as all of this takes its time."""
        coming, half_width = predictions.prediction[:, 0], predictions.half_width[:, 0, 0]
        odd = predictions.anomaly.tolist()
        kinds: Iterable[str | None] = repeat(None)
        if np.count_nonzero(predictions.anomaly >= ALERT_THRESHOLD):
            kinds = [
                KINDS[kind] if much >= ALERT_THRESHOLD else None
                for kind, much in zip(predictions.kind.tolist(), odd, strict=True)
            ]
        ends = zip((coming - half_width).tolist(), (coming + half_width).tolist(), strict=True)
        intervals: Iterable[Interval] = ends
        if np.count_nonzero(np.isnan(half_width)):
            intervals = [_interval(low, high) for low, high in ends]
        clocks: Iterable[str] = repeat(CLOCKS[events.marks[0] & CLOCK_BITS]) if events.marks else ()
        if len(set(events.marks)) > 1:
            clocks = [CLOCKS[mark & CLOCK_BITS] for mark in events.marks]
        return list(
            map(
                Prediction,
                events.keys,
                predictions.seq.tolist(),
                events.times,
                clocks,
                events.values,
                predictions.expected[:, 0].tolist(),  # NaN becomes null
                coming.tolist(),
                intervals,
                odd,
                predictions.alert.tolist(),
                kinds,
                predictions.trust[:, 0].round(DIGITS).tolist(),
                repeat(self._model),
            )
        )

    def _named(self, events: Events, predictions: Predictions) -> list[Prediction]:
        """Several numbers, or labels: by their names."""
        wide = len(self._features)
        out = []
        for n, key in enumerate(events.keys):
            value = dict(zip(self._features, events.values[n * wide : (n + 1) * wide], strict=True))
            said = Prediction(
                stream=key,
                seq=int(predictions.seq[n]),
                time=events.times[n],
                clock=CLOCKS[events.marks[n] & CLOCK_BITS],
                value=value if wide > 1 else events.values[n],
                expected=UNSET,
                prediction=UNSET,
                interval=UNSET,
                anomaly=float(predictions.anomaly[n]) if self._checked else UNSET,
                alert=bool(predictions.alert[n]) if self._checked else UNSET,
                kind=UNSET,
                trust=UNSET,
                model=self._model,
            )
            if self._checked:
                odd = predictions.anomaly[n] >= ALERT_THRESHOLD
                said.kind = KINDS[predictions.kind[n]] if odd else None
            if self._targets:
                self._outlook(said, predictions, n)
            if self._labels:
                odds = predictions.probabilities[n].tolist()
                said.label = self._labels[odds.index(max(odds))]
                said.probabilities = dict(zip(self._labels, odds, strict=True))
            out.append(said)
        return out

    def _outlook(self, said: Prediction, predictions: Predictions, n: int) -> None:
        expected, coming = predictions.expected[n].tolist(), predictions.prediction[n].tolist()
        half_width = predictions.half_width[n, 0].tolist()
        said.expected = None if said.seq == 1 else dict(zip(self._targets, expected, strict=True))
        said.prediction = dict(zip(self._targets, coming, strict=True))
        known = [t for t, r in zip(self._targets, half_width, strict=True) if r == r]
        spans = {
            t: (c - r, c + r) for t, c, r in zip(self._targets, coming, half_width, strict=True) if t in known
        }
        said.interval = spans or None
        if self._mixed:
            shares = predictions.trust[n].round(DIGITS).tolist()
            said.trust = dict(zip(self._targets, shares, strict=True))


def _interval(low: Numbers, high: Numbers) -> Interval:
    """From low to high, None where there is none."""
    if isinstance(low, dict) and isinstance(high, dict):
        return {name: (low[name], high[name]) for name in low if low[name] == low[name]} or None
    return (low, high) if low == low else None  # type: ignore[return-value]  # both are numbers


def rejection(topic: str, payload: bytes, *, reason: str, detail: str, time: float) -> bytes:
    """A rejected message, for the rejected topic: what came, when, and what was wrong with it.

    The payload goes along as base64, so that its bytes arrive as they were; of a very long one, the first
    `REJECTED_BYTES_MAX`.
    """
    return msgspec.json.encode(
        {
            "topic": topic,
            "reason": reason,
            "detail": detail,
            "time": time,
            "payload_bytes": len(payload),
            "payload_base64": base64.b64encode(payload[:REJECTED_BYTES_MAX]).decode(),
        }
    )


def topics(template: str, keys: Sequence[str]) -> list[str]:
    """The topic of each stream's predictions; `template` holds `{stream}` once."""
    before, _, after = template.partition("{stream}")
    return [before + key + after for key in keys] if after else [before + key for key in keys]
