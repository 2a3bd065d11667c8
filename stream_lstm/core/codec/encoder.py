"""Encoder: predictions and rejections to JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.codec.naming import Interval, Naming, Numbers
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.record import Doubles, argument
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.events import CLOCK_BITS, FROZEN, Clock, Events

CLOCKS = tuple(clock.name.lower() for clock in Clock)
REJECTED_BYTES_MAX = 65_536  # of a rejected payload that are published
DIGITS = 3  # of shares and ratios: they are means of a few hundred events
THOUSAND = 1_000.0  # to round to as many digits
NUMBERS = ("expected", "prediction", "lower end", "upper end", "anomaly", "trust")  # of `_fill_numbers`


class HorizonStep(msgspec.Struct, gc=False):
    """The prediction of an event further ahead."""

    ahead: int
    value: Numbers
    interval: Interval


class Details(msgspec.Struct, gc=False):
    """Accuracy of the stream's recent predictions, see `stream_lstm.core.trackers.accuracy`."""

    warm: bool
    error_ratio: Numbers
    covered: Numbers


class PredictionMessage(msgspec.Struct, gc=False):
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
    """Encodes predictions of one model.

    Args:
        model: its id.
        spec: its specification.
        details: True adds the accuracy of recent predictions.
        forecast: True adds predictions further ahead.
    """

    def __init__(self, model: str, spec: ModelSpec, *, details: bool = False, forecast: bool = False) -> None:
        self._model = model
        self._naming = Naming(spec)
        self._features, self._targets, self._labels = spec.features, spec.targets, spec.labels
        self._single = len(spec.features) == 1 and spec.targets == spec.features
        self._is_checked = any(target in spec.features for target in spec.targets)
        self._has_experts = spec.readout == "step"
        self._horizon = spec.horizon
        self._details = details and self._is_checked
        self._forecast = forecast and bool(spec.targets)
        self._json = msgspec.json.Encoder()

    def encode(self, events: Events, predictions: Predictions) -> list[bytes]:
        """One payload per event, in their order."""
        make = self._plain if self._single else self._named
        out = make(events, predictions)
        if self._details:
            self._add_details(out, predictions)
        if self._forecast:
            self._add_forecast(out, predictions)
        if max(events.marks, default=0) >= FROZEN:
            for prediction, mark in zip(out, events.marks, strict=True):
                prediction.frozen = True if mark & FROZEN else UNSET
        return list(map(self._json.encode, out))

    def _plain(self, events: Events, predictions: Predictions) -> list[PredictionMessage]:
        """Predictions of single numbers. Made column by column, because it is on the hot path."""
        records = predictions.records
        columns = np.empty((len(NUMBERS), len(records)))
        anomalous, unbounded = _fill_numbers(argument(records), columns)
        expected, coming, low, high, anomaly, trust = columns.tolist()  # NaN becomes null
        intervals: Iterable[Interval] = zip(low, high, strict=True)
        if unbounded:
            intervals = [(a, b) if a == a else None for a, b in zip(low, high, strict=True)]
        kinds: Iterable[str | None] = repeat(None)
        if anomalous:
            kinds = [
                KINDS[kind] if score >= ALERT_THRESHOLD else None
                for kind, score in zip(predictions.kind.tolist(), anomaly, strict=True)
            ]
        clocks: Iterable[str] = repeat(CLOCKS[events.marks[0] & CLOCK_BITS]) if events.marks else ()
        if len(set(events.marks)) > 1:
            clocks = [CLOCKS[mark & CLOCK_BITS] for mark in events.marks]
        return list(
            map(
                PredictionMessage,
                events.keys,
                predictions.seq.tolist(),
                events.times,
                clocks,
                events.values,
                expected,
                coming,
                intervals,
                anomaly,
                predictions.alert.tolist(),
                kinds,
                trust,
                repeat(self._model),
            )
        )

    def _named(self, events: Events, predictions: Predictions) -> list[PredictionMessage]:
        """Predictions of several numbers, or of labels."""
        features = len(self._features)
        out = []
        for n, key in enumerate(events.keys):
            prediction = PredictionMessage(
                stream=key,
                seq=int(predictions.seq[n]),
                time=events.times[n],
                clock=CLOCKS[events.marks[n] & CLOCK_BITS],
                value=self._naming.value(events.values[n * features : (n + 1) * features]),
                expected=UNSET,
                prediction=UNSET,
                interval=UNSET,
                anomaly=UNSET,
                alert=UNSET,
                kind=UNSET,
                trust=UNSET,
                model=self._model,
            )
            if self._is_checked:
                prediction.anomaly = anomaly = float(predictions.anomaly[n])
                prediction.alert = bool(predictions.alert[n])
                prediction.kind = KINDS[predictions.kind[n]] if anomaly >= ALERT_THRESHOLD else None
            if self._targets:
                self._set_targets(prediction, predictions, n)
            if self._labels:
                probabilities = predictions.probabilities[n].tolist()
                prediction.label = self._labels[probabilities.index(max(probabilities))]
                prediction.probabilities = dict(zip(self._labels, probabilities, strict=True))
            out.append(prediction)
        return out

    def _set_targets(self, prediction: PredictionMessage, predictions: Predictions, n: int) -> None:
        coming, half_width = predictions.prediction[n].tolist(), predictions.half_width[n, 0].tolist()
        known = prediction.seq > 1
        prediction.expected = self._naming.target(predictions.expected[n].tolist()) if known else None
        prediction.prediction = self._naming.target(coming)
        prediction.interval = self._interval(coming, half_width)
        if self._has_experts:
            prediction.trust = self._naming.target(predictions.trust[n].round(DIGITS).tolist())

    def _interval(self, around: Sequence[float], half_width: Sequence[float]) -> Interval:
        """The published intervals by target, without the targets that have none."""
        found = self._naming.interval(around, half_width)
        by_target = found if isinstance(found, dict) else {}
        return {name: ends for name, ends in by_target.items() if ends is not None} or None

    def _add_details(self, out: list[PredictionMessage], predictions: Predictions) -> None:
        warm = (predictions.seq >= WARM_EVENTS).tolist()
        relative_mae, covered = (
            self._numbers(column.round(DIGITS)) for column in (predictions.relative_mae, predictions.covered)
        )
        for prediction, *details in zip(out, warm, relative_mae, covered, strict=True):
            prediction.details = Details(*details)

    def _add_forecast(self, out: list[PredictionMessage], predictions: Predictions) -> None:
        steps = []
        for k, ahead in enumerate(self._horizon):
            coming, half_width = predictions.forecast[:, k], predictions.half_width[:, k]
            if self._single:
                intervals = _intervals(coming[:, 0], half_width[:, 0])
            else:
                intervals = map(self._interval, coming.tolist(), half_width.tolist())
            columns = zip(self._numbers(coming), intervals, strict=True)
            steps.append([HorizonStep(ahead, *column) for column in columns])
        for prediction, *forecast in zip(out, *steps, strict=True):
            prediction.forecast = forecast

    def _numbers(self, column: Doubles) -> list[Numbers]:
        """(B, T) numbers of the targets, by event."""
        if self._single:
            return list(column[:, 0].tolist())  # NaN becomes null
        return list(map(self._naming.target, column.tolist()))


def _intervals(around: Doubles, half_width: Doubles) -> Iterable[Interval]:
    """Intervals of single numbers, (B,) each; None where there is none. By column, as the hot path."""
    ends = zip((around - half_width).tolist(), (around + half_width).tolist(), strict=True)
    if not np.count_nonzero(np.isnan(half_width)):
        return ends
    return [(low, high) if low == low else None for low, high in ends]


def rejection(topic: str, payload: bytes, *, reason: str, detail: str, time: float) -> bytes:
    """The publication of a rejected message, for the rejected topic.

    The payload is in base64, so that its bytes arrive unchanged; of a longer one, the first
    `REJECTED_BYTES_MAX` bytes.

    Args:
        topic, payload: of the message.
        reason: one of `stream_lstm.events.REASONS`.
        detail: what exactly is wrong.
        time: of its arrival, epoch seconds.
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
    """The topic of each stream's predictions; `template` contains `{stream}` once."""
    before, _, after = template.partition("{stream}")
    return [before + key + after for key in keys] if after else [before + key for key in keys]


@compiled
def _fill_numbers(records: NDArray[Any], out: Doubles) -> tuple[int, int]:
    """Fill the columns of `out` with `NUMBERS` of each prediction of one target.

    Returns:
        How many are anomalous, and how many have no interval.
    """
    anomalous = unbounded = 0
    for n in range(len(records)):
        record = records[n]
        coming, half_width = record.forecast[0, 0], record.half_width[0, 0]
        out[0, n], out[1, n] = record.expected[0], coming
        out[2, n], out[3, n] = coming - half_width, coming + half_width
        out[4, n], out[5, n] = record.anomaly, np.rint(record.trust[0] * THOUSAND) / THOUSAND
        anomalous += 1 if record.anomaly >= ALERT_THRESHOLD else 0
        unbounded += 1 if math.isnan(half_width) else 0
    return anomalous, unbounded
