"""Weights of the experts whose forecasts are combined: the model, the last value, the seasonal expert.

Each expert is weighted by its recent errors (Hedge: Freund and Schapire, "A Decision-Theoretic Generalization
of On-Line Learning", 1997). The last-value forecast is a step of zero; the seasonal one is the step of a day
ago (`seasonal`). Where the model predicts a stream well, it has all the weight within some tens of events;
where it does not, the prediction is hardly worse than the last value.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import exp
from stream_lstm.core.record import Field, Float, Record

WINDOW_EVENTS = 500.0  # of the means, as long as the window of the accuracy that they decide
LEARNING_RATE = 0.5  # of the weights, by advantage
MEAN_STEP_MIN = 1e-9  # deviations: so that nothing is divided by zero
# An advantage above this adds nothing to the weight, and would delay the switch to another expert.
ADVANTAGE_MAX = 50.0
MODEL_PRIOR = 2.0  # weight of the model before the first event, 1 of each other expert: half of the sum
SHARE_MIN = 1e-12  # of the experts other than the seasonal one: so that nothing is divided by zero


class ExpertsState(Record):
    """Predictions of model and seasonal expert, and their advantage over the last-value forecast.

    An advantage is the sum, with exponential decay, of the last-value forecast's errors minus the expert's,
    in the stream's mean step.
    """

    model_step: Annotated[Float, Field("deviations")]
    seasonal_step: Annotated[Float, Field("deviations")]
    model_advantage: Annotated[Float, Field("mean steps", True, -ADVANTAGE_MAX, ADVANTAGE_MAX)]
    seasonal_advantage: Annotated[Float, Field("mean steps", True, -ADVANTAGE_MAX, ADVANTAGE_MAX)]


class Weights(NamedTuple):
    """Of model and seasonal expert in the forecast; the last-value forecast has the rest."""

    model: float
    seasonal: float


@compiled
def update(
    state: ExpertsState,
    step: float,
    deviation_before: float,
    deviation: float,
    mean_step: float,
    seq: int,
    learning: bool,
) -> Weights:
    """Compare each expert's prediction with one more event; returns the experts' weights for the next.

    Args:
        state: its advantages are changed.
        step: value - last value, in the target's unit.
        deviation_before, deviation: of the target, without and with this event.
        mean_step: running mean of |step| in deviations, this event included.
        seq: number of events of the stream, this one included.
        learning: False if the stream is frozen.
    """
    model = seasonal = 0.0
    if seq > 1:
        naive_error, unit = abs(step) / deviation, max(mean_step, MEAN_STEP_MIN)
        error = abs(step - state.model_step * deviation_before) / deviation
        model = _advantage(state.model_advantage, (naive_error - error) / unit)
        error = abs(step - state.seasonal_step * deviation_before) / deviation
        seasonal = _advantage(state.seasonal_advantage, (naive_error - error) / unit)
    if learning:
        state.model_advantage, state.seasonal_advantage = model, seasonal
    return _weights(model, seasonal)


@compiled
def _advantage(before: float, gained: float) -> float:
    return min(max(before * (1.0 - 1.0 / WINDOW_EVENTS) + gained, -ADVANTAGE_MAX), ADVANTAGE_MAX)


@compiled
def _weights(model: float, seasonal: float) -> Weights:
    largest = max(model, seasonal, 0.0)  # so that no exponential overflows
    model_odds = MODEL_PRIOR * exp(LEARNING_RATE * (model - largest))
    seasonal_odds = exp(LEARNING_RATE * (seasonal - largest))
    odds = model_odds + seasonal_odds + exp(-LEARNING_RATE * largest)
    return Weights(model_odds / odds, seasonal_odds / odds)
