"""The pipeline without a broker: one prediction an event, committed before it is published."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.errors import DiskFailed
from stream_lstm.store.entry import Entry
from tests.service.harness import PipelineHarness, reading, running_pipeline
from tests.service.scripted import SentMessage


async def test_each_event_gives_one_prediction_and_is_acknowledged_with_it(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        messages = [reading("a", 1.0, 0), reading("b", 5.0, 0), reading("a", 2.0, 1)]
        running.link.feed(*messages)
        await running.link.until_delivered(1)
        assert [(p["stream"], p["seq"], p["value"]) for p in running.predictions()] == [
            ("a:v", 1, 1.0),
            ("b:v", 1, 5.0),
            ("a:v", 2, 2.0),
        ]
        assert running.link.acknowledged == messages
        assert running.counters.predictions_total == 3


async def test_a_failed_disk_ends_the_pipeline_and_nothing_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = PipelineHarness(tmp_path / "s.db")

    def failed(entry: Entry, encoded: bytes) -> None:
        raise DiskFailed("commit", "s.db", "fsync", "look at it")

    monkeypatch.setattr(running.database, "commit", failed)
    running.link.feed(reading("a", 1.0, 0))
    running.link.feed(reading("a", 2.0, 1))
    with pytest.raises(DiskFailed):
        await asyncio.wait_for(running.pipeline.run(), 10)
    assert running.link.delivered == []
    assert isinstance(running.state_writer.disk_error, DiskFailed)
    await running.state_writer.close(cleanly=False)


async def test_an_alert_is_published_on_the_alert_topic_as_well(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db", publish={"alert_topic": "alerts/{stream}"}) as running:
        rng = np.random.default_rng(3)
        for n in range(400):
            running.link.feed(reading("a", float(rng.normal()), n * 60))
        running.link.feed(reading("a", 500.0, 400 * 60), SentMessage("alerts/a:v", b"5"))
        await running.link.until_delivered(401)
        alerts = [(t, b) for t, b in running.link.publications if t.startswith("alerts/")]
        assert alerts[-1][0] == "alerts/a:v"
        assert json.loads(alerts[-1][1])["value"] == 500.0
        assert ("predictions/a:v", alerts[-1][1]) in running.link.publications
        assert running.counters.alerts_total == len(alerts)
        assert running.counters.own_messages_total == 1


async def test_a_stale_stream_and_its_return_are_reported(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        for n in range(30):
            running.wall += 60.0
            running.link.feed(reading("a", 1.0, n))
            await running.link.until_delivered(n + 1)
        running.staleness.check(running.wall + 600.0)
        running.wall += 900.0
        running.link.feed(reading("a", 1.0, 99))
        await running.link.until_delivered(31)
        assert [(c.stream, c.stale, c.silent_seconds) for c in running.changes] == [
            ("a:v", True, 600.0),
            ("a:v", False, 900.0),
        ]


async def test_messages_gather_until_the_commit_interval_is_over(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db", state={"commit_interval_seconds": 10.0}) as running:
        running.link.feed(reading("a", 1.0, 0))
        await running.link.until_delivered(1)  # nothing came before it: it does not wait
        running.link.feed(reading("a", 2.0, 1))
        await asyncio.sleep(0.02)
        assert running.state_writer.number == 1
        timer = running.pipeline._interval_timer
        assert timer is not None
        assert timer.when() > asyncio.get_running_loop().time()
        running.pipeline._end_interval()  # as the timer does
        await running.link.until_delivered(2)


async def test_a_full_batch_and_a_stop_do_not_wait_for_the_commit_interval(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db", state={"commit_interval_seconds": 10.0}) as running:
        running.link.feed(reading("a", 1.0, 0))
        await running.link.until_delivered(1)
        running.link.feed(*(reading("a", 2.0, n) for n in range(100)))  # the harness's largest batch
        await asyncio.wait_for(running.link.until_delivered(2), 8)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 8
