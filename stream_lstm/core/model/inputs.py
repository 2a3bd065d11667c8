"""What of an event enters the cell: the model names its inputs, this file makes them.

value        the scaled value                        F columns
difference   the scaled step since the last event    F columns (0 at the first event)
day          sine and cosine of the time of day      2 columns (UTC)
week         sine and cosine of the time of week     2 columns (UTC)
gap          how far apart events usually are, and   2 columns
             this one beside that; logarithms
age          how well the stream is known, 0 to 1    1 column
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
AGE_EVENTS = 500.0
INPUT_MAX = {
    "running": 10.0,  # a running scale keeps values within ±22; what is beyond 10 says no more than 10
    "fixed": 1e6,  # far beyond any sensible scaling, and far from where float32 products overflow
}


class Seen(NamedTuple):
    """A batch's events beside what their streams were like, B rows, F features."""

    scaled: Doubles  # (B, F)
    step: Doubles  # (B, F) scaled value minus the one before
    times: Doubles  # (B,) epoch seconds
    seq: NDArray[np.int64]  # (B,)
    usual: Doubles  # (B,) see `stream_lstm.core.trackers.event_time`
    gap: Doubles  # (B,)


def _clock(times: Doubles, period: float) -> Doubles:
    turns = times / period
    angle = (turns - np.floor(turns)) * (2.0 * np.pi)  # a division is several times quicker than a remainder
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
    "gap": lambda seen: np.array([(seen.usual - GAP_FIRST) / 2.0, seen.gap - seen.usual]).T,
    "age": _age,
}


def width(names: Sequence[str], features: int) -> int:
    """How many numbers enter the cell for one event."""
    return sum(
        {"value": features, "difference": features, "day": 2, "week": 2, "gap": 2, "age": 1}[name]
        for name in names
    )


PARTS = {
    "day": ("time of day, sine", "time of day, cosine"),
    "week": ("time of week, sine", "time of week, cosine"),
    "gap": ("usual gap", "this gap beside it"),
    "age": ("how well known",),
}


def columns(names: Sequence[str], features: Sequence[str]) -> list[str]:
    """What each number that enters the cell is, in words, in the order of `make`."""
    out: list[str] = []
    for name in names:
        of_each = [name] if len(features) == 1 else [f"{name} of {feature}" for feature in features]
        out += PARTS.get(name, of_each)
    return out


def make(names: Sequence[str], seen: Seen, scaling: str) -> NDArray[np.float32]:
    """The cell's events (B, width), in the order of `names`, each within ±`INPUT_MAX[scaling]`."""
    columns = np.concatenate([MAKERS[name](seen) for name in names], axis=1)
    most = INPUT_MAX[scaling]
    bounded: NDArray[np.float32] = np.minimum(np.maximum(columns, -most), most).astype(np.float32)
    return bounded
