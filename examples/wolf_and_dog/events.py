"""The animal events: a cue, a long walk past things that say nothing, and a picture that could be either.

An event has four numbers. `forest` is 1 where a bear or a squirrel is seen, `farm` where a cow or a goldfish
is; `picture` is 1 where a picture shows a wolf or a dog, nobody could say which; `noise` is whatever the
light does. Which of the two it is depends on the cue alone: after the forest a wolf, after the farm a dog.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURES = ["forest", "farm", "picture", "noise"]
LABELS = ["wolf", "dog"]
FOREST, FARM, PICTURE, NOISE = range(4)
QUIET = -1  # no answer is asked for here


class Walks(NamedTuple):
    """N walks of L events: what is seen (L, N, 4), and the label at each picture (L, N), else `QUIET`."""

    events: NDArray[np.float32]
    answers: NDArray[np.int64]


def walks(rng: np.random.Generator, count: int, length: int, pictures: int, nearest: int) -> Walks:
    """Walks to learn from: a cue near the start, then pictures, none nearer to it than so many events."""
    events, answers = _blank(rng, count, length)
    for n in range(count):
        start, label = int(rng.integers(0, 4)), int(rng.integers(2))
        events[start, n, label] = 1.0
        lags = rng.integers(nearest, length - start, pictures)
        events[start + lags, n, PICTURE] = 1.0
        answers[start + lags, n] = label
    return Walks(events, answers)


def tests(rng: np.random.Generator, count: int, lag: int) -> Walks:
    """Walks to be judged by: a cue, and one picture so many events later."""
    events, answers = _blank(rng, count, lag + 1)
    labels = rng.integers(0, 2, count)
    events[0, np.arange(count), labels] = 1.0
    events[lag, :, PICTURE] = 1.0
    answers[lag] = labels
    return Walks(events, answers)


def _blank(
    rng: np.random.Generator, count: int, length: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    events = np.zeros((length, count, len(FEATURES)), np.float32)
    events[:, :, NOISE] = rng.normal(0.0, 1.0, (length, count))
    return events, np.full((length, count), QUIET, np.int64)
