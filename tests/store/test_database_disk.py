"""The state file on a faulty disk: every write and every sync failed once; power cuts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from stream_lstm.errors import DiskFailed, DiskFull, StateError
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from tests.faulty_disk.disk import FaultyDisk
from tests.faulty_disk.vfs import NoLibrary
from tests.sim.world import FAST
from tests.store.entries import entry, opened, record, same


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with TemporaryDirectory(prefix="disk-", dir=FAST) as folder:
        disk = FaultyDisk(Path(folder))
        try:
            with disk.installed():
                yield disk
        except NoLibrary as reason:
            pytest.skip(str(reason))


def state(disk: FaultyDisk) -> Path:
    return disk.place / "s.db"


def syncs(disk: FaultyDisk) -> float:
    return disk.control["log_syncs"] + disk.control["file_syncs"]


CALLS: dict[str, Callable[[Database], object]] = {
    "commit": lambda database: database.commit(entry(database.last_entry + 1)),
    "commit of new streams": lambda database: database.commit(
        entry(database.last_entry + 1, new_streams=[(database.next_stream_id, f"s{database.last_entry}")])
    ),
    "checkpoint": lambda database: database.checkpoint(
        [StoredRecord(1, database.last_entry, 5.0, record(database.last_entry))]
    ),
    "trim": lambda database: database.trim(database.last_entry - 1),
    "note_filters": lambda database: database.note_filters([f"a/{database.last_entry}"]),
    "delete": lambda database: database.delete([database.next_stream_id - 1]),
    "close_cleanly": lambda database: database.close_cleanly(),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fsync", [True, False])
def test_a_call_returns_when_it_is_synced_unless_that_is_switched_off(
    disk: FaultyDisk, name: str, fsync: bool
) -> None:
    with closing(opened(state(disk), fsync=fsync, window_messages=0)) as database:
        for _ in range(3):
            CALLS["commit of new streams"](database)
        before, written = syncs(disk), disk.control["log_writes"]
        CALLS[name](database)
        assert disk.control["log_writes"] > written
        assert (syncs(disk) > before) == fsync


LAST = 14


class Work:
    """Commits, checkpoints and trims of a life or two, over a disk that may fail.

    Attributes:
        returned: the last entry whose commit returned.
        lives: how often the file was opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.returned = self.lives = 0

    def live(self) -> Database | None:
        """Work until the last entry, and leave the file open; None if the disk failed before."""
        self.lives += 1
        try:
            database = opened(self._path, window_messages=0)
        except StateError:
            return None
        try:
            assert self.returned <= database.last_entry <= self.returned + 1
            for number in range(database.last_entry + 1, LAST + 1):
                self._step(database, number)
        except (DiskFailed, DiskFull):
            database.close()
            return None
        return database

    def _step(self, database: Database, number: int) -> None:
        new = [(1, "a")] if number == 1 else []
        database.commit(entry(number, new_streams=new))
        self.returned = number
        if number % 3 == 0:
            database.checkpoint([StoredRecord(1, number, 5.0, record(number))])
            database.trim(number - 2)
            database.checkpoint_wal()


FAULTS = [
    ("sync_errors", sqlite3.SQLITE_IOERR_FSYNC),
    ("write_errors", sqlite3.SQLITE_IOERR_WRITE),
    ("write_errors", sqlite3.SQLITE_FULL),
]


@pytest.mark.parametrize("failing", [1, 3])
@pytest.mark.parametrize(("faults", "code"), FAULTS)
def test_calls_that_fail_and_a_later_power_cut_lose_nothing_that_returned(
    disk: FaultyDisk, faults: str, code: int, failing: int
) -> None:
    """Of pages whose sync failed, memory holds what the disk does not: no later commit may depend on them."""
    disk.control["write_code"] = code
    for calls_before in count():
        disk.control[faults], disk.control[f"{faults}_after"] = failing, calls_before
        work = Work(disk.place / "s.db")
        while not (database := work.live()):
            assert work.lives <= 1 + failing
        ended = disk.control[faults] > 0  # there are no more calls
        disk.control[faults] = 0
        with closing(database), disk.after_power_cut() as place, closing(opened(place / "s.db")) as after:
            assert after.last_entry == database.last_entry >= work.returned
            assert all(same(found, entry(found.number)) for found in after.entries(1))
            (rows,) = after.rows()
            assert rows.records == record(int(rows.entries[0]))
        disk.clear()
        if ended:
            assert calls_before > 30
            return


def test_without_fsync_a_power_cut_loses_commits(disk: FaultyDisk) -> None:
    """So the disk of these tests loses what is not synced."""
    with closing(opened(disk.place / "s.db", fsync=False)) as database:
        for number in range(1, 6):
            database.commit(entry(number))
        with disk.after_power_cut() as place, closing(opened(place / "s.db")) as after:
            assert after.last_entry == 0
