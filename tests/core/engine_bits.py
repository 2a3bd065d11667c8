"""Bits of predictions and records after drawn events, for tests that compare them between processes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.events import FROZEN, Batch, Clock
from tests.core import models
from tests.core.models import engine, random_model

KINDS = models.KINDS | {"every input": {"inputs": ["value", "difference", "day", "week", "gap", "age"]}}
STREAMS = 3


def events(features: int, *, count: int, seed: int = 0) -> Batch:
    """Walks with outliers, standstills, late, frozen and uncertain events, over many days."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0.0, 0.3, (count, features)), axis=0).round(1)
    values[rng.random(count) < 0.01] += 30.0
    values[count // 2 : count // 2 + 60] = 4.0
    times = 1e9 + np.cumsum(rng.exponential(400.0, count))
    times -= rng.choice([0.0, 4_000.0], count, p=[0.95, 0.05])
    marks = [0, int(Clock.ARRIVAL), int(Clock.UNCERTAIN), FROZEN, FROZEN | int(Clock.UNCERTAIN)]
    drawn = rng.choice(np.array(marks, np.uint8), count, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    return Batch(rng.integers(1, STREAMS + 1, count), times, drawn, values)


def bits(records: NDArray[Any]) -> bytes:
    """Of every field, without the space between them."""
    dtype = records.dtype
    if dtype.names is None:
        return np.ascontiguousarray(records).tobytes()
    return b"".join(bits(records[name]) for name in dtype.names)


def digest(kind: str, size: int = 60, count: int = 300) -> str:
    """Of a model's predictions and records after `count` events in batches of `size`."""
    made = random_model(**KINDS[kind])
    running = engine(made, STREAMS, streams_max=STREAMS)
    batch = events(len(made.spec.features), count=count)
    parts = [running.apply(batch.select(slice(n, n + size))).records for n in range(0, count, size)]
    content = bits(np.concatenate(parts)) + bits(running.memories.states)
    return hashlib.sha256(content).hexdigest()[:16]


def refused(rows: list[int]) -> None:
    """Check that a batch with rows of which one lies outside of memory is refused, and changes nothing."""
    made = random_model(**KINDS["step"])
    running, count = engine(made, STREAMS, streams_max=STREAMS), len(rows)
    with pytest.raises(IndexError, match="outside of 4"):
        running.apply(Batch.timed(np.array(rows), np.full(count, 1e9), np.ones((count, 1))))
    assert not any(running.memories.states.tobytes())
