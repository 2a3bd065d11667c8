"""What predictions must be held against: the simplest methods, and a classical one that learns online.

All of them see of a stream what the engine sees, no more: the events so far, and for the season the time of
the one to be predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

DAY_SECONDS = 86_400.0
LAGS = 6
FORGET = 0.9995
UNSURE = 1.0  # about the weights at first: their variance
MEMORY_EVENTS = 500.0
STEP_MAX = 5.0  # deviations; one wild step must not decide over the rest


def persistence(values: Doubles) -> Doubles:
    """ "Same as last time"; NaN for the first event."""
    return np.concatenate([[np.nan], values[:-1]])


def seasonal(times: Doubles, values: Doubles) -> Doubles:
    """The value of a day before; while there is none, or none within half an hour, the last one."""
    out = persistence(values)
    order = np.argsort(times, kind="stable")
    sorted_times = times[order]
    before = np.searchsorted(sorted_times, times - DAY_SECONDS, side="right") - 1
    usable = before >= 0
    usable[usable] &= times[usable] - DAY_SECONDS - sorted_times[before[usable]] <= 1_800.0
    source = order[np.maximum(before, 0)]
    usable &= source < np.arange(len(values))
    return np.where(usable, values[source], out)


def least_squares(times: Doubles, values: Doubles) -> Doubles:
    """Recursive least squares on the last steps and the time of day; NaN for the first event.

    The next scaled step is predicted, with exponential forgetting (Haykin, "Adaptive Filter Theory").
    """
    wide = LAGS + 6
    weights, spread = np.zeros(wide), np.eye(wide) * UNSURE
    out = np.full(len(values), np.nan)
    mean, variance = values[0], 0.0
    angle = times % DAY_SECONDS * (2.0 * np.pi / DAY_SECONDS)
    day = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
    seen: Doubles | None = None
    was = 1.0
    for n in range(1, len(values)):
        deviation = max(np.sqrt(variance), abs(mean) * 1e-13 + 1e-30)
        if seen is not None:
            step = np.clip((values[n - 1] - values[n - 2]) / was, -STEP_MAX, STEP_MAX)
            gain = spread @ seen / (FORGET + seen @ spread @ seen)
            weights = weights + gain * (step - weights @ seen)
            spread = (spread - np.outer(gain, seen @ spread)) / FORGET
            spread = (spread + spread.T) / 2.0 if np.trace(spread) < 1e6 else np.eye(wide) * UNSURE
        lags = np.zeros(LAGS)
        recent = np.diff(values[max(n - LAGS - 1, 0) : n])[::-1] / deviation
        lags[: len(recent)] = recent
        level = (values[n - 1] - mean) / deviation
        seen = np.clip(np.concatenate([lags, day[n - 1], [level, 1.0]]), -STEP_MAX, STEP_MAX)
        was = deviation
        step = np.clip(weights @ seen, -STEP_MAX, STEP_MAX) * deviation
        out[n] = values[n - 1] + (step if variance > 0.0 else 0.0)
        share = max(1.0 / (n + 1), 1.0 / MEMORY_EVENTS)
        news = values[n] - mean
        mean, variance = mean + share * news, (1.0 - share) * (variance + share * news * news)
    return out
