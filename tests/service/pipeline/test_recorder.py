"""What happened lately is kept, bounded whatever happens; nothing that goes wrong in it ends the line."""

from __future__ import annotations

import logging
import math
import random
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD, KINDS
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
from stream_lstm.store.entry import Rejection
from tests.core.models import engine, random_model
from tests.service.lines import line, said

MODEL = random_model()
NOW = 1.7e9


class Written:
    """A chronicle of streams in rows 1, 2, …, and made-up predictions for it."""

    def __init__(self, streams: int, *, kept: int = 100) -> None:
        self.engine = engine(MODEL, streams)
        self.memories = self.engine.memories
        self.recorder = Recorder(MODEL, self.memories, recent_events_max=kept)

    def apply(
        self, rows: list[int], anomaly: list[float], *, now: float = NOW, alert: list[bool] | None = None
    ) -> None:
        count = len(rows)
        values = np.arange(count, dtype=np.float64)[:, None]
        batch = Batch.timed(np.array(rows, np.intp), np.full(count, now), values)
        said = self.engine.apply(batch)
        said = said._replace(
            anomaly=np.array(anomaly, np.float64),
            alert=np.array(alert or [False] * count),
            kind=np.full(count, 2, np.int8),
        )
        self.recorder.record_batch(batch, said, now)

    def odd(self, now: float = NOW) -> dict[int, float]:
        rows, much = self.recorder.recent_anomalies(now)
        return dict(zip(rows.tolist(), much.tolist(), strict=True))


def test_an_alert_is_kept_with_what_was_expected() -> None:
    written = Written(2)
    for _ in range(3):
        written.apply([1, 2], [0.1, 0.2])
    expected = written.memories.column("expected", np.array([2]))[0].tolist()
    written.apply([1, 2], [0.1, 0.9], alert=[False, True])
    (incident,) = written.recorder.alerts
    assert (incident.stream, incident.seq, incident.anomaly, incident.kind) == ("1", 4, 0.9, KINDS[2])
    assert (incident.time, incident.at, incident.value, incident.expected) == (NOW, NOW, [1.0], expected)


def test_a_storm_of_alerts_is_bounded() -> None:
    written = Written(300)
    rows = list(range(1, 301))
    written.apply(rows, [0.9] * 300, alert=[True] * 300)
    assert len(written.recorder.alerts) == len(written.odd()) == ANOMALIES_PER_BATCH_MAX
    for _ in range(10):
        written.apply(rows, [0.9] * 300, alert=[True] * 300)
    assert len(written.recorder.alerts) == ALERTS_MAX
    assert written.recorder.alerts[-1].seq == 11


def test_of_many_odd_streams_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle_module, "ANOMALOUS_STREAMS_MAX", 3)
    written = Written(6)
    for row in (1, 2, 3, 4, 2, 5):
        written.apply([row], [0.8])
    assert list(written.odd()) == [4, 2, 5]


@pytest.mark.parametrize("seed", range(5))
def test_how_odd_a_stream_is_is_its_last_event_or_what_is_left_of_the_oddest(seed: int) -> None:
    written, draw, now = Written(12), random.Random(seed), NOW
    last, oddest = dict.fromkeys(range(1, 13), 0.0), dict.fromkeys(range(1, 13), (0.0, now))

    def left(row: int) -> float:
        much, at = oddest[row]
        return float(much * 0.5 ** ((now - at) / HALF_LIFE_SECONDS))

    for _ in range(60):
        now += draw.expovariate(1 / 60.0)
        rows = draw.sample(range(1, 13), 5)
        anomaly = [draw.choice([math.nan, draw.random() * 0.4, draw.random()]) for _ in rows]
        written.apply(rows, anomaly, now=now)
        for row, much in zip(rows, anomaly, strict=True):
            last[row] = 0.0 if math.isnan(much) else much
            if much >= ALERT_THRESHOLD and left(row) <= much:
                oddest[row] = much, now
    found = written.recorder.anomaly_scores(np.arange(1, 13), written.recorder.recent_anomalies(now))
    wanted = [max(last[row], left(row)) for row in range(1, 13)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    few = written.recorder.anomaly_scores(np.array([7, 3]), written.recorder.recent_anomalies(now))
    np.testing.assert_allclose(few, [wanted[6], wanted[2]], atol=1e-3)


def test_where_nothing_was_odd_only_the_last_event_counts() -> None:
    written = Written(3)
    written.apply([1, 2, 1], [0.2, math.nan, 0.3])
    found = written.recorder.anomaly_scores(np.array([1, 2, 3]), written.recorder.recent_anomalies(NOW))
    np.testing.assert_allclose(found, [0.3, 0.0, 0.0], atol=1e-3)
    assert np.isnan(written.memories.anomaly[[2, 3]]).all()  # unknown is not "not odd at all"


def test_a_stream_that_left_is_not_odd_nor_is_who_got_its_row() -> None:
    written = Written(3)
    written.apply([1, 2], [0.9, 0.8])
    written.memories.evict("0")
    assert written.memories.admit("new", 99) == 1
    assert list(written.odd()) == [2]
    assert np.isnan(written.memories.anomaly[1])


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_what_was_odd_does_not_stay_so_when_the_clock_is_set(hours: float) -> None:
    written = Written(1)
    written.apply([1], [0.9])
    assert written.odd()[1] == pytest.approx(0.9)
    assert written.odd(NOW + 3_600.0 * hours)[1] < 0.001
    assert RecentAnomaly(1, 0.9, NOW).now(NOW + 3_600.0 * hours) < 0.001


def test_of_refused_messages_the_last_are_kept_shortened() -> None:
    recorder = Written(1).recorder
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


def test_nothing_is_kept_where_nobody_may_look() -> None:
    written = Written(1, kept=0)
    written.apply([1], [0.9], alert=[True])
    written.recorder.record_rejection(Rejection("t", b"x", "late", "d", NOW))
    assert not written.recorder.alerts
    assert not written.odd()
    assert not any(written.recorder.rejections.values())


async def test_a_fault_in_it_does_not_end_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(tmp_path / "state.db") as running:

        def stumble(*_: object) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(running.recorder.history, "append", stumble)
        monkeypatch.setattr(running.recorder, "rejections", {})
        with caplog.at_level(logging.ERROR, "stream_lstm"):
            for n in range(3):
                running.link.say(said("a", 20.0 + n, n), said("a", float("nan"), n))
                await running.link.until_delivered(n + 1)
        assert [prediction["seq"] for prediction in running.predictions()] == [1, 2, 3]
        assert running.counters.rejected_total.total() == 3
    assert [record.message for record in caplog.records] == [
        "what happens is not noted for those who look"
    ]  # once in a while
