"""How the service fares, in one answer; rates and delays over the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream_lstm import __version__
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.metrics.counters import LATENCY_SECONDS, Counters
from stream_lstm.service.metrics.exporter import Gauges

OVER_SECONDS = 5.0  # rates are taken over so long, or what comes nearest
BETWEEN_SECONDS = 0.4  # between two looks that are remembered
ACTIVE_SECONDS = 60


class _Look(NamedTuple):
    """The counters at one moment."""

    at: float  # seconds, monotonic
    events: int
    predictions: int
    rejected: int
    latency: list[int]  # events by bucket


class OverviewBuilder:
    """Makes overviews, and remembers the counters of the last ones."""

    def __init__(self, view: HttpContext) -> None:
        self._view = view
        self._looks: deque[_Look] = deque([_Look(time.monotonic(), *_counted(view.counters))])

    def overview(self, *, viewers: int) -> schemas.Overview:
        """How things stand now."""
        view, m, now = self._view, self._view.counters, time.time()
        present = view.present()
        before, after = self._looked()
        seconds = after.at - before.at
        latency = [b - a for a, b in zip(before.latency, after.latency, strict=True)]
        obstacles = view.obstacles()
        return schemas.Overview(
            version=__version__,
            model=present.model,
            now=now,
            started=m.started_seconds,
            ready=not obstacles,
            obstacles=obstacles,
            connected=present.broker_connected,
            broker=view.settings.mqtt.url,
            over_seconds=round(seconds, 3),
            events_per_second=(after.events - before.events) / seconds,
            predictions_per_second=(after.predictions - before.predictions) / seconds,
            rejected_per_second=(after.rejected - before.rejected) / seconds,
            latency=schemas.Latency(quantile(latency, 0.5), quantile(latency, 0.99)),
            streams=self._counts(present, now),
            events=m.events_total,
            predictions=m.predictions_total,
            alerts=m.alerts_total,
            rejected={reason: count for reason, count in sorted(m.rejected_total.items()) if count},
            redelivered=m.duplicates_total,
            late=m.late_total,
            backlog_seconds=max(now - m.newest_time, 0.0) if m.newest_time else None,
            inbox_messages=present.inbox_messages,
            unacknowledged=present.unacknowledged,
            reading_paused=present.reading_paused,
            error_ratio=m.error_sum / m.persistence_sum if m.persistence_sum else None,
            covered=m.covered_total / m.judged_total if m.judged_total else None,
            interval=view.settings.model.interval,
            alert_from=ALERT_THRESHOLD,
            checkpoint_age_seconds=max(now - m.checkpoint_time, 0.0),
            state_bytes=present.state_bytes,
            viewers=viewers,
        )

    @property
    def waiting(self) -> int:
        """How many messages wait to be applied."""
        return self._view.present().inbox_messages

    def _looked(self) -> tuple[_Look, _Look]:
        """The counters now, and those of some seconds ago."""
        looks, now = self._looks, _Look(time.monotonic(), *_counted(self._view.counters))
        while len(looks) > 1 and _off(looks[1], now) <= _off(looks[0], now):
            looks.popleft()
        before = looks[0]
        if now.at - looks[-1].at >= BETWEEN_SECONDS:
            looks.append(now)
        return before, now._replace(at=max(now.at, before.at + 1e-3))

    def _counts(self, present: Gauges, now: float) -> schemas.Counts:
        view, registry = self._view, self._view.registry
        rows = view.engine.memories.taken()
        odd, much = view.recorder.recent_anomalies(now)
        of_late = registry.anomaly[rows].astype(np.float32) >= ALERT_THRESHOLD
        before = ~(registry.anomaly[odd[much >= ALERT_THRESHOLD]].astype(np.float32) >= ALERT_THRESHOLD)
        return schemas.Counts(
            known=present.streams + present.streams_on_disk,
            memory=present.streams,
            disk=present.streams_on_disk,
            active=int(np.count_nonzero(registry.seen[rows] >= max(now - ACTIVE_SECONDS, 0))),
            stale=present.streams_stale,
            odd=int(np.count_nonzero(of_late) + np.count_nonzero(before)),
            frozen_filters=present.freezes,
        )


def _off(look: _Look, now: _Look) -> float:
    """How far a look is from being as old as it should."""
    return abs(now.at - look.at - OVER_SECONDS)


def _counted(m: Counters) -> tuple[int, int, int, list[int]]:
    return m.events_total, m.predictions_total, sum(m.rejected_total.values()), list(m.latency.counts)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """A quantile of the delay, seconds, within its bucket by the rule of three; None of nothing."""
    total, below = sum(counts), 0
    if not total:
        return None
    bounds = (0.0, *LATENCY_SECONDS, LATENCY_SECONDS[-1])
    for low, high, count in zip(bounds, bounds[1:], counts, strict=True):
        if below + count >= share * total and count:
            return low + (high - low) * (share * total - below) / count
        below += count
    raise AssertionError("the counts add up to their sum")
