"""Walks: sequences of events with a cue, many events without information, and ambiguous pictures.

An event has four numbers. `forest` is 1 for a bear or a squirrel, `farm` for a cow or a goldfish (the cues).
`picture` is 1 for a picture that shows a wolf or a dog and does not tell which. `noise` is random. The label
of a picture depends on the cue alone: a wolf after the forest, a dog after the farm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURES = ["forest", "farm", "picture", "noise"]
LABELS = ["wolf", "dog"]
FOREST, FARM, PICTURE, NOISE = range(4)
NO_LABEL = -1  # of events without a picture


class Walks(NamedTuple):
    """N walks of L events."""

    events: NDArray[np.float32]  # (L, N, 4)
    labels: NDArray[np.int64]  # (L, N), `NO_LABEL` where there is no picture


def training_walks(rng: np.random.Generator, count: int, length: int, pictures: int, nearest: int) -> Walks:
    """Walks for training: a cue near the start, then pictures at least `nearest` events after it."""
    events, labels = _without_cues(rng, count, length)
    for n in range(count):
        start, label = int(rng.integers(0, 4)), int(rng.integers(2))
        events[start, n, label] = 1.0
        lags = rng.integers(nearest, length - start, pictures)
        events[start + lags, n, PICTURE] = 1.0
        labels[start + lags, n] = label
    return Walks(events, labels)


def evaluation_walks(rng: np.random.Generator, count: int, lag: int) -> Walks:
    """Walks for evaluation: a cue, and one picture `lag` events later."""
    events, labels = _without_cues(rng, count, lag + 1)
    drawn = rng.integers(0, 2, count)
    events[0, np.arange(count), drawn] = 1.0
    events[lag, :, PICTURE] = 1.0
    labels[lag] = drawn
    return Walks(events, labels)


def _without_cues(
    rng: np.random.Generator, count: int, length: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    events = np.zeros((length, count, len(FEATURES)), np.float32)
    events[:, :, NOISE] = rng.normal(0.0, 1.0, (length, count))
    return events, np.full((length, count), NO_LABEL, np.int64)
