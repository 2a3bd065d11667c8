"""Prometheus exporter: the service's metrics, built at each scrape.

Names have the prefix `stream_lstm_` and base units; no stream is a label, so that the number of series does
not grow with the streams. Practices: https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from stream_lstm import __version__
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.events import REASONS
from stream_lstm.service.broker import TransportStats
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.quality import StreamQuality

PREFIX = "stream_lstm_"


@dataclass(frozen=True)
class Gauges:
    """Present values that `Counters` does not hold.

    Attributes:
        quality: evaluated only at a scrape, since it reads every stream in memory.
        interval: target coverage, `model.interval`.
        now: time of the reading, epoch seconds.
    """

    model: str
    streams: int
    streams_on_disk: int
    streams_max: int
    streams_stale: int
    quality: Callable[[], StreamQuality]
    interval: float
    freezes: int
    state_bytes: int
    wal_bytes: int
    broker_connected: bool
    transport: TransportStats
    commits_waiting: int
    ready: bool
    now: float


class ServiceCollector(Collector):
    """Reads `Counters` and `Gauges` at each scrape."""

    def __init__(self, counters: Counters, read_gauges: Callable[[], Gauges]) -> None:
        self._counters = counters
        self._read_gauges = read_gauges

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the service."""
        yield from _counters(self._counters)
        yield from _histograms(self._counters)
        gauges = self._read_gauges()
        yield from _gauges(self._counters, gauges)
        yield from _broker(gauges)
        yield from _info(gauges)


def registry(counters: Counters, read_gauges: Callable[[], Gauges]) -> CollectorRegistry:
    """A registry with the metrics of the service, the process and the garbage collector."""
    own = CollectorRegistry(auto_describe=False)
    own.register(ServiceCollector(counters, read_gauges))
    ProcessCollector(registry=own)
    GCCollector(registry=own)
    return own


def page(own: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(own)


def _counters(m: Counters) -> Iterator[Metric]:
    plain = {
        "events_received": ("Events and rejections; redelivered duplicates are not counted.", m.events_total),
        "events_applied": ("Events that updated the memory of their stream.", m.applied_total),
        "events_frozen": ("Events applied while their stream was frozen.", m.frozen_total),
        "events_late": ("Events applied that are older than the newest of their stream.", m.late_total),
        "messages_redelivered": ("Messages recognised as duplicates of committed ones.", m.duplicates_total),
        "messages_redelivered_uncertain": (
            "Of these, without a time and without the broker's mark: perhaps equal readings.",
            m.uncertain_duplicates_total,
        ),
        "messages_overlapping": (
            "Copies of a message that several subscriptions match, dropped.",
            m.copies_total,
        ),
        "messages_own": ("Messages that a stream_lstm service has published, ignored.", m.own_messages_total),
        "predictions_published": ("Predictions handed to the broker, one per event.", m.predictions_total),
        "predictions_resent": ("Predictions published again after a restart.", m.resent_total),
        "anomalies": (f"Events with an anomaly score of {ALERT_THRESHOLD} or more.", m.anomalies_total),
        "alerts": ("Incidents that began or became much worse.", m.alerts_total),
        "streams_evicted": ("Streams evicted from memory to disk.", m.evicted_total),
        "streams_fetched": ("Streams loaded from disk for an event.", m.fetched_total),
        "streams_forgotten": ("Streams deleted after limits.stream_ttl_seconds.", m.forgotten_total),
        "checkpoint_failures": ("Checkpoints that did not complete.", m.checkpoint_failures_total),
        "error_deviations": (
            "Sum of abs(value - expected), in deviations of the stream: errors of the predictions.",
            m.error_sum,
        ),
        "persistence_error_deviations": (
            "Sum of abs(value - last value), in deviations of the stream: errors of the last-value forecast.",
            m.persistence_sum,
        ),
        "judged_values": ("Values compared with their prediction.", m.judged_total),
        "covered_values": ("Judged values inside their prediction interval.", m.covered_total),
    }
    for name, (text, value) in plain.items():
        yield CounterMetricFamily(PREFIX + name, text, value)
    rejected = CounterMetricFamily(
        PREFIX + "events_rejected", "Rejected events and messages, by reason.", labels=["reason"]
    )
    for reason in REASONS:
        rejected.add_metric([reason], m.rejected_total[reason])
    yield rejected


def _histograms(m: Counters) -> Iterator[Metric]:
    plain = {
        "event_to_prediction_seconds": (
            "Latency from a message's arrival to the write of its prediction.",
            m.latency,
        ),
        "commit_seconds": ("Duration of a commit, including fsync.", m.commit),
        "batch_events": ("Events committed together.", m.batch),
        "event_age_seconds": ("Arrival minus event time, at least 0, of events that carry a time.", m.age),
    }
    for name, (text, histogram) in plain.items():
        yield HistogramMetricFamily(PREFIX + name, text, histogram.buckets(), histogram.total)


def _gauges(m: Counters, present: Gauges) -> Iterator[Metric]:
    yield from _quality(m, present)
    backlog = present.now - m.newest_time if m.newest_time else None
    plain = {
        "start_time_seconds": ("Start time of the service, epoch seconds.", m.started_seconds),
        "ready": ("1 if the service is ready, see /readyz.", present.ready),
        "streams_stale": (
            "Streams without events for three times their longest recent gap.",
            present.streams_stale,
        ),
        "freezes": ("Freeze filters in force; their streams do not learn.", present.freezes),
        "streams_max": ("Limit of streams in memory.", present.streams_max),
        "state_bytes": ("Size of the state on disk.", present.state_bytes),
        "wal_bytes": ("Size of the write-ahead log of the state file.", present.wal_bytes),
        "inbox_messages": ("Messages received and not yet applied.", present.transport.inbox_messages),
        "commits_waiting": ("Batches applied and not yet published.", present.commits_waiting),
        "backlog_seconds": (
            "Current time minus the newest event time; NaN before the first event that carries a time.",
            _or_nan(backlog),
        ),
        "checkpoint_age_seconds": (
            "Time since the last complete checkpoint.",
            present.now - m.checkpoint_time,
        ),
        "checkpoint_duration_seconds": ("Duration of the last checkpoint.", m.checkpoint_seconds),
        "restore_seconds": ("Duration of recovery at startup.", m.restore_seconds),
    }
    for name, (text, value) in plain.items():
        yield GaugeMetricFamily(PREFIX + name, text, value)
    streams = GaugeMetricFamily(
        PREFIX + "streams", "Known streams, by where their memory is.", labels=["tier"]
    )
    streams.add_metric(["memory"], present.streams)
    streams.add_metric(["disk"], present.streams_on_disk)
    yield streams


def _quality(m: Counters, present: Gauges) -> Iterator[Metric]:
    """Gauges of accuracy and coverage."""
    quality = present.quality()
    plain = {
        "streams_judged": ("Streams in memory that are warm and not flat.", quality.judged),
        "streams_worse_than_persistence": (
            "Judged streams whose recent error relative to the last-value forecast is above 1.",
            quality.worse,
        ),
        "streams_well_covered": (
            "Judged streams whose recent coverage is within 0.05 of the target.",
            quality.covered,
        ),
        "error_vs_persistence_ratio": (
            "Mean error relative to the last-value forecast since the start; 1.0 is no better.",
            _or_nan(m.relative_error),
        ),
        "interval_target_ratio": ("Target coverage of the intervals, model.interval.", present.interval),
        "interval_coverage_ratio": (
            "Share of values inside their prediction interval since the start.",
            _or_nan(m.coverage),
        ),
    }
    for name, (text, value) in plain.items():
        yield GaugeMetricFamily(PREFIX + name, text, value)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _broker(present: Gauges) -> Iterator[Metric]:
    stats = present.transport
    counters = {
        "broker_reconnects": (
            "Connections to the broker after the first.",
            max(stats.connections_total - 1, 0),
        ),
        "messages_received": ("Messages received from the broker, of any kind.", stats.messages_total),
        "messages_left_out": (
            "QoS 0 messages dropped because the inbox was full.",
            stats.dropped_messages_total,
        ),
        "publications_refused": (
            "Predictions refused by the broker: too large, or not allowed.",
            stats.refused_publications_total,
        ),
        "received_bytes": ("Bytes received from the broker.", stats.received_bytes_total),
    }
    if (
        stats.broker_dropped_total is not None
    ):  # absent until it is known: 0 would claim that none was dropped
        text = "Messages that the broker reports as dropped, for any of its clients, since its start."
        counters["broker_messages_dropped"] = text, stats.broker_dropped_total
    gauges = {
        "broker_connected": ("1 while connected to the broker.", present.broker_connected),
        "unacknowledged_messages": ("Messages received and not acknowledged.", stats.unacknowledged),
        "receive_maximum": ("Limit of messages that are not acknowledged.", stats.receive_maximum),
        "reading_paused": ("1 while reading from the socket is paused (backpressure).", stats.reading_paused),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(PREFIX + name, text, value)
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(PREFIX + name, text, value)


def _info(present: Gauges) -> Iterator[Metric]:
    versions = {"version": __version__, "python": platform.python_version(), "numpy": np.__version__}
    build = GaugeMetricFamily(
        PREFIX + "build_info", "Versions of the service, Python and NumPy.", labels=list(versions)
    )
    build.add_metric(list(versions.values()), 1)
    yield build
    model = GaugeMetricFamily(PREFIX + "model_info", "The model in use.", labels=["id"])
    model.add_metric([present.model], 1)
    yield model
