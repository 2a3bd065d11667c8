"""State writer: commits in order, a full disk is waited for, the journal is trimmed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from stream_lstm.errors import DiskFailed, DiskFull
from stream_lstm.store.entry import Entry
from tests.service.harness import PipelineHarness, reading, running_pipeline
from tests.store.entries import entry


async def test_a_full_disk_holds_the_batch_until_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_lstm.service.state.writer.FULL_RETRY_SECONDS", 0.01)
    async with running_pipeline(tmp_path / "s.db") as running:
        commit, tries = running.database.commit, []

        def full(entry: Entry, encoded: bytes) -> None:
            tries.append(entry.number)
            if len(tries) < 4:
                raise DiskFull("commit", "s.db", "no space", "make space")
            commit(entry, encoded)

        monkeypatch.setattr(running.database, "commit", full)
        running.link.feed(reading("a", 1.0, 0))
        running.link.feed(reading("a", 2.0, 1))
        await running.link.until_delivered(2)
        assert tries == [1, 1, 1, 1, 2]
        assert running.state_writer.disk_error is None
        assert [p["seq"] for p in running.predictions()] == [1, 2]


async def test_after_a_failed_call_of_any_kind_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:

        def failing(*_: object) -> None:
            raise DiskFailed("note", "s.db", "disk I/O error", "check that the disk is sound")

        monkeypatch.setattr(running.database, "note_filters", failing)
        with pytest.raises(DiskFailed):
            await running.state_writer.note_filters(["a/#"])
        assert running.state_writer.obstacle == str(running.state_writer.disk_error)
        with pytest.raises(DiskFailed, match=r"note s\.db"):
            await running.state_writer.commit(entry(1))
        assert running.database.last_entry == 0


async def test_closing_blocks_no_other_task_while_the_log_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = PipelineHarness(tmp_path / "s.db")
    begun, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(running.database, "checkpoint_wal", lambda: (begun.set(), may_end.wait()))
    copying = asyncio.create_task(running.state_writer.checkpoint(running.link.confirm))
    await asyncio.to_thread(begun.wait)
    copying.cancel()
    closing = asyncio.create_task(running.state_writer.close(cleanly=False))
    done, _ = await asyncio.wait({closing}, timeout=0.1)
    assert not done
    may_end.set()
    await closing


async def test_the_journal_is_trimmed_to_what_recovery_needs(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        for t in range(20):
            running.link.feed(reading("a", float(t), t, qos=0, packet_id=None))
            await running.link.until_delivered(t + 1)
        await running.state_writer.checkpoint(running.link.confirm)
        assert [entry.number for entry in running.database.entries(0)] == [20]


async def test_a_large_write_ahead_log_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stream_lstm.service.state.writer.WAL_LARGE_BYTES", 0)
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0))
        await running.link.until_delivered(1)
        for _ in range(2):
            await running.state_writer.checkpoint(running.link.confirm)
        assert running.state_writer.wal_bytes > 0
    (said,) = [record.getMessage() for record in caplog.records if "write-ahead log" in record.getMessage()]
    assert "a program that reads the state file holds it back" in said
