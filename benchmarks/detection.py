"""How early and how rightly anomalies are found, by the rules of the Numenta Anomaly Benchmark, version 1.1.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark", 2015. A
detection inside a labelled window earns the more the earlier it comes, once a window; one outside costs the
more the farther it is behind the last window; a window that is missed costs, too. One threshold serves all
streams, the best there is; 0 is what saying nothing earns, 100 is perfection. The first 15 % of a stream (of
5,000 events at most) are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

STEEPNESS = 5.0
FAR = 3.0  # window widths behind the last window: from here on a false alarm costs all it can
PROBATION_SHARE, PROBATION_EVENTS = 0.15, 5_000


class Profile(NamedTuple):
    """What a detection earns, and what errors cost."""

    hit: float
    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward low FP": Profile(1.0, 0.22, 1.0),
    "reward low FN": Profile(1.0, 0.11, 2.0),
}


class Labelled(NamedTuple):
    """One stream: times and scores (L,), and its windows, from and to."""

    times: Doubles
    scores: Doubles
    windows: Sequence[tuple[float, float]]


class Judged(NamedTuple):
    """The events that count: each one's window, -1 for none, and what a detection is worth."""

    scores: Doubles
    window: NDArray[np.intp]
    worth: Doubles


def score(streams: Mapping[str, Labelled]) -> dict[str, float]:
    """The score of each profile, at the best threshold."""
    judged = _all(list(streams.values()))
    windows = sum(len(of.windows) for of in streams.values())
    return {name: _best(judged, profile, windows) for name, profile in PROFILES.items()}


def _sigmoid(position: Doubles) -> Doubles:
    worth = 2.0 / (1.0 + np.exp(np.clip(STEEPNESS * position, -50.0, 50.0))) - 1.0
    return np.where(position > FAR, -1.0, worth)


def _worth(of: Labelled) -> tuple[NDArray[np.intp], Doubles]:
    """Which window each event lies in, and what a detection there is worth before the profile's weights."""
    count = len(of.times)
    window, worth = np.full(count, -1, np.intp), np.full(count, -1.0)
    ends = [np.searchsorted(of.times, window).tolist() for window in sorted(of.windows)]
    for n, (left, right) in enumerate(ends):
        width = right - left + 1.0
        behind = np.arange(right + 1, ends[n + 1][0] if n + 1 < len(ends) else count)
        worth[behind] = _sigmoid((behind - right) / max(width - 1.0, 1.0))
        inside = np.arange(left, min(right + 1, count))
        window[inside] = n
        worth[inside] = _sigmoid(-(right - inside + 1) / width) / _sigmoid(np.array(-1.0))
    return window, worth


def _all(streams: Sequence[Labelled]) -> Judged:
    scores, windows, worths, known = [], [], [], 0
    for of in streams:
        window, worth = _worth(of)
        count = len(of.times)
        probation = min(np.floor(PROBATION_SHARE * count), PROBATION_SHARE * PROBATION_EVENTS)
        judged = np.arange(count) >= probation
        scores.append(of.scores[judged])
        windows.append(np.where(window >= 0, window + known, -1)[judged])
        worths.append(worth[judged])
        known += len(of.windows)
    return Judged(np.concatenate(scores), np.concatenate(windows), np.concatenate(worths))


def _best(judged: Judged, profile: Profile, windows: int) -> float:
    order = np.argsort(-judged.scores, kind="stable")
    scores, window, worth = (column[order] for column in judged)
    gain = np.where(window < 0, worth * profile.false_alarm, 0.0)
    for n in np.unique(window[window >= 0]):
        at = np.flatnonzero(window == n)
        best = np.maximum(np.maximum.accumulate(worth[at] * profile.hit), -profile.miss)
        gain[at] = np.diff(best, prepend=-profile.miss)
    seen = len(np.unique(window[window >= 0]))
    totals = np.cumsum(gain) - profile.miss * seen
    last_of_its_score = np.r_[scores[1:] != scores[:-1], True]
    nothing, perfect = -profile.miss * seen, profile.hit * seen
    most = max(float(totals[last_of_its_score].max(initial=nothing)), nothing)
    return 100.0 * (most - nothing) / (perfect - nothing) if windows else float("nan")
