"""Prometheus metrics, made when they are scraped: prefix `stream_lstm_`, base units, no stream as a label.

Practices: https://prometheus.io/docs/practices/naming/.
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
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.events import REASONS
from stream_lstm.service.metrics.counters import Counters, Histogram
from stream_lstm.service.metrics.standing import StreamQuality

PREFIX = "stream_lstm_"


@dataclass(frozen=True)
class Gauges:
    """What is so at the moment of a scrape; numbers that nobody counts."""

    model: str
    streams: int
    streams_on_disk: int
    streams_max: int
    streams_stale: int
    standing: Callable[[], StreamQuality]  # all streams are looked at for it
    interval: float
    freezes: int
    state_bytes: int
    broker_connected: bool
    connections_total: int
    messages_total: int
    received_bytes_total: int
    inbox_messages: int
    unacknowledged: int
    receive_maximum: int
    reading_paused: bool
    broker_dropped_total: int | None
    left_out_total: int
    refused_total: int
    commits_waiting: int
    ready: bool
    now: float


class ServiceCollector(Collector):
    """Reads `Counters` and `Gauges` at each scrape."""

    def __init__(self, counters: Counters, present: Callable[[], Gauges]) -> None:
        self._counters = counters
        self._present = present

    def collect(self) -> Iterator[Metric]:
        """Every metric of the service."""
        yield from _counters(self._counters)
        yield from _histograms(self._counters)
        present = self._present()
        yield from _gauges(self._counters, present)
        yield from _broker(present)
        yield from _info(present)


def registry(counters: Counters, present: Callable[[], Gauges]) -> CollectorRegistry:
    """A registry of the service's own: its metrics, the process's and the garbage collector's."""
    own = CollectorRegistry(auto_describe=False)
    own.register(ServiceCollector(counters, present))
    ProcessCollector(registry=own)
    GCCollector(registry=own)
    return own


def page(own: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(own)


def _counters(m: Counters) -> Iterator[Metric]:
    plain = {
        "events_received": ("Events and refused messages: what came in, redeliveries apart.", m.events_total),
        "events_applied": ("Events that changed a memory.", m.applied_total),
        "events_frozen": ("Events applied, but not learnt from: their streams were frozen.", m.frozen_total),
        "events_late": ("Events applied that are older than the last one of their stream.", m.late_total),
        "messages_redelivered": ("Messages recognised as copies of committed ones.", m.copies_total),
        "messages_own": ("Messages on our own output topics, not read.", m.own_total),
        "predictions_published": ("Predictions handed to the broker, one an event.", m.predictions_total),
        "predictions_resent": ("Predictions published again after a restart.", m.resent_total),
        "anomalies": (f"Events with an anomaly of {ALERT_THRESHOLD} or more.", m.anomalies_total),
        "alerts": ("Incidents that began, or got far worse.", m.alerts_total),
        "streams_evicted": ("Streams that went to disk for want of room in memory.", m.evicted_total),
        "streams_fetched": ("Streams that came back from disk with an event.", m.fetched_total),
        "streams_forgotten": ("Streams dropped after limits.stream_ttl_seconds.", m.forgotten_total),
        "checkpoint_failures": ("Checkpoints that were not completed.", m.checkpoint_failures_total),
        "error_deviations": ("Sum of abs(value - expected), in deviations of its stream.", m.error_sum),
        "persistence_error_deviations": (
            "Sum of abs(value - last value), in deviations of its stream.",
            m.persistence_sum,
        ),
        "judged_values": ("Values that were compared with what was expected.", m.judged_total),
        "covered_values": ("Of the judged values, those inside their interval.", m.covered_total),
    }
    for name, (text, value) in plain.items():
        yield CounterMetricFamily(PREFIX + name, text, value)
    rejected = CounterMetricFamily(
        PREFIX + "events_rejected", "Events and messages refused, by reason.", labels=["reason"]
    )
    for reason in REASONS:
        rejected.add_metric([reason], m.rejected_total[reason])
    yield rejected


def _histograms(m: Counters) -> Iterator[Metric]:
    yield _histogram(
        "event_to_prediction_seconds", "From a message's arrival to its prediction's write.", m.latency
    )
    yield _histogram("commit_seconds", "Duration of a commit, fsync included.", m.commit)
    yield _histogram("batch_events", "Events committed together.", m.batch)
    yield _histogram(
        "event_age_seconds", "Arrival minus event time, at least 0, of events with a time.", m.age
    )


def _histogram(name: str, text: str, tally: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(PREFIX + name, text, tally.buckets(), tally.total)


def _gauges(m: Counters, present: Gauges) -> Iterator[Metric]:
    def ratio(part: float, whole: float) -> float:
        return part / whole if whole else float("nan")

    standing = present.standing()
    plain = {
        "start_time_seconds": ("When the service started, epoch seconds.", m.started_seconds),
        "ready": ("1 if /readyz says yes.", present.ready),
        "streams_stale": ("Streams silent for longer than they should be.", present.streams_stale),
        "streams_judged": ("Streams in memory that are warm and not flat.", standing.judged),
        "streams_worse_than_persistence": (
            "Of the judged, those whose mean error of late is above that of 'same as last time'.",
            standing.worse,
        ),
        "streams_well_covered": (
            "Of the judged, those whose interval held within 5 % of the share that is set.",
            standing.covered,
        ),
        "freezes": ("Stream filters that hold at present: their streams do not learn.", present.freezes),
        "streams_max": ("The limit of streams in memory.", present.streams_max),
        "state_bytes": ("Size of the state on disk.", present.state_bytes),
        "inbox_messages": ("Messages received and not yet applied.", present.inbox_messages),
        "commits_waiting": ("Batches applied and not yet published.", present.commits_waiting),
        "backlog_seconds": (
            "Now minus the newest event time seen; NaN while no event carried a time.",
            present.now - m.newest_time if m.newest_time else float("nan"),
        ),
        "checkpoint_age_seconds": (
            "Time since the last complete checkpoint.",
            present.now - m.checkpoint_time,
        ),
        "checkpoint_duration_seconds": ("Duration of the last checkpoint.", m.checkpoint_seconds),
        "restore_seconds": ("From the start until memory was recovered.", m.restore_seconds),
        "error_vs_persistence_ratio": (
            "Mean error by that of 'same as last time', since the start.",
            ratio(m.error_sum, m.persistence_sum),
        ),
        "interval_target_ratio": (
            "Share of values that are to lie inside their interval: model.interval.",
            present.interval,
        ),
        "interval_coverage_ratio": (
            "Share of values inside their interval, since the start.",
            ratio(m.covered_total, m.judged_total),
        ),
    }
    for name, (text, value) in plain.items():
        yield GaugeMetricFamily(PREFIX + name, text, value)
    streams = GaugeMetricFamily(
        PREFIX + "streams", "Streams known, by where their memory is.", labels=["tier"]
    )
    streams.add_metric(["memory"], present.streams)
    streams.add_metric(["disk"], present.streams_on_disk)
    yield streams


def _broker(p: Gauges) -> Iterator[Metric]:
    counters = {
        "broker_reconnects": ("Connections to the broker after the first.", max(p.connections_total - 1, 0)),
        "messages_received": ("Messages from the broker, of whatever kind.", p.messages_total),
        "messages_left_out": ("Messages of QoS 0, lost for want of room in the inbox.", p.left_out_total),
        "publications_refused": (
            "Predictions that the broker did not take: too large, or not allowed.",
            p.refused_total,
        ),
        "received_bytes": ("Bytes from the broker.", p.received_bytes_total),
    }
    if p.broker_dropped_total is not None:  # 0 would claim what nobody has said
        text = "Messages that the broker says it has dropped, for any of its clients, since its start."
        counters["broker_messages_dropped"] = text, p.broker_dropped_total
    gauges = {
        "broker_connected": ("1 while connected to the broker.", p.broker_connected),
        "unacknowledged_messages": ("Messages received and not acknowledged.", p.unacknowledged),
        "receive_maximum": ("Messages that the broker may send ahead of that.", p.receive_maximum),
        "reading_paused": ("1 while the socket is not read, so that the broker waits.", p.reading_paused),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(PREFIX + name, text, value)
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(PREFIX + name, text, value)


def _info(present: Gauges) -> Iterator[Metric]:
    versions = {"version": __version__, "python": platform.python_version(), "numpy": np.__version__}
    build = GaugeMetricFamily(PREFIX + "build_info", "Versions of what is running.", labels=list(versions))
    build.add_metric(list(versions.values()), 1)
    yield build
    model = GaugeMetricFamily(PREFIX + "model_info", "The model in use.", labels=["id"])
    model.add_metric([present.model], 1)
    yield model
