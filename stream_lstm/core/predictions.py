"""Predictions of the engine for a batch of events, in columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers.scale import Doubles


class Predictions(NamedTuple):
    """Output for B events, T targets, K steps ahead, C labels; NaN where there is nothing to say."""

    seq: NDArray[np.int64]  # (B,) which event of its stream each is, from 1
    expected: Doubles  # (B, T) what was predicted for it one event ago
    anomaly: Doubles  # (B,) how odd it was, 0 to 1; NaN where nobody knows when it was
    kind: NDArray[np.int8]  # (B,) why, see `anomaly.KINDS`
    incident_score: Doubles  # (B,) the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # (B,) an incident begins with it
    forecast: Doubles  # (B, K, T) for the next event, and further ahead
    half_width: Doubles  # (B, K, T) half the width of the interval around it
    trust: Doubles  # (B, T) the model's share in it, see `experts`
    probabilities: Doubles  # (B, C) of a classifying model, else (B, 0)
    error: Doubles  # (B, T) |value - expected|, in deviations
    persistence: Doubles  # (B, T) the error of "same as last time", in deviations
    missed: NDArray[np.bool_]  # (B, T) the event lay outside the interval
    relative_mae: Doubles  # (B, T) mean error by that of "same as last time", of late
    covered: Doubles  # (B, T) share of values inside their interval, of late
    late: NDArray[np.bool_]  # (B,) the event is older than the last of its stream

    @property
    def prediction(self) -> Doubles:
        """(B, T) for the next event."""
        return self.forecast[:, 0]

    def begun(self, first: NDArray[np.bool_]) -> Predictions:
        """The same, where nothing had been said before a stream's first event, (B, 1)."""
        return self._replace(
            expected=np.where(first, np.nan, self.expected),
            half_width=np.where(first[:, None], np.nan, self.half_width),
            persistence=np.where(first, np.nan, self.persistence),
            covered=np.where(first, np.nan, self.covered),
        )

    @classmethod
    def none(cls, spec: ModelSpec) -> Predictions:
        """No predictions, in columns of the right types and widths."""
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
