"""Readout: the STM's numbers as a forecast of each target, or as a probability of each label.

A `step` model predicts where the next value lies relative to the present one, in deviations of its stream, as
a Laplace distribution (location, logarithm of the scale), and likewise the values further ahead. A `value`
model predicts the next value itself, without a spread. A `classes` model predicts the probability of each
label.
"""

from __future__ import annotations

import numpy as np

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import exp
from stream_lstm.core.model.cell import add_products, fill
from stream_lstm.core.record import Doubles, Floats
from stream_lstm.core.state import ModelRecord, Room, StreamState
from stream_lstm.core.trackers import scale

LOG_SPREAD_MAX = 4.0  # e⁴ = 55 deviations: a wider forecast predicts nothing
LOG_SPREAD_MIN = -4.0  # e⁻⁴: a fiftieth of a deviation, as close as any sensor is predicted


@compiled
def read(stm: Floats, model: ModelRecord, room: Room) -> None:
    """Fill `room.outputs` with the readout's numbers."""
    fill(room.outputs, model.readout_bias)
    add_products(room.outputs, stm, model.readout)


@compiled
def location(room: Room, ahead: int, target: int, targets: int) -> float:
    """Expected step of a `step` model, in deviations; `ahead` is an index in the horizon."""
    return np.float64(room.outputs[2 * ahead * targets + target])


@compiled
def spread(room: Room, ahead: int, target: int, targets: int) -> float:
    """Scale of the distribution of a `step` model, in deviations."""
    logarithm = np.float64(room.outputs[(2 * ahead + 1) * targets + target])
    return exp(min(max(logarithm, LOG_SPREAD_MIN), LOG_SPREAD_MAX))


@compiled
def value(room: Room, model: ModelRecord, state: StreamState, target: int) -> float:
    """Expected value of a `value` model, in the target's unit."""
    output = np.float64(room.outputs[target])
    if model.fixed:
        return float(model.target_mean[target] + output * model.target_deviation[target])
    feature = state.scale[model.feature_of[target]]
    return float(feature.mean + output * scale.deviation(feature))


@compiled
def probabilities(room: Room, out: Doubles) -> None:
    """Fill `out`, (C,), with the probability of each label: softmax of a `classes` model's outputs."""
    largest = -np.inf
    for logit in room.outputs:
        largest = max(largest, np.float64(logit))
    total = 0.0
    for n in range(len(out)):
        out[n] = exp(np.float64(room.outputs[n]) - largest)
        total += out[n]
    for n in range(len(out)):
        out[n] /= total
