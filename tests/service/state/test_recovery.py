"""Crash recovery: memory is the fold over the journal, unconfirmed predictions are made again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.errors import StateCorrupt
from stream_lstm.service.assembly import identity
from stream_lstm.service.state.recovery import committed_messages, recover
from stream_lstm.service.state.residency import NO_NUMBERS
from stream_lstm.store import meta
from stream_lstm.store.database import Database
from tests.service.harness import MODEL, PipelineHarness, reading, running_pipeline
from tests.service.scripted import SentMessage
from tests.store.entries import alter, entry, filled, opened


@pytest.mark.parametrize("checkpointed", [0, 1, 2])
async def test_memory_after_a_crash_is_that_of_an_undisturbed_run(tmp_path: Path, checkpointed: int) -> None:
    batches = [
        [reading("a", 1.0, 0), reading("b", 7.0, 0)],
        [reading("a", 3.0, 1)],
        [reading("a", 2.0, 2), reading("b", 8.0, 1)],
    ]
    async with running_pipeline(tmp_path / "plain.db") as plain:
        for batch in batches:
            plain.link.feed(*batch)
        await plain.link.until_delivered(3)
        expected, said_by_plain = plain.records(), plain.predictions()
    async with running_pipeline(tmp_path / "crashed.db") as first:
        for number, batch in enumerate(batches):
            first.link.feed(*batch)
            await first.link.until_delivered(number + 1)
            if number + 1 == checkpointed:
                assert await first.state_writer.checkpoint(first.link.confirm) == 2
    reopened = PipelineHarness(tmp_path / "crashed.db")
    assert reopened.records() == expected
    resent = [json.loads(body) for _, publications in reopened.recovered.resend for _, body in publications]
    assert resent == said_by_plain[-len(resent) :]
    assert len(resent) >= 2  # the last batch's predictions may not have left
    await reopened.state_writer.close(cleanly=False)


async def test_after_a_clean_stop_nothing_is_replayed_or_a_duplicate(tmp_path: Path) -> None:
    plain = SentMessage("s/a", b'{"v": 1}')
    async with running_pipeline(tmp_path / "s.db", cleanly=True) as first:
        first.link.feed(plain)
        await first.link.until_delivered(1)
        await first.state_writer.checkpoint(first.link.confirm)
    async with running_pipeline(tmp_path / "s.db") as second:
        assert second.recovered.resend == []
        assert second.recovered.replayed == 0
        second.link.feed(plain)
        await second.link.until_delivered(1)
        assert [p["seq"] for p in second.predictions()] == [2]


async def test_a_start_costs_by_the_streams_that_live_not_by_the_numbers_ever_given(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as first:
        first.link.feed(reading("a", 1.0, 0))
        await first.link.until_delivered(1)
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
        meta.write(other, ("next_stream", 4_294_967_295))
    async with running_pipeline(tmp_path / "s.db") as second:  # 32 GB for a table of all numbers
        second.link.feed(reading("a", 2.0, 1), reading("b", 1.0, 1), reading("c", 1.0, 1))
        await second.link.until_delivered(1)
        assert [(p["stream"], p["seq"]) for p in second.predictions()] == [("a:v", 2), ("b:v", 1)]
        assert second.counters.rejected_total == {"streams_max": 1}  # the numbers are used up
        told = [json.loads(b)["detail"] for t, b in second.link.publications if t == "stream_lstm/rejected"]
        assert told == [NO_NUMBERS]
    async with running_pipeline(tmp_path / "s.db") as third:
        assert third.recovered.replayed >= 2
        assert third.recovered.resend[-1][1][-1][0] == "stream_lstm/rejected"


async def test_frozen_streams_are_recovered_as_they_were(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        for n in range(60):
            running.link.feed(reading("a", float(n % 7), n))
        running.link.feed(SentMessage("stream_lstm/freeze", b'["#"]'))
        for n in range(60, 90):
            running.link.feed(reading("a", float(n), n))
        await running.link.until_delivered(91)
        before = running.records()
    again = PipelineHarness(tmp_path / "s.db")
    assert again.records() == before
    await again.state_writer.close(cleanly=False)


def test_the_messages_of_the_dedup_window_are_read_oldest_first(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.trim(3)
    with closing(opened(tmp_path / "s.db")) as database:
        found = committed_messages(database)
    assert np.array_equal(found[:, :2], np.concatenate([entry(n).digests for n in range(1, 6)]))
    assert found[:, 2].tolist() == [n for n in range(1, 6) for _ in entry(n).digests]


def test_a_new_state_file_has_no_messages(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s.db")) as database:
        assert committed_messages(database).shape == (0, 3)


@pytest.mark.parametrize("streams_max", [100, 1])
async def test_a_stream_whose_record_is_missing_is_not_taken_for_a_new_one(
    tmp_path: Path, streams_max: int
) -> None:
    async with running_pipeline(tmp_path / "s.db") as first:
        first.link.feed(reading("a", 1.0, 0), reading("b", 7.0, 0))
        await first.link.until_delivered(1)
        await first.state_writer.checkpoint(first.link.confirm)
        first.link.feed(reading("b", 8.0, 1))
        await first.link.until_delivered(2)
    alter(tmp_path / "s.db", "DELETE FROM checkpoint WHERE id = 1")
    if streams_max > 1:
        with (
            closing(Database.open(tmp_path / "s.db", identity(MODEL))) as database,
            pytest.raises(StateCorrupt, match="the record of 'a:v' is missing; restore a snapshot"),
        ):
            recover(database, MODEL, first.builder, streams_max=100, now=0.0)
        return
    async with running_pipeline(tmp_path / "s.db", limits={"streams_max": streams_max}) as second:
        with pytest.raises(StateCorrupt, match="the record of 'a:v' is missing; restore a snapshot"):
            await second.state_writer.fetch(["a:v"])


async def test_an_entry_of_another_width_is_rejected(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        builder = running.builder
    with closing(Database.open(tmp_path / "s.db", identity(MODEL))) as database:
        database.commit(entry(1, features=2))
        with pytest.raises(StateCorrupt, match="journal entry 1 has 2 features"):
            recover(database, MODEL, builder, streams_max=100, now=0.0)
