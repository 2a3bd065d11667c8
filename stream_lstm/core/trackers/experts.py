"""Weights of the experts whose forecasts are combined: the model, the last value, the seasonal expert.

Each expert is weighted by its recent errors (Hedge: Freund and Schapire, "A Decision-Theoretic Generalization
of On-Line Learning", 1997). The last-value forecast is a step of zero; the seasonal one is the step of a day
ago (`seasonal`). Where the model predicts a stream well, it has all the weight within some tens of events;
where it does not, the prediction is hardly worse than the last value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.trackers.scale import Doubles

WINDOW_EVENTS = 500.0  # of the means, as long as the window of the accuracy that they decide
LEARNING_RATE = 0.5  # of the weights, by advantage
MEAN_STEP_MIN = 1e-9  # deviations: so that nothing is divided by zero
# An advantage above this adds nothing to the weight, and would delay the switch to another expert.
ADVANTAGE_MAX = 50.0
MODEL_PRIOR = 2.0  # weight of the model before the first event, 1 of each other expert: half of the sum
SHARE_MIN = 1e-12  # of the experts other than the seasonal one: so that nothing is divided by zero


class Experts(NamedTuple):
    """Experts' predictions for the next event, and their record so far; (B, T) each.

    An advantage is the sum, with exponential decay, of the last-value forecast's errors minus the expert's,
    in the stream's mean step.
    """

    model_step: Doubles
    seasonal_step: Doubles
    model_advantage: Doubles
    seasonal_advantage: Doubles


COLUMNS = (
    RecordColumn("model_step", "rough", "deviations"),
    RecordColumn("seasonal_step", "rough", "deviations", stored="repeated_step"),
    RecordColumn(
        "model_advantage",
        "rough",
        "mean steps",
        frozen=True,
        limits=(-ADVANTAGE_MAX, ADVANTAGE_MAX),
        stored="lead",
    ),
    RecordColumn(
        "seasonal_advantage",
        "rough",
        "mean steps",
        frozen=True,
        limits=(-ADVANTAGE_MAX, ADVANTAGE_MAX),
        stored="lead_repeated",
    ),
)


def errors(
    before: Experts, values: Doubles, last: Doubles, deviation_before: Doubles, deviation: Doubles
) -> Doubles:
    """Errors of the model and the seasonal expert, each alone, (2, B, T) in deviations."""
    steps = np.array([before.model_step, before.seasonal_step]) * deviation_before
    return np.asarray(np.abs(values - last - steps) / deviation)


def update(
    advantage: Doubles, error: Doubles, step: Doubles, mean_step: Doubles, seq: NDArray[np.int64]
) -> Doubles:
    """The experts' advantages over the last-value forecast after one more event of each stream.

    Args:
        advantage: (E, B, T) of E experts; ignored where `seq` is 1.
        error: (E, B, T) of each expert alone, in deviations.
        step: (B, T) |value - last value|: the error of the last-value forecast, likewise.
        mean_step: (B, T) its running mean, this one included.
        seq: (B,) number of events of each stream, this one included.
    """
    advantage = advantage * (1.0 - 1.0 / WINDOW_EVENTS) + (step - error) / np.maximum(
        mean_step, MEAN_STEP_MIN
    )
    if np.count_nonzero(seq == 1):
        advantage = np.where((seq == 1)[:, None], 0.0, advantage)
    return np.minimum(np.maximum(advantage, -ADVANTAGE_MAX), ADVANTAGE_MAX)


def weights(advantage: Doubles) -> Doubles:
    """Weights of the model and the seasonal expert, (2, B, T); the last-value forecast has the rest."""
    largest = np.maximum(np.maximum(advantage[0], advantage[1]), 0.0)  # so that no exponential overflows
    odds = np.exp(LEARNING_RATE * (advantage - largest))
    odds[0] *= MODEL_PRIOR
    return np.asarray(odds / (odds[0] + odds[1] + np.exp(-LEARNING_RATE * largest)))


def combine(weight: Doubles, values: Doubles, expected: Doubles, seasonal_step: Doubles) -> Doubles:
    """The experts' combined forecast, (B, K, T) in the target's unit.

    Args:
        weight: (2, B, T) of the model and of the seasonal expert.
        values: (B, T) of these events, which are the last values of the next ones.
        expected: (B, K, T) of the model, K steps ahead.
        seasonal_step: (B, T) of the seasonal expert, which looks one step ahead only.
    """
    model, seasonal = weight
    share = model / np.maximum(1.0 - seasonal, SHARE_MIN)  # beyond one step, without the seasonal expert
    combined = values[:, None] + share[:, None] * (expected - values[:, None])
    combined[:, 0] = values + model * (expected[:, 0] - values) + seasonal * seasonal_step
    return np.asarray(combined)
