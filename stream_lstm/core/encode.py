"""Predictions and rejections to bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from stream_lstm.core.description import Description
from stream_lstm.core.engine import Predictions
from stream_lstm.core.oddity import ALERT, KINDS
from stream_lstm.events import Clock, Events

CLOCKS = tuple(clock.name.lower() for clock in Clock)
REJECTED_BYTES_MAX = 65_536  # of a rejected payload, what is sent on

TRUST_DIGITS = 3

Numbers = float | dict[str, float] | None
Interval = tuple[float, float] | dict[str, tuple[float, float]] | None


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


class Encoder:
    """Writes predictions of one model."""

    def __init__(self, model: str, description: Description) -> None:
        self._model = model
        self._features = description.features
        self._targets = description.targets
        self._labels = description.labels
        self._single = len(self._features) == 1 and self._targets == self._features
        self._checked = any(target in self._features for target in self._targets)
        self._mixed = description.readout == "step"
        self._json = msgspec.json.Encoder()

    def encode(self, events: Events, predictions: Predictions) -> list[bytes]:
        """A payload for each event, in their order; no alarm where nobody knows when the event was."""
        if Clock.UNCERTAIN in events.clocks:
            uncertain = np.array(events.clocks) == Clock.UNCERTAIN
            predictions = predictions._replace(
                anomaly=np.where(uncertain, np.nan, predictions.anomaly),
                alert=predictions.alert & ~uncertain,
            )
        make = self._plain if self._single else self._named
        encode = self._json.encode
        return [encode(prediction) for prediction in make(events, predictions)]

    def _plain(self, events: Events, predictions: Predictions) -> list[Prediction]:
        """One number in, one number out: no names needed."""
        model, clocks = self._model, CLOCKS
        lower = (predictions.prediction - predictions.reach)[:, 0].tolist()
        upper = (predictions.prediction + predictions.reach)[:, 0].tolist()
        rows = zip(
            events.keys,
            predictions.seq.tolist(),
            events.times,
            events.clocks,
            events.values,
            predictions.expected[:, 0].tolist(),  # NaN becomes null
            predictions.prediction[:, 0].tolist(),
            lower,
            upper,
            predictions.anomaly.tolist(),
            predictions.alert.tolist(),
            predictions.kind.tolist(),
            predictions.trust[:, 0].round(TRUST_DIGITS).tolist(),
            strict=True,
        )
        return [
            Prediction(
                key,
                seq,
                time,
                clocks[clock],
                value,
                expected,
                coming,
                (lo, hi) if lo == lo else None,
                odd,
                alert,
                KINDS[kind] if odd >= ALERT else None,
                trust,
                model,
            )
            for key, seq, time, clock, value, expected, coming, lo, hi, odd, alert, kind, trust in rows
        ]

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
                clock=CLOCKS[events.clocks[n]],
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
                odd = predictions.anomaly[n] >= ALERT
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
        reach = predictions.reach[n].tolist()
        said.expected = None if said.seq == 1 else dict(zip(self._targets, expected, strict=True))
        said.prediction = dict(zip(self._targets, coming, strict=True))
        known = [t for t, r in zip(self._targets, reach, strict=True) if r == r]
        spans = {
            t: (c - r, c + r) for t, c, r in zip(self._targets, coming, reach, strict=True) if t in known
        }
        said.interval = spans or None
        if self._mixed:
            shares = predictions.trust[n].round(TRUST_DIGITS).tolist()
            said.trust = dict(zip(self._targets, shares, strict=True))


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
