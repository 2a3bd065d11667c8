"""Overview of the service: rates and latency over the last seconds, levels, counts since the start."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream_lstm import __version__
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.metrics.counters import LATENCY_SECONDS
from stream_lstm.service.metrics.exporter import Gauges

RATE_SECONDS = 5.0  # that rates cover: longer lags behind, shorter is too unsteady to read
SAMPLE_SECONDS_MIN = 0.4  # between two kept samples: 13 cover RATE_SECONDS, however often clients ask
ACTIVE_SECONDS = 60  # streams with an event in the last minute count as active


class _Sample(NamedTuple):
    """The counters at one moment."""

    at: float  # seconds, monotonic
    events: int
    predictions: int
    rejected: int
    latency: list[int]  # events by bucket


class OverviewBuilder:
    """Builds overviews, and keeps samples of the counters for their rates."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._samples: deque[_Sample] = deque([self._sample()])

    def overview(self, *, viewers: int) -> schemas.Overview:
        """The overview at this moment.

        Args:
            viewers: of the live feed.
        """
        context, counters, now = self._context, self._context.counters, self._context.wall_clock()
        gauges = context.gauges()
        before, after = self._window()
        seconds = after.at - before.at
        latency = [b - a for a, b in zip(before.latency, after.latency, strict=True)]
        obstacles = context.obstacles()
        return schemas.Overview(
            version=__version__,
            model=gauges.model,
            now=now,
            started=counters.started_seconds,
            ready=not obstacles,
            obstacles=obstacles,
            connected=gauges.broker_connected,
            broker=context.settings.mqtt.url,
            over_seconds=round(seconds, 3),
            events_per_second=(after.events - before.events) / seconds,
            predictions_per_second=(after.predictions - before.predictions) / seconds,
            rejected_per_second=(after.rejected - before.rejected) / seconds,
            latency=schemas.Latency(quantile(latency, 0.5), quantile(latency, 0.99)),
            streams=self._counts(gauges, now),
            events=counters.events_total,
            predictions=counters.predictions_total,
            alerts=counters.alerts_total,
            rejected={reason: count for reason, count in sorted(counters.rejected_total.items()) if count},
            redelivered=counters.duplicates_total,
            late=counters.late_total,
            backlog_seconds=max(now - counters.newest_time, 0.0) if counters.newest_time else None,
            inbox_messages=gauges.transport.inbox_messages,
            unacknowledged=gauges.transport.unacknowledged,
            reading_paused=gauges.transport.reading_paused,
            error_ratio=counters.relative_error,
            covered=counters.coverage,
            interval=context.settings.model.interval,
            alert_from=ALERT_THRESHOLD,
            checkpoint_age_seconds=max(now - counters.checkpoint_time, 0.0),
            state_bytes=gauges.state_bytes,
            viewers=viewers,
        )

    @property
    def backlog_messages(self) -> int:
        """Messages received and not yet applied."""
        return self._context.gauges().transport.inbox_messages

    def _sample(self) -> _Sample:
        counters = self._context.counters
        return _Sample(
            self._context.clock(),
            counters.events_total,
            counters.predictions_total,
            sum(counters.rejected_total.values()),
            list(counters.latency.counts),
        )

    def _window(self) -> tuple[_Sample, _Sample]:
        """Two samples for rates: the kept one whose age is nearest to `RATE_SECONDS`, and one of now."""
        samples, now = self._samples, self._sample()
        while len(samples) > 1 and _distance(samples[1], now) <= _distance(samples[0], now):
            samples.popleft()
        before = samples[0]
        if now.at - samples[-1].at >= SAMPLE_SECONDS_MIN:
            samples.append(now)
        return before, now._replace(at=max(now.at, before.at + 1e-3))

    def _counts(self, gauges: Gauges, now: float) -> schemas.Counts:
        context, registry = self._context, self._context.registry
        rows = context.engine.memories.taken()
        recent, scores = context.recorder.recent_anomalies(now)
        # Each stream counts once: for its last event, or else for a recent one.
        last = registry.anomaly[rows].astype(np.float32) >= ALERT_THRESHOLD
        before = ~(registry.anomaly[recent[scores >= ALERT_THRESHOLD]].astype(np.float32) >= ALERT_THRESHOLD)
        return schemas.Counts(
            known=gauges.streams + gauges.streams_on_disk,
            memory=gauges.streams,
            disk=gauges.streams_on_disk,
            active=int(np.count_nonzero(registry.seen[rows] >= max(now - ACTIVE_SECONDS, 0))),
            stale=gauges.streams_stale,
            odd=int(np.count_nonzero(last) + np.count_nonzero(before)),
            frozen_filters=gauges.freezes,
        )


def _distance(sample: _Sample, now: _Sample) -> float:
    """Difference between a sample's age and `RATE_SECONDS`, seconds."""
    return abs(now.at - sample.at - RATE_SECONDS)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Quantile of the latency, seconds, by linear interpolation within its bucket.

    Args:
        counts: events by bucket of `LATENCY_SECONDS`.
        share: 0.99 for p99.

    Returns:
        None without events; the last bound for events beyond it.
    """
    total, below = sum(counts), 0
    if not total:
        return None
    bounds = (0.0, *LATENCY_SECONDS, LATENCY_SECONDS[-1])
    for low, high, count in zip(bounds, bounds[1:], counts, strict=True):
        if below + count >= share * total and count:
            return low + (high - low) * (share * total - below) / count
        below += count
    raise AssertionError("the counts add up to their sum")
