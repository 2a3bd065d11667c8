"""Counters and histograms of the service: plain numbers, cheap to update a batch at a time.

`stream_lstm.service.metrics.exporter` turns them into Prometheus metrics at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.predictions import Totals

# Upper bounds of the histograms' buckets, densest where values usually lie: latencies and commits around a
# millisecond, ages from a second to a day.
LATENCY_SECONDS = (
    *(5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
COMMIT_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BATCH_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
AGE_SECONDS = (0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400, 604_800)
FEW_EVENTS = 16  # of which a loop is faster than calls of numpy
AHEAD_SECONDS_MAX = 60.0  # a single clock further ahead would hide the backlog of all other sensors


class Histogram:
    """A histogram that takes many equal observations at once.

    Args:
        bounds: upper bounds of the buckets, ascending; a bucket without a bound is added.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        """Add `count` observations of a value."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, in Prometheus' form."""
        summed = np.cumsum(self.counts).tolist()
        return list(zip((*map(str, map(float, self.bounds)), "+Inf"), summed, strict=True))


@dataclass
class Counters:
    """Counts since the start of the process; `Pipeline`, `StateWriter` and `Residency` update them."""

    started_seconds: float = 0.0
    events_total: int = 0  # duplicates and own messages excluded: = applied + rejected
    applied_total: int = 0
    rejected_total: Counter[str] = field(default_factory=Counter)  # by reason
    duplicates_total: int = 0  # messages redelivered by the broker, dropped
    copies_total: int = 0  # messages for another subscription of ours, dropped
    uncertain_duplicates_total: int = 0  # of these, without a time and without the broker's mark
    own_messages_total: int = 0  # messages on our own output topics, ignored
    late_total: int = 0  # events older than the last of their stream
    predictions_total: int = 0
    frozen_total: int = 0  # events of frozen streams
    resent_total: int = 0  # predictions published again after a restart
    anomalies_total: int = 0  # events with an anomaly score from the alert threshold on
    alerts_total: int = 0
    evicted_total: int = 0
    fetched_total: int = 0
    forgotten_total: int = 0
    error_sum: float = 0.0  # |value - expected|, in deviations of its stream
    persistence_sum: float = 0.0  # |value - last value|, likewise: the last-value forecast's
    judged_total: int = 0  # values compared with their prediction
    covered_total: int = 0  # of the judged, inside their interval
    newest_time: float = 0.0  # of an event that carries a time, epoch seconds
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    commit: Histogram = field(default_factory=lambda: Histogram(COMMIT_SECONDS))
    batch: Histogram = field(default_factory=lambda: Histogram(BATCH_EVENTS))
    age: Histogram = field(default_factory=lambda: Histogram(AGE_SECONDS))
    checkpoint_time: float = 0.0  # end of the last one, epoch seconds
    checkpoint_seconds: float = 0.0
    checkpoint_failures_total: int = 0
    restore_seconds: float = 0.0

    @property
    def relative_error(self) -> float | None:
        """Mean error relative to the last-value forecast since the start; 1.0 is no better.

        None while that forecast has made no error.
        """
        return self.error_sum / self.persistence_sum if self.persistence_sum else None

    @property
    def coverage(self) -> float | None:
        """Share of values inside their interval since the start; None while no value was judged."""
        return self.covered_total / self.judged_total if self.judged_total else None

    def observe_predictions(self, totals: Totals) -> None:
        """Count a batch's errors, coverage, late events, anomalies and alerts."""
        self.error_sum += totals.error
        self.persistence_sum += totals.persistence
        self.judged_total += totals.judged
        self.covered_total += totals.judged - totals.missed
        self.late_total += totals.late
        self.anomalies_total += totals.anomalies
        self.alerts_total += totals.alerts

    def observe_ages(self, times: NDArray[np.float64], now: float) -> None:
        """Count the ages of a batch's events at their arrival.

        An event from the future (a sensor's clock ahead) counts as age 0: negative observations would make
        the sum decrease, which looks like a restart.
        https://prometheus.io/docs/practices/histograms/#count-and-sum-of-observations

        Args:
            times: (N,) event times, epoch seconds, of the events that carry one.
            now: arrival time, epoch seconds.
        """
        if len(times) <= FEW_EVENTS:
            for time in times.tolist():
                if time <= now + AHEAD_SECONDS_MAX:
                    self.newest_time = max(self.newest_time, time)
                self.age.add(max(now - time, 0.0))
        else:
            plausible = times[times <= now + AHEAD_SECONDS_MAX]
            self.newest_time = float(plausible.max(initial=self.newest_time))
            ages = np.maximum(now - times, 0.0)
            buckets = np.searchsorted(AGE_SECONDS, ages)
            for bucket, count in enumerate(np.bincount(buckets, minlength=len(AGE_SECONDS) + 1).tolist()):
                self.age.counts[bucket] += count
            self.age.total += float(ages.sum())
