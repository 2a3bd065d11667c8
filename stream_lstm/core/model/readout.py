"""Readout: the STM's numbers as a forecast of each target, or as a probability of each label.

A `step` model predicts where the next value lies relative to the present one, in deviations of its stream, as
a Laplace distribution (location, logarithm of the scale), and likewise the values further ahead. A `value`
model predicts the next value itself, without a spread. A `classes` model predicts the probability of each
label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers.scale import Doubles, Scale

LOG_SPREAD_MAX = 4.0  # e⁴ = 55 deviations: a wider forecast predicts nothing
LOG_SPREAD_MIN = -4.0  # e⁻⁴: a fiftieth of a deviation, as close as any sensor is predicted

COLUMNS = (
    RecordColumn("expected", "exact", "of the target"),  # of the next event, by all experts together
    RecordColumn("spread", "rough", "deviations", limits=(np.exp(LOG_SPREAD_MIN), np.exp(LOG_SPREAD_MAX))),
)


class Forecast(NamedTuple):
    """Expected values of B streams, K steps ahead, T targets; the first step is the next event."""

    expected: Doubles  # (B, K, T) in the targets' units
    spread: Doubles  # (B, K, T) scale of the distribution, in deviations of the target


def step(outputs: Doubles, values: Doubles, deviation: Doubles) -> Forecast:
    """Forecast of a `step` model, whose targets are its features.

    Args:
        outputs: (B, 2KT) of the readout.
        values: (B, T) of these events.
        deviation: (B, T) likewise.
    """
    by_step = outputs.reshape(len(outputs), -1, 2, values.shape[1])
    spread = np.exp(np.minimum(np.maximum(by_step[:, :, 1], LOG_SPREAD_MIN), LOG_SPREAD_MAX))
    return Forecast(values[:, None] + by_step[:, :, 0] * deviation[:, None], spread)


def value(outputs: Doubles, model: ModelSpec, scale: Scale, feature_of: list[int]) -> Forecast:
    """Forecast of a `value` model.

    Args:
        outputs: (B, T) of the readout.
        scale: (B, F) of the features.
        feature_of: the feature that each target is; not used with fixed scaling.
    """
    if model.scaling == "running":
        expected = scale.mean[:, feature_of] + outputs * scale.deviation()[:, feature_of]
    else:
        expected = np.array(model.target_mean) + outputs * np.array(model.target_deviation)
    return Forecast(expected[:, None], np.ones_like(expected)[:, None])


def probabilities(logits: Doubles) -> Doubles:
    """Probability of each label: softmax over (B, C)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
