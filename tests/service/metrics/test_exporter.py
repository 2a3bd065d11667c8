"""Exporter: Prometheus' own parser reads the metrics, the values match, and no stream is a label."""

from __future__ import annotations

import math
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from stream_lstm.events import REASONS
from stream_lstm.service.broker import TransportStats
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges, page, registry
from stream_lstm.service.metrics.quality import StreamQuality

PRESENT = Gauges(
    model="default:0123",
    streams=3,
    streams_on_disk=2,
    streams_max=10,
    streams_stale=1,
    quality=lambda: StreamQuality(judged=3, worse=1, covered=2),
    interval=0.9,
    freezes=1,
    state_bytes=4_096,
    wal_bytes=1_024,
    broker_connected=True,
    transport=TransportStats(
        connections_total=2,
        messages_total=7,
        received_bytes_total=700,
        inbox_messages=1,
        unacknowledged=2,
        receive_maximum=65_534,
        broker_dropped_total=5,
    ),
    commits_waiting=1,
    ready=True,
    now=1_000.0,
)


def samples(counters: Counters) -> dict[tuple[str, str], float]:
    text = page(registry(counters, lambda: PRESENT)).decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_official_parser_reads_every_metric_with_our_prefix() -> None:
    text = page(registry(Counters(), lambda: PRESENT)).decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"stream_lstm_events_received", "stream_lstm_event_to_prediction_seconds"} <= names
    assert all(name.startswith(("stream_lstm_", "process_", "python_gc_")) for name in names)


def test_every_reason_is_exported_from_the_start() -> None:
    found = samples(Counters())
    assert {label for name, label in found if name == "stream_lstm_events_rejected_total"} == set(REASONS)


def test_counters_and_gauges_are_exported_with_their_values() -> None:
    counters = Counters(events_total=5, applied_total=3, predictions_total=3, duplicates_total=4)
    counters.rejected_total["malformed"] += 2
    counters.own_messages_total = 6
    found = samples(counters)
    assert found["stream_lstm_events_received_total", ""] == 5
    assert found["stream_lstm_predictions_published_total", ""] == 3
    assert found["stream_lstm_messages_redelivered_total", ""] == 4
    assert found["stream_lstm_messages_own_total", ""] == 6
    assert found["stream_lstm_events_rejected_total", "malformed"] == 2
    assert found["stream_lstm_broker_reconnects_total", ""] == 1
    assert found["stream_lstm_streams", "memory"] == 3
    assert found["stream_lstm_streams_judged", ""] == 3
    assert found["stream_lstm_streams_worse_than_persistence", ""] == 1
    assert found["stream_lstm_streams_well_covered", ""] == 2
    assert found["stream_lstm_model_info", "default:0123"] == 1


def test_ratios_and_backlog_are_nan_until_there_is_a_value() -> None:
    names = ("error_vs_persistence_ratio", "interval_coverage_ratio", "backlog_seconds")
    found = samples(Counters())
    assert all(math.isnan(found[f"stream_lstm_{name}", ""]) for name in names)
    counters = Counters(
        error_sum=4.0, persistence_sum=8.0, judged_total=4, covered_total=3, newest_time=990.0
    )
    found = samples(counters)
    assert [found[f"stream_lstm_{name}", ""] for name in names] == [0.5, 0.75, 10.0]


def test_a_clock_slightly_ahead_gives_a_negative_backlog() -> None:
    assert samples(Counters(newest_time=1_001.0))["stream_lstm_backlog_seconds", ""] == -1.0


def test_the_brokers_dropped_messages_are_absent_until_it_reports_them() -> None:
    name = "stream_lstm_broker_messages_dropped_total"
    assert samples(Counters())[name, ""] == 5
    unreported = page(registry(Counters(), lambda: replace(PRESENT, transport=TransportStats()))).decode()
    assert name not in unreported
    assert "stream_lstm_messages_left_out_total 0.0" in unreported
