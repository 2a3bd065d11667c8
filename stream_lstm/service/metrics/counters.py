"""What the line counts about itself: plain numbers, cheap to change by the batch.

`stream_lstm.service.metrics.exporter` turns them into Prometheus metrics when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD

LATENCY_SECONDS = (
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)
COMMIT_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BATCH_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
AGE_SECONDS = (0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400, 604_800)
AHEAD_SECONDS_MAX = 60.0  # one sensor's clock that is further ahead would hide every backlog


class Histogram:
    """A histogram that takes many equal observations at once.

    Args:
        bounds: upper bounds of the buckets, ascending; one more is added for what lies above.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        """Observe a value `count` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        summed = np.cumsum(self.counts).tolist()
        return list(zip((*map(str, map(float, self.bounds)), "+Inf"), summed, strict=True))


@dataclass
class Counters:
    """Counts since the start of the process; `Pipeline` and `StateWriter` change them."""

    started_seconds: float = 0.0
    events_total: int = 0  # received and told apart: = applied + refused
    applied_total: int = 0
    rejected_total: Counter[str] = field(default_factory=Counter)  # by reason
    copies_total: int = 0  # messages sent again by the broker, recognised
    own_total: int = 0  # our own publications, come back
    late_total: int = 0  # events older than the last of their stream
    predictions_total: int = 0
    frozen_total: int = 0  # events of streams that were not to learn from them
    resent_total: int = 0  # predictions published again after a restart
    anomalies_total: int = 0  # events as odd as an alert
    alerts_total: int = 0  # incidents that began
    evicted_total: int = 0
    fetched_total: int = 0
    forgotten_total: int = 0
    error_sum: float = 0.0  # |value - expected|, in deviations of its stream
    persistence_sum: float = 0.0  # the same for "as last time"
    judged_total: int = 0
    covered_total: int = 0  # of the judged, inside their interval
    newest_time: float = 0.0  # of an event that carries a time, epoch seconds
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    commit: Histogram = field(default_factory=lambda: Histogram(COMMIT_SECONDS))
    batch: Histogram = field(default_factory=lambda: Histogram(BATCH_EVENTS))
    age: Histogram = field(default_factory=lambda: Histogram(AGE_SECONDS))
    checkpoint_time: float = 0.0  # when the last one ended, epoch seconds
    checkpoint_seconds: float = 0.0
    checkpoint_failures_total: int = 0
    restore_seconds: float = 0.0

    def judged(self, predictions: Predictions) -> None:
        """Count how a batch's events compare with what was expected of them."""
        error, persistence = predictions.error, predictions.persistence
        known = ~np.isnan(error + persistence)
        judged = int(np.count_nonzero(known))
        if judged:
            self.error_sum += float(np.add.reduce(error[known]))
            self.persistence_sum += float(np.add.reduce(persistence[known]))
            self.judged_total += judged
            self.covered_total += judged - int(np.count_nonzero(predictions.missed & known))
        self.late_total += int(np.count_nonzero(predictions.late))
        self.anomalies_total += int(np.count_nonzero(predictions.anomaly >= ALERT_THRESHOLD))
        self.alerts_total += int(np.count_nonzero(predictions.alert))

    def aged(self, times: NDArray[np.float64], now: float) -> None:
        """Count how old events were when they came, of those that carry a time.

        One from the future (a clock that is ahead) counts as 0: a sum that falls looks like a restart.
        https://prometheus.io/docs/practices/histograms/#count-and-sum-of-observations
        """
        if len(times):
            told = times[times <= now + AHEAD_SECONDS_MAX]
            self.newest_time = float(told.max(initial=self.newest_time))
            ages = np.maximum(now - times, 0.0)
            buckets = np.searchsorted(AGE_SECONDS, ages)
            for bucket, count in enumerate(np.bincount(buckets, minlength=len(AGE_SECONDS) + 1).tolist()):
                self.age.counts[bucket] += count
            self.age.total += float(ages.sum())
