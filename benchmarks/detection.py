"""Score of anomaly detection by the rules of the Numenta Anomaly Benchmark, version 1.1.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark", 2015. A
detection inside a labelled window earns more the earlier it comes, once a window. A detection outside costs
more the farther it is behind the last window. A missed window costs as well. One threshold applies to all
streams: the best one. A detector without detections scores 0, a perfect one 100. The first 15 % of a stream
(of 5,000 events at most) are a probationary period and do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# All are constants of the benchmark itself.
STEEPNESS = 5.0
FAR = 3.0  # window widths behind the last window; from here on a false alarm costs the maximum
PROBATION_SHARE, PROBATION_EVENTS = 0.15, 5_000


class Profile(NamedTuple):
    """Weights of an application profile: the gain of a hit, the costs of a false alarm and of a miss."""

    hit: float
    false_alarm: float
    miss: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward low FP": Profile(1.0, 0.22, 1.0),
    "reward low FN": Profile(1.0, 0.11, 2.0),
}


class Labelled(NamedTuple):
    """One stream: times and anomaly scores (L,), and its labelled windows (start, end)."""

    times: Doubles
    scores: Doubles
    windows: Sequence[tuple[float, float]]


class Counted(NamedTuple):
    """Events after the probationary periods, (N,) each."""

    scores: Doubles
    window: NDArray[np.intp]  # index of the event's window, -1 outside all
    worth: Doubles  # of a detection at the event, from -1 to 1, before the profile's weights


def score(streams: Mapping[str, Labelled]) -> dict[str, float]:
    """Score of each profile, 0 to 100, at its best threshold; NaN if no stream has a window."""
    counted = _counted(list(streams.values()))
    windows = sum(len(stream.windows) for stream in streams.values())
    return {name: _best(counted, profile, windows) for name, profile in PROFILES.items()}


def _sigmoid(position: Doubles) -> Doubles:
    worth = 2.0 / (1.0 + np.exp(np.clip(STEEPNESS * position, -50.0, 50.0))) - 1.0
    return np.where(position > FAR, -1.0, worth)


def _worth(stream: Labelled) -> tuple[NDArray[np.intp], Doubles]:
    """Window and worth of each event, see `Counted`."""
    count = len(stream.times)
    window, worth = np.full(count, -1, np.intp), np.full(count, -1.0)
    ends = [np.searchsorted(stream.times, window).tolist() for window in sorted(stream.windows)]
    for n, (left, right) in enumerate(ends):
        width = right - left + 1.0
        behind = np.arange(right + 1, ends[n + 1][0] if n + 1 < len(ends) else count)
        worth[behind] = _sigmoid((behind - right) / max(width - 1.0, 1.0))
        inside = np.arange(left, min(right + 1, count))
        window[inside] = n
        worth[inside] = _sigmoid(-(right - inside + 1) / width) / _sigmoid(np.array(-1.0))
    return window, worth


def _counted(streams: Sequence[Labelled]) -> Counted:
    scores, windows, worths, windows_before = [], [], [], 0
    for stream in streams:
        window, worth = _worth(stream)
        count = len(stream.times)
        probation = min(np.floor(PROBATION_SHARE * count), PROBATION_SHARE * PROBATION_EVENTS)
        counts = np.arange(count) >= probation
        scores.append(stream.scores[counts])
        windows.append(np.where(window >= 0, window + windows_before, -1)[counts])
        worths.append(worth[counts])
        windows_before += len(stream.windows)
    return Counted(np.concatenate(scores), np.concatenate(windows), np.concatenate(worths))


def _best(counted: Counted, profile: Profile, windows: int) -> float:
    """Score at the best threshold, trying each event's anomaly score from the highest down."""
    order = np.argsort(-counted.scores, kind="stable")
    scores, window, worth = (column[order] for column in counted)
    gain = np.where(window < 0, worth * profile.false_alarm, 0.0)
    for n in np.unique(window[window >= 0]):
        at = np.flatnonzero(window == n)
        best = np.maximum(np.maximum.accumulate(worth[at] * profile.hit), -profile.miss)
        gain[at] = np.diff(best, prepend=-profile.miss)
    counted_windows = len(np.unique(window[window >= 0]))
    totals = np.cumsum(gain) - profile.miss * counted_windows
    last_of_its_score = np.r_[scores[1:] != scores[:-1], True]
    without, perfect = -profile.miss * counted_windows, profile.hit * counted_windows
    best_total = max(float(totals[last_of_its_score].max(initial=without)), without)
    return 100.0 * (best_total - without) / (perfect - without) if windows else float("nan")
