"""Inputs of the cell: the numbers that enter it for one event; a model names those that it takes.

value        the scaled value                                F columns
difference   the scaled step since the last event            F columns (0 at the first event)
day          sine and cosine of the time of day              2 columns (UTC)
week         sine and cosine of the time of week             2 columns (UTC)
gap          the stream's usual gap, and the present         2 columns
             one relative to it; logarithms
age          number of the stream's events, from 0 to 1;     1 column
             logarithm
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.event_time import GAP_FIRST
from stream_lstm.core.trackers.scale import Doubles

DAY_SECONDS = 86_400.0
WEEK_SECONDS = 7 * DAY_SECONDS
AGE_EVENTS = 500.0  # of age 1; from here on a running scale is exponential, too
INPUT_MAX = {
    "running": 10.0,  # a running scale keeps values within ±22; a value beyond 10 tells no more than 10
    "fixed": 1e6,  # far beyond any sensible scaling, and far from where float32 products overflow
}


class Seen(NamedTuple):
    """Sources of the inputs: one event of each of B streams, F features."""

    scaled: Doubles  # (B, F) value
    step: Doubles  # (B, F) scaled value minus the one before
    times: Doubles  # (B,) epoch seconds
    seq: NDArray[np.int64]  # (B,) number of events of each stream, this one included
    usual_gap: Doubles  # (B,) see `stream_lstm.core.trackers.event_time`
    gap: Doubles  # (B,) likewise


def _clock(times: Doubles, period: float) -> Doubles:
    turns = times / period
    angle = (turns - np.floor(turns)) * (2.0 * np.pi)  # several times faster than a remainder
    out = np.empty((len(times), 2))
    np.sin(angle, out=out[:, 0])
    np.cos(angle, out=out[:, 1])
    return out


def _age(seen: Seen) -> Doubles:
    known = np.log1p(np.minimum(seen.seq, AGE_EVENTS)) * (1.0 / np.log1p(AGE_EVENTS))
    return np.asarray(known)[:, None]


MAKERS: Mapping[str, Callable[[Seen], Doubles]] = {
    "value": lambda seen: seen.scaled,
    "difference": lambda seen: seen.step,
    "day": lambda seen: _clock(seen.times, DAY_SECONDS),
    "week": lambda seen: _clock(seen.times, WEEK_SECONDS),
    "gap": lambda seen: np.array([(seen.usual_gap - GAP_FIRST) / 2.0, seen.gap - seen.usual_gap]).T,
    "age": _age,
}


def width(names: Sequence[str], features: int) -> int:
    """Numbers that enter the cell for one event of this many features."""
    return sum(
        {"value": features, "difference": features, "day": 2, "week": 2, "gap": 2, "age": 1}[name]
        for name in names
    )


# As the page shows them.
PARTS = {
    "day": ("time of day, sine", "time of day, cosine"),
    "week": ("time of week, sine", "time of week, cosine"),
    "gap": ("usual gap", "gap relative to the usual one"),
    "age": ("age of the stream",),
}


def columns(names: Sequence[str], features: Sequence[str]) -> list[str]:
    """Names of the numbers that `make` returns, in its order."""
    out: list[str] = []
    for name in names:
        of_each = [name] if len(features) == 1 else [f"{name} of {feature}" for feature in features]
        out += PARTS.get(name, of_each)
    return out


def make(names: Sequence[str], seen: Seen, scaling: str) -> NDArray[np.float32]:
    """The inputs of one event of each stream, (B, width), each within ±`INPUT_MAX[scaling]`."""
    columns = np.concatenate([MAKERS[name](seen) for name in names], axis=1)
    limit = INPUT_MAX[scaling]
    bounded: NDArray[np.float32] = np.minimum(np.maximum(columns, -limit), limit).astype(np.float32)
    return bounded
