"""Predictions of the engine for a batch of events, in columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers.scale import Doubles


class Predictions(NamedTuple):
    """Output for B events, T targets, K steps ahead, C labels; NaN where there is nothing to say."""

    seq: NDArray[np.int64]  # (B,) number of the event in its stream, from 1
    expected: Doubles  # (B, T) prediction of this event, made at the event before
    anomaly: Doubles  # (B,) anomaly score, from 0 to 1; NaN where the event's time is uncertain
    kind: NDArray[np.int8]  # (B,) main cause of the anomaly, index in `anomaly.KINDS`
    incident_score: Doubles  # (B,) the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # (B,) the event begins an incident, or makes it much worse
    forecast: Doubles  # (B, K, T) of the next event, and further ahead
    half_width: Doubles  # (B, K, T) of the prediction intervals
    trust: Doubles  # (B, T) the model's weight in the forecast, see `experts`
    probabilities: Doubles  # (B, C) of a model with labels, else (B, 0)
    error: Doubles  # (B, T) |value - expected|, in deviations
    persistence: Doubles  # (B, T) error of the last-value forecast, in deviations
    missed: NDArray[np.bool_]  # (B, T) the value lies outside its interval
    relative_mae: Doubles  # (B, T) recent error relative to the last-value forecast
    covered: Doubles  # (B, T) recent coverage: share of values inside their interval
    late: NDArray[np.bool_]  # (B,) the event is older than the newest one of its stream

    @property
    def prediction(self) -> Doubles:
        """(B, T) of the next event."""
        return self.forecast[:, 0]

    def mask_first(self, first: NDArray[np.bool_]) -> Predictions:
        """The same with NaN for what is not known at a stream's first event; `first` is (B,)."""
        if not np.count_nonzero(first):
            return self
        first = first[:, None]
        return self._replace(
            expected=np.where(first, np.nan, self.expected),
            half_width=np.where(first[:, None], np.nan, self.half_width),
            persistence=np.where(first, np.nan, self.persistence),
            covered=np.where(first, np.nan, self.covered),
        )

    def head(self, count: int) -> Predictions:
        """The predictions of the first `count` events."""
        if count == len(self.seq):
            return self
        return Predictions._make(column[:count] for column in self)

    @classmethod
    def none(cls, spec: ModelSpec) -> Predictions:
        """No predictions, in columns of the types and widths that a model has."""
        targets, labels = np.empty((0, len(spec.targets))), np.empty((0, len(spec.labels)))
        ahead = np.empty((0, len(spec.horizon), len(spec.targets)))
        flags = np.empty((0, len(spec.targets)), np.bool_)
        return cls(
            seq=np.empty(0, np.int64),
            expected=targets,
            anomaly=np.empty(0),
            kind=np.empty(0, np.int8),
            incident_score=np.empty(0),
            alert=np.empty(0, np.bool_),
            forecast=ahead,
            trust=targets,
            half_width=ahead,
            probabilities=labels,
            error=targets,
            persistence=targets,
            missed=flags,
            relative_mae=targets,
            covered=targets,
            late=np.empty(0, np.bool_),
        )
