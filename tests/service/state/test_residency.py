"""Residency: admission, eviction to disk, return with the same bits, expiry."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.errors import DiskFull
from stream_lstm.service.state import recovery, residency
from tests.service.harness import PipelineHarness, reading, running_pipeline
from tests.service.scripted import SentMessage


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any rows beside `streams_max`, so that room has to be made."""
    monkeypatch.setattr(recovery, "spare_rows", lambda batch_events_max: 3)


def messages(devices: int, count: int, seed: int = 1) -> list[SentMessage]:
    """Events of many devices, in an order in which each is silent for a while now and then."""
    draw = random.Random(seed)
    return [
        reading(
            f"d{min(int(draw.expovariate(0.4)), devices - 1)}", draw.gauss(20, 3), n, packet_id=n % 65_535 + 1
        )
        for n in range(count)
    ]


async def play(running: PipelineHarness, said_: list[SentMessage], batch: int) -> None:
    done = len(running.link.delivered)
    for start in range(0, len(said_), batch):
        running.link.feed(*said_[start : start + batch])
        done += 1
        await running.link.until_delivered(done)


def told(running: PipelineHarness) -> dict[tuple[str, int], dict[str, Any]]:
    return {(p["stream"], p["seq"]): p for p in running.predictions()}


async def test_evicted_streams_are_predicted_with_the_same_bits(tmp_path: Path, few_rows: None) -> None:
    events = messages(12, 400)
    async with running_pipeline(tmp_path / "large.db") as running:
        await play(running, events, 3)
        expected = told(running)
    async with running_pipeline(tmp_path / "small.db", limits={"streams_max": 4}) as running:
        await play(running, events, 3)
        assert told(running) == expected
        assert running.counters.rejected_total.total() == 0
        assert running.counters.evicted_total > 50
        assert running.counters.fetched_total > 40
        assert len(running.recovered.memories) <= 4 + 3
        known = len({stream for stream, _ in expected})
        assert len(running.recovered.memories) + running.streams.on_disk == known


async def test_residency_survives_a_restart(tmp_path: Path, few_rows: None) -> None:
    events = messages(12, 400)
    async with running_pipeline(tmp_path / "large.db") as running:
        await play(running, events, 5)
        expected = told(running)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for part in range(8):  # none of them cleanly
        async with running_pipeline(tmp_path / "small.db", limits={"streams_max": 4}) as running:
            assert running.streams.on_disk == running.database.streams - len(running.recovered.memories)
            for number, publications in running.recovered.resend:
                await running.link.deliver(number, publications, [])
            await play(running, events[part * 50 : part * 50 + 50], 5)
            for key, prediction in told(running).items():
                assert found.setdefault(key, prediction) == prediction
    assert found == expected


async def test_a_concurrent_checkpoint_changes_nothing(tmp_path: Path, few_rows: None) -> None:
    events = messages(12, 300)
    async with running_pipeline(tmp_path / "large.db") as running:
        await play(running, events, 3)
        expected = told(running)
    async with running_pipeline(tmp_path / "small.db", limits={"streams_max": 4}) as running:

        async def checkpoints() -> None:
            while True:
                await running.state_writer.checkpoint(running.link.confirm)
                await asyncio.sleep(0)

        beside = asyncio.create_task(checkpoints())
        await play(running, events, 3)
        beside.cancel()
        assert told(running) == expected
    async with running_pipeline(tmp_path / "small.db", limits={"streams_max": 100}) as running:
        memories, keys = running.recovered.memories, sorted({stream for stream, _ in expected})
        counts = memories.column("seq", np.array(memories.rows(keys), np.intp))
        assert counts.tolist() == [max(n for s, n in expected if s == key) for key in keys]


async def test_more_streams_at_once_than_rows_are_rejected_and_counted(
    tmp_path: Path, few_rows: None
) -> None:
    async with running_pipeline(tmp_path / "s.db", limits={"streams_max": 2}) as running:
        running.link.feed(*(reading(f"d{n}", 1.0, n) for n in range(8)), reading("d0", 2.0, 9))
        await running.link.until_delivered(1)
        assert sorted(told(running)) == sorted([*((f"d{n}:v", 1) for n in range(5)), ("d0:v", 2)])
        assert running.counters.rejected_total["streams_max"] == 3
        assert len(running.link.acknowledged) == 9
        running.link.feed(reading("d7", 1.0, 10))
        await running.link.until_delivered(2)
        assert ("d7:v", 1) in told(running)


async def test_a_flood_of_new_names_rejects_only_new_names(tmp_path: Path) -> None:
    limits = {"new_streams_per_second": 1.0, "streams_max": 50}
    async with running_pipeline(tmp_path / "s.db", limits=limits) as running:
        await play(running, [reading("known", 20.0, 0)], 1)
        flood = [reading(f"f{n}", 1.0, n) for n in range(500)]
        await play(running, [*flood, reading("known", 21.0, 1)], 100)
        assert running.counters.rejected_total["new_streams"] == 500 - 59
        assert ("known:v", 2) in told(running)
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert {r["reason"] for r in rejected} == {"new_streams"}
        running.now += 3.5
        await play(running, [reading(f"later{n}", 1.0, n) for n in range(9)], 9)
        assert running.counters.rejected_total["new_streams"] == 500 - 59 + 6


async def test_expired_streams_are_forgotten_and_start_again(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db", limits={"streams_max": 2}) as running:
        running.wall = 1_000.0
        await play(running, [reading(d, 1.0, n) for n, d in enumerate("abc")], 1)
        running.wall = 2_000.0
        await play(running, [reading("c", 2.0, 5), reading("d", 1.0, 6)], 1)
        assert running.streams.on_disk == 2
        await running.state_writer.checkpoint(running.link.confirm)
        assert await running.streams.expire(1_500.0) == 2
        assert (running.streams.on_disk, running.database.streams) == (0, 2)
        assert running.counters.forgotten_total == 2
        await play(running, [reading("a", 9.0, 7), reading("c", 3.0, 8)], 1)
        assert [(p["stream"], p["seq"]) for p in running.predictions()[-2:]] == [("a:v", 1), ("c:v", 3)]
    async with running_pipeline(tmp_path / "s.db", limits={"streams_max": 100}) as running:
        await play(running, [reading("a", 9.5, 9), reading("b", 1.0, 10), reading("c", 4.0, 11)], 1)
        assert [p["seq"] for p in running.predictions()[-3:]] == [2, 1, 4]


async def test_a_stream_with_an_event_since_the_checkpoint_does_not_expire(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.wall = 1_000.0
        await play(running, [reading("a", 1.0, 0), reading("b", 1.0, 0)], 2)
        await running.state_writer.checkpoint(running.link.confirm)
        running.wall = 2_000.0
        await play(running, [reading("a", 2.0, 1)], 1)
        assert await running.streams.expire(1_500.0) == 1
        await play(running, [reading("a", 3.0, 2)], 1)
        assert running.predictions()[-1]["seq"] == 3


async def test_streams_that_a_full_disk_does_not_forget_are_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        await play(running, [reading("a", 1.0, 0)], 1)
        await running.state_writer.checkpoint(running.link.confirm)
        full = DiskFull("forget", "s.db", "no space", "make space")
        with monkeypatch.context() as patched:
            patched.setattr(running.database, "delete", lambda streams: (_ for _ in ()).throw(full))
            with pytest.raises(DiskFull):
                await running.streams.expire(1e18)
        assert running.streams.on_disk == 1
        await play(running, [reading("a", 2.0, 1)], 1)
        assert running.predictions()[-1]["seq"] == 2
        assert running.counters.forgotten_total == 0


async def test_eviction_waits_for_a_full_disk(
    tmp_path: Path, few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_lstm.service.state.writer.FULL_RETRY_SECONDS", 0.01)
    async with running_pipeline(tmp_path / "s.db", limits={"streams_max": 1}) as running:
        await play(running, [reading("a", 1.0, 0)], 1)
        real, refused = running.database.checkpoint, [3]

        def full(records: Any) -> None:
            if refused[0]:
                refused[0] -= 1
                raise DiskFull("checkpoint", "s.db", "no space", "make space")
            real(records)

        monkeypatch.setattr(running.database, "checkpoint", full)
        await play(running, [reading("b", 1.0, 1), reading("a", 2.0, 2)], 1)
        assert refused == [0]
        assert running.state_writer.disk_error is None
        assert sorted(told(running)) == [("a:v", 1), ("a:v", 2), ("b:v", 1)]


def test_there_are_spare_rows_for_a_batch() -> None:
    assert residency.EVICTED_SHARE < 1
    assert recovery.spare_rows(1_024) >= 4_096
    assert recovery.spare_rows(65_536) == 4 * 65_536
