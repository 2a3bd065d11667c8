"""Recorder: bounded whatever happens; a fault in it does not end the pipeline."""

from __future__ import annotations

import logging
import math
import random
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.events import REASONS, Batch
from stream_lstm.service.pipeline import recorder as chronicle_module
from stream_lstm.service.pipeline.recorder import (
    ALERTS_MAX,
    ANOMALIES_PER_BATCH_MAX,
    EXAMPLES_MAX,
    HALF_LIFE_SECONDS,
    PAYLOAD_BYTES_MAX,
    TEXT_MAX,
    RecentAnomaly,
    Recorder,
)
from stream_lstm.service.state.registry import Registry
from stream_lstm.store.entry import Rejection
from tests.core.models import engine, random_model
from tests.service.harness import reading, running_pipeline

MODEL = random_model()
NOW = 1.7e9


class Recorded:
    """A recorder of streams in rows 1, 2, …, and made-up predictions for it."""

    def __init__(self, streams: int, *, kept: int = 100) -> None:
        self.engine = engine(MODEL, streams)
        self.memories = self.engine.memories
        self.registry = Registry(rows_max=self.memories.rows_max)
        self.entries = 0
        self.recorder = Recorder(MODEL, self.memories, self.registry, recent_events_max=kept)

    def apply(
        self, rows: list[int], anomaly: list[float], *, now: float = NOW, alert: list[bool] | None = None
    ) -> None:
        count = len(rows)
        values = np.arange(count, dtype=np.float64)[:, None]
        batch = Batch.timed(np.array(rows, np.intp), np.full(count, now), values)
        predictions = self.engine.apply(batch)
        predictions.records["anomaly"], predictions.records["kind"] = anomaly, 2
        predictions.records["alert"] = alert or [False] * count
        self.entries += 1
        self.registry.record_batch(batch.streams, predictions.anomaly, self.entries, now, since=0.0, stale=0)
        self.recorder.record_batch(batch, predictions, predictions.totals(), now)

    def anomalies(self, now: float = NOW) -> dict[int, float]:
        rows, much = self.recorder.recent_anomalies(now)
        return dict(zip(rows.tolist(), much.tolist(), strict=True))


def test_an_alert_is_kept_with_what_was_expected() -> None:
    recorded = Recorded(2)
    for _ in range(3):
        recorded.apply([1, 2], [0.1, 0.2])
    expected = recorded.memories.target_column("interval.expected", np.array([2]))[0].tolist()
    recorded.apply([1, 2], [0.1, 0.9], alert=[False, True])
    (incident,) = recorded.recorder.alerts
    assert (incident.stream, incident.seq, incident.anomaly, incident.kind) == ("1", 4, 0.9, KINDS[2])
    assert (incident.time, incident.at, incident.value, incident.expected) == (NOW, NOW, [1.0], expected)


def test_a_storm_of_alerts_is_bounded() -> None:
    recorded = Recorded(300)
    rows = list(range(1, 301))
    recorded.apply(rows, [0.9] * 300, alert=[True] * 300)
    assert len(recorded.recorder.alerts) == len(recorded.anomalies()) == ANOMALIES_PER_BATCH_MAX
    for _ in range(10):
        recorded.apply(rows, [0.9] * 300, alert=[True] * 300)
    assert len(recorded.recorder.alerts) == ALERTS_MAX
    assert recorded.recorder.alerts[-1].seq == 11


def test_the_last_anomalous_streams_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle_module, "ANOMALOUS_STREAMS_MAX", 3)
    recorded = Recorded(6)
    for row in (1, 2, 3, 4, 2, 5):
        recorded.apply([row], [0.8])
    assert list(recorded.anomalies()) == [4, 2, 5]


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_last_events_or_the_faded_highest(seed: int) -> None:
    recorded, draw, now = Recorded(12), random.Random(seed), NOW
    last, oddest = dict.fromkeys(range(1, 13), 0.0), dict.fromkeys(range(1, 13), (0.0, now))

    def left(row: int) -> float:
        much, at = oddest[row]
        return float(much * 0.5 ** ((now - at) / HALF_LIFE_SECONDS))

    for _ in range(60):
        now += draw.expovariate(1 / 60.0)
        rows = draw.sample(range(1, 13), 5)
        anomaly = [draw.choice([math.nan, draw.random() * 0.4, draw.random()]) for _ in rows]
        recorded.apply(rows, anomaly, now=now)
        for row, much in zip(rows, anomaly, strict=True):
            last[row] = 0.0 if math.isnan(much) else much
            if much >= ALERT_THRESHOLD and left(row) <= much:
                oddest[row] = much, now
    found = recorded.recorder.anomaly_scores(np.arange(1, 13), recorded.recorder.recent_anomalies(now))
    wanted = [max(last[row], left(row)) for row in range(1, 13)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    few = recorded.recorder.anomaly_scores(np.array([7, 3]), recorded.recorder.recent_anomalies(now))
    np.testing.assert_allclose(few, [wanted[6], wanted[2]], atol=1e-3)


def test_without_recent_anomalies_the_last_event_counts() -> None:
    recorded = Recorded(3)
    recorded.apply([1, 2, 1], [0.2, math.nan, 0.3])
    found = recorded.recorder.anomaly_scores(np.array([1, 2, 3]), recorded.recorder.recent_anomalies(NOW))
    np.testing.assert_allclose(found, [0.3, 0.0, 0.0], atol=1e-3)
    assert np.isnan(recorded.registry.anomaly[[2, 3]]).all()  # unknown is not "not anomalies at all"


def test_an_evicted_stream_is_not_anomalous_nor_is_the_next_one_in_its_row() -> None:
    recorded = Recorded(3)
    recorded.apply([1, 2], [0.9, 0.8])
    recorded.memories.remove("0")
    recorded.registry.clear(1)
    assert recorded.memories.add("new", 99) == 1
    assert list(recorded.anomalies()) == [2]
    assert np.isnan(recorded.registry.anomaly[1])


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_an_anomaly_fades_when_the_clock_is_set(hours: float) -> None:
    recorded = Recorded(1)
    recorded.apply([1], [0.9])
    assert recorded.anomalies()[1] == pytest.approx(0.9)
    assert recorded.anomalies(NOW + 3_600.0 * hours)[1] < 0.001
    assert RecentAnomaly(1, 0.9, NOW).now(NOW + 3_600.0 * hours) < 0.001


def test_the_last_rejections_are_kept_shortened() -> None:
    recorder = Recorded(1).recorder
    for reason in REASONS:
        for n in range(EXAMPLES_MAX + 5):
            recorder.record_rejection(
                Rejection("t" * 60_000, b"\xff" * 100_000, reason, "d" * 60_000, NOW + n)
            )
    for kept in recorder.rejections.values():
        assert [refusal.time for refusal in kept] == [NOW + n for n in range(5, EXAMPLES_MAX + 5)]
        for refusal in kept:
            assert len(refusal.topic) == len(refusal.detail) == TEXT_MAX
            assert (len(refusal.payload), refusal.payload_bytes) == (PAYLOAD_BYTES_MAX, 100_000)


def test_nothing_is_kept_when_the_page_is_off() -> None:
    recorded = Recorded(1, kept=0)
    recorded.apply([1], [0.9], alert=[True])
    recorded.recorder.record_rejection(Rejection("t", b"x", "late", "d", NOW))
    assert not recorded.recorder.alerts
    assert not recorded.anomalies()
    assert not any(recorded.recorder.rejections.values())


async def test_a_fault_in_it_does_not_end_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pipeline(tmp_path / "state.db") as running:

        def stumble(*_: object) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(running.recorder.history, "append", stumble)
        monkeypatch.setattr(running.recorder, "rejections", {})
        with caplog.at_level(logging.ERROR, "stream_lstm"):
            for n in range(3):
                running.link.feed(reading("a", 20.0 + n, n), reading("a", float("nan"), n))
                await running.link.until_delivered(n + 1)
        assert [prediction["seq"] for prediction in running.predictions()] == [1, 2, 3]
        assert running.counters.rejected_total.total() == 3
    assert [record.message for record in caplog.records] == [
        "recording for the page failed; the pipeline goes on"
    ]  # once in a while
