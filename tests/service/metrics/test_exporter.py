"""Metrics: the official parser reads them, the counts add up, and no stream is a label."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.events import REASONS
from stream_lstm.service.metrics.counters import AGE_SECONDS, Counters, Histogram
from stream_lstm.service.metrics.exporter import Gauges, page, registry
from stream_lstm.service.metrics.standing import StreamQuality

PRESENT = Gauges(
    model="default:0123",
    streams=3,
    streams_on_disk=2,
    streams_max=10,
    streams_stale=1,
    standing=lambda: StreamQuality(judged=3, worse=1, covered=2),
    interval=0.9,
    freezes=1,
    state_bytes=4_096,
    broker_connected=True,
    connections_total=2,
    messages_total=7,
    received_bytes_total=700,
    inbox_messages=1,
    unacknowledged=2,
    receive_maximum=65_534,
    reading_paused=False,
    broker_dropped_total=5,
    left_out_total=0,
    refused_total=0,
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


def predictions(
    errors: list[float], persistence: list[float], missed: list[bool], anomaly: list[float]
) -> Predictions:
    count = len(errors)
    column = np.zeros((count, 1))
    return Predictions(
        seq=np.arange(count) + 1,
        expected=column,
        anomaly=np.array(anomaly),
        kind=np.zeros(count, np.int8),
        incident_score=np.array(anomaly),
        alert=np.array(anomaly) >= ALERT_THRESHOLD,
        forecast=column[:, None],
        trust=column,
        half_width=column[:, None],
        probabilities=np.empty((count, 0)),
        error=np.array(errors)[:, None],
        persistence=np.array(persistence)[:, None],
        missed=np.array(missed)[:, None],
        relative_mae=column,
        covered=column,
        late=np.zeros(count, bool),
    )


def test_the_official_parser_reads_every_metric_with_our_prefix() -> None:
    text = page(registry(Counters(), lambda: PRESENT)).decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"stream_lstm_events_received", "stream_lstm_event_to_prediction_seconds"} <= names
    assert all(name.startswith(("stream_lstm_", "process_", "python_gc_")) for name in names)


def test_every_reason_is_there_from_the_start() -> None:
    found = samples(Counters())
    assert {label for name, label in found if name == "stream_lstm_events_rejected_total"} == set(REASONS)


def test_counts_are_shown_as_they_are() -> None:
    counters = Counters(events_total=5, applied_total=3, predictions_total=3)
    counters.rejected_total["malformed"] += 2
    found = samples(counters)
    assert found["stream_lstm_events_received_total", ""] == 5
    assert found["stream_lstm_predictions_published_total", ""] == 3
    assert found["stream_lstm_events_rejected_total", "malformed"] == 2
    assert found["stream_lstm_broker_reconnects_total", ""] == 1
    assert found["stream_lstm_streams", "memory"] == 3
    assert found["stream_lstm_model_info", "default:0123"] == 1


def test_ratios_are_nan_until_there_is_something_to_compare() -> None:
    counters = Counters()
    assert math.isnan(samples(counters)["stream_lstm_error_vs_persistence_ratio", ""])
    assert math.isnan(samples(counters)["stream_lstm_backlog_seconds", ""])
    counters.judged(
        predictions([1.0, 3.0, np.nan], [2.0, 6.0, np.nan], [True, False, False], [0.0, 0.95, np.nan])
    )
    counters.aged(np.array([990.0]), 1_000.0)
    found = samples(counters)
    assert found["stream_lstm_error_vs_persistence_ratio", ""] == 0.5
    assert found["stream_lstm_interval_coverage_ratio", ""] == 0.5
    assert found["stream_lstm_anomalies_total", ""] == 1
    assert found["stream_lstm_alerts_total", ""] == 1
    assert found["stream_lstm_backlog_seconds", ""] == 10.0


def test_first_events_alone_are_not_judged() -> None:
    counters = Counters()
    counters.judged(predictions([np.nan], [np.nan], [False], [0.0]))
    counters.aged(np.array([]), 1.0)
    assert (counters.judged_total, counters.age.total) == (0, 0.0)


def test_a_tally_counts_many_at_once_into_the_bucket_that_includes_its_bound() -> None:
    tally = Histogram((1.0, 2.0))
    tally.add(1.0, 3)
    tally.add(1.5)
    tally.add(9.0, 2)
    assert tally.buckets() == [("1.0", 3), ("2.0", 4), ("+Inf", 6)]
    assert tally.total == pytest.approx(3 + 1.5 + 18)


def test_ages_fall_into_the_buckets_that_a_tally_would_choose() -> None:
    counters, tally = Counters(), Histogram(AGE_SECONDS)
    ages = [0.0, 0.001, 0.5, 1.0, 3_600.0, 1e9]
    counters.aged(1e9 - np.array(ages), 1e9)
    for age in ages:
        tally.add(1e9 - (1e9 - age))
    assert counters.age.counts == tally.counts
    assert counters.age.total == pytest.approx(tally.total)


def test_an_event_from_the_future_neither_lowers_the_sum_of_ages_nor_hides_a_backlog() -> None:
    counters = Counters()
    counters.aged(np.array([5_000.0]), 1_000.0)
    assert math.isnan(samples(counters)["stream_lstm_backlog_seconds", ""])
    counters.aged(np.array([990.0, 5_000.0]), 1_000.0)
    assert counters.age.total == 10.0
    assert counters.age.counts[0] == 2
    assert samples(counters)["stream_lstm_backlog_seconds", ""] == 10.0
    counters.aged(np.array([1_001.0]), 1_000.0)  # within what clocks differ by
    assert samples(counters)["stream_lstm_backlog_seconds", ""] == -1.0


def test_what_the_broker_dropped_is_absent_until_it_has_said_so() -> None:
    name = "stream_lstm_broker_messages_dropped_total"
    assert samples(Counters())[name, ""] == 5
    silent = page(registry(Counters(), lambda: replace(PRESENT, broker_dropped_total=None))).decode()
    assert name not in silent
    assert "stream_lstm_messages_left_out_total 0.0" in silent
