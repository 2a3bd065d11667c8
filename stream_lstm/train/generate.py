"""Synthetic streams for training, drawn at random, for patterns that no recording happens to show.

Each stream is a sum of a few components (seasons, drift, noise, level shifts, spikes, regimes), followed by
effects of sensors and gateways (rounding, sticking, saturating, counting up). The order of the draws is part
of a model's recipe: the same seed must give the same streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

INTERVAL_SECONDS = (1.0, 10.0, 60.0, 300.0, 300.0, 600.0, 900.0, 3_600.0)
DAY_SECONDS = 86_400.0
START_SECONDS = 1.4e9, 1.8e9  # epoch seconds: from 2014 to 2027, so that every weekday and hour occurs


class TimeSeries(NamedTuple):
    """Times (L,) in epoch seconds, ascending, and values (L,)."""

    times: Doubles
    values: Doubles


def generate_stream(rng: Generator, length: int) -> TimeSeries:
    """Draw one stream of `length` events."""
    interval = float(rng.choice(INTERVAL_SECONDS))
    gaps = np.full(length, interval)
    if rng.random() < 0.3:
        gaps *= rng.uniform(0.5, 1.5, length)
    if rng.random() < 0.2:  # outages
        gaps[rng.integers(0, length, 3)] *= rng.uniform(10, 300, 3)
    times = rng.uniform(*START_SECONDS) + np.cumsum(gaps)
    values = np.zeros(length)
    for component, chance in COMPONENTS:
        if rng.random() < chance:
            values += component(rng, times) * np.exp(rng.normal(0.0, 0.8))
    if not values.any():
        values = noise(rng, times)
    for effect, chance in SENSOR_EFFECTS:
        if rng.random() < chance:
            values = effect(rng, values)
    return TimeSeries(times, values)


def _wave(rng: Generator, phase: Doubles) -> Doubles:
    """Draw a periodic shape: sines, a square, a sawtooth, or a bell once a period."""
    kind = rng.integers(4)
    turn = (phase + rng.random()) % 1.0
    if kind == 0:
        return np.asarray(
            sum(rng.normal(0, 1 / n) * np.sin(2 * np.pi * (n * turn + rng.random())) for n in range(1, 5))
        )
    if kind == 1:
        return np.where(turn < rng.uniform(0.1, 0.9), 1.0, -1.0)
    if kind == 2:
        return 2 * turn - 1 if rng.random() < 0.5 else 1 - 2 * turn
    return np.asarray(2 * np.exp(-(((turn - 0.5) / rng.uniform(0.03, 0.2)) ** 2)))


def daily_season(rng: Generator, times: Doubles) -> Doubles:
    """Daily season; in some streams weaker on two days of the week."""
    wave = _wave(rng, times / DAY_SECONDS)
    days_off = (times // DAY_SECONDS) % 7 < 2
    return np.where(days_off, wave * rng.uniform(0, 1), wave) if rng.random() < 0.4 else wave


def season(rng: Generator, times: Doubles) -> Doubles:
    """Season with a period of 4 to 400 events."""
    period = np.exp(rng.uniform(np.log(4), np.log(400)))
    wobble = np.cumsum(rng.normal(0, rng.choice([0.0, 0.01]), len(times)))
    return _wave(rng, np.arange(len(times)) / period + wobble)


def noise(rng: Generator, times: Doubles) -> Doubles:
    """Independent noise: Gaussian, heavy-tailed or one-sided."""
    kind, size = rng.integers(3), len(times)
    if kind == 0:
        return rng.normal(0, 1, size)
    if kind == 1:
        return rng.standard_t(rng.uniform(2, 5), size)
    return rng.exponential(1.0, size)


def drift(rng: Generator, times: Doubles) -> Doubles:
    """Autoregressive noise of order 1, up to a random walk."""
    keep = 1.0 - np.exp(rng.uniform(np.log(1e-3), np.log(0.7)))
    steps = rng.normal(0, np.sqrt(1 - keep**2), len(times))
    values = np.empty(len(times))
    level = rng.normal()
    for n, step in enumerate(steps):
        level = keep * level + step
        values[n] = level
    return values


def level_shifts(rng: Generator, times: Doubles) -> Doubles:
    """Piecewise constant levels."""
    changes = rng.random(len(times)) < rng.uniform(0.0005, 0.01)
    return np.asarray(
        np.cumsum(np.where(changes, rng.normal(0, 2, len(times)), 0.0)) * rng.choice([0.3, 1.0])
    )


def regimes(rng: Generator, times: Doubles) -> Doubles:
    """Two components in alternation, each for a while."""
    turns = np.cumsum(rng.random(len(times)) < rng.uniform(0.001, 0.01)) % 2
    first, second = rng.choice(len(REGIME_COMPONENTS), 2)
    return np.asarray(
        np.where(turns == 0, REGIME_COMPONENTS[first](rng, times), 2 * REGIME_COMPONENTS[second](rng, times))
    )


def spikes(rng: Generator, times: Doubles) -> Doubles:
    """Rare spikes that decay within a few events."""
    starts = np.where(rng.random(len(times)) < rng.uniform(0.001, 0.03), rng.exponential(4, len(times)), 0.0)
    decay = rng.uniform(0.0, 0.9)
    kernel = decay ** np.arange(12)
    return np.asarray(np.convolve(starts, kernel)[: len(times)] * rng.choice([-1, 1, 1]))


REGIME_COMPONENTS: tuple[Callable[[Generator, Doubles], Doubles], ...] = (daily_season, season, noise, drift)
# Each with the share of streams that have it.
COMPONENTS = (
    (daily_season, 0.5),
    (season, 0.35),
    (noise, 0.7),
    (drift, 0.5),
    (level_shifts, 0.2),
    (regimes, 0.15),
    (spikes, 0.25),
)


def rounded(rng: Generator, values: Doubles) -> Doubles:
    """Round to the resolution of a sensor."""
    resolution = max(float(np.std(values)), 1e-6) * rng.choice([0.05, 0.2, 0.5, 1.0])
    return np.asarray(np.round(values / resolution) * resolution)


def stuck(rng: Generator, values: Doubles) -> Doubles:
    """Repeat one value for a while, one to three times."""
    values = values.copy()
    for _ in range(rng.integers(1, 4)):
        start = rng.integers(len(values))
        values[start : start + rng.integers(5, 300)] = values[start]
    return values


def saturated(rng: Generator, values: Doubles) -> Doubles:
    """Clip to a sensor's range."""
    low, high = np.quantile(values, [rng.uniform(0.0, 0.2), rng.uniform(0.6, 1.0)])
    return values.clip(low, high)


def positive(rng: Generator, values: Doubles) -> Doubles:
    """Make positive, with noise that grows with the level, as counts and rates have."""
    spread = max(float(np.std(values)), 1e-6)
    return np.asarray(np.exp((values - values.mean()) / spread * rng.uniform(0.3, 1.2)))


def counter(rng: Generator, values: Doubles) -> Doubles:
    """Add up like a meter that overflows and starts again."""
    total = np.cumsum(np.abs(values))
    return np.asarray(total % (total[-1] / rng.uniform(1, 30) + 1e-9))


# Each with the share of streams that it applies to, in the order of their application.
SENSOR_EFFECTS = ((positive, 0.3), (counter, 0.05), (saturated, 0.1), (rounded, 0.3), (stuck, 0.1))
