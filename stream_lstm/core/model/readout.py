"""What the STM says about the next event: a number with a spread for each target, or a label.

A `step` model says where the next value lies relative to this one, in deviations of its stream, as a Laplace
distribution (location, log of scale), and likewise those further ahead. A `value` model says the next value
itself, without a spread. A `classes` model says how probable each label is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers.scale import Doubles, Scale

LOG_SPREAD_MAX = 4.0  # e⁴ = 55 deviations: wider says nothing
LOG_SPREAD_MIN = -4.0  # e⁻⁴: a fiftieth of a deviation, as close as any sensor is predicted


class Forecast(NamedTuple):
    """What is expected, B streams, K steps ahead, T targets; the first step is the next event."""

    expected: Doubles  # (B, K, T) in the targets' units
    spread: Doubles  # (B, K, T) scale of the distribution, in deviations of the target


def step(outputs: Doubles, values: Doubles, deviation: Doubles) -> Forecast:
    """Outlook of a `step` model, whose targets are its features; outputs (B, 2KT)."""
    by_step = outputs.reshape(len(outputs), -1, 2, values.shape[1])
    spread = np.exp(np.minimum(np.maximum(by_step[:, :, 1], LOG_SPREAD_MIN), LOG_SPREAD_MAX))
    return Forecast(values[:, None] + by_step[:, :, 0] * deviation[:, None], spread)


def value(outputs: Doubles, model: ModelSpec, scale: Scale, feature_of: list[int]) -> Forecast:
    """Outlook of a `value` model; outputs (B, T), of which target t is feature `feature_of[t]`."""
    if model.scaling == "running":
        expected = scale.mean[:, feature_of] + outputs * scale.deviation()[:, feature_of]
    else:
        expected = np.array(model.target_mean) + outputs * np.array(model.target_deviation)
    return Forecast(expected[:, None], np.ones_like(expected)[:, None])


def probabilities(logits: Doubles) -> Doubles:
    """How probable each label is: softmax over (B, C)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
