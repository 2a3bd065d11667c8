"""Baseline forecasts: last value, seasonal naive, and recursive least squares, which learns online.

Each sees of a stream what the engine sees and no more: the events so far, and for the seasonal naive forecast
the time of the event to be predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

DAY_SECONDS = 86_400.0
# The value of a day ago is used up to this age: half an hour off, a daily profile still has about that value.
DAY_TOLERANCE_SECONDS = 1_800.0
LAGS = 6  # steps that least squares regresses on
FORGETTING = 0.9995  # per event: old errors lose half their weight within some 1,400 events
VARIANCE_FIRST = 1.0  # of each weight at first, and again after a reset
TRACE_MAX = 1e6  # of the weights' covariance; beyond it, forgetting without news has blown it up: reset
MEMORY_EVENTS = 500.0  # of the running mean and variance, as in the engine's scale
STEP_MAX = 5.0  # deviations; one outlier must not decide the fit


def last_value(values: Doubles) -> Doubles:
    """Last-value forecast (persistence), (L,); NaN for the first event."""
    return np.concatenate([[np.nan], values[:-1]])


def seasonal_naive(times: Doubles, values: Doubles) -> Doubles:
    """Seasonal naive forecast with a period of one day, (L,); NaN for the first event.

    Falls back to the last value while no event lies a day ago, or up to half an hour before that.
    """
    forecast = last_value(values)
    order = np.argsort(times, kind="stable")
    sorted_times = times[order]
    before = np.searchsorted(sorted_times, times - DAY_SECONDS, side="right") - 1
    usable = before >= 0
    usable[usable] &= times[usable] - DAY_SECONDS - sorted_times[before[usable]] <= DAY_TOLERANCE_SECONDS
    source = order[np.maximum(before, 0)]
    usable &= source < np.arange(len(values))
    return np.where(usable, values[source], forecast)


def least_squares(times: Doubles, values: Doubles) -> Doubles:
    """Recursive least squares on the last steps and the time of day, (L,); NaN for the first event.

    Predicts the next scaled step, with exponential forgetting (Haykin, "Adaptive Filter Theory").
    """
    width = LAGS + 6
    weights, covariance = np.zeros(width), np.eye(width) * VARIANCE_FIRST
    forecast = np.full(len(values), np.nan)
    mean, variance = values[0], 0.0
    angle = times % DAY_SECONDS * (2.0 * np.pi / DAY_SECONDS)
    day = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
    inputs: Doubles | None = None
    deviation_before = 1.0
    for n in range(1, len(values)):
        deviation = max(np.sqrt(variance), abs(mean) * 1e-13 + 1e-30)
        if inputs is not None:
            step = np.clip((values[n - 1] - values[n - 2]) / deviation_before, -STEP_MAX, STEP_MAX)
            gain = covariance @ inputs / (FORGETTING + inputs @ covariance @ inputs)
            weights = weights + gain * (step - weights @ inputs)
            covariance = (covariance - np.outer(gain, inputs @ covariance)) / FORGETTING
            covariance = (
                (covariance + covariance.T) / 2.0
                if np.trace(covariance) < TRACE_MAX
                else np.eye(width) * VARIANCE_FIRST
            )
        lags = np.zeros(LAGS)
        steps = np.diff(values[max(n - LAGS - 1, 0) : n])[::-1] / deviation
        lags[: len(steps)] = steps
        level = (values[n - 1] - mean) / deviation
        inputs = np.clip(np.concatenate([lags, day[n - 1], [level, 1.0]]), -STEP_MAX, STEP_MAX)
        deviation_before = deviation
        step = np.clip(weights @ inputs, -STEP_MAX, STEP_MAX) * deviation
        forecast[n] = values[n - 1] + (step if variance > 0.0 else 0.0)
        share = max(1.0 / (n + 1), 1.0 / MEMORY_EVENTS)
        change = values[n] - mean
        mean, variance = mean + share * change, (1.0 - share) * (variance + share * change * change)
    return forecast
