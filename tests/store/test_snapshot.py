"""Snapshots: of one moment, verified, complete or absent; restored only where no owner or state is lost."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from stream_lstm.errors import DiskFailed, SettingsError, StateCorrupt, StateLocked
from stream_lstm.store import snapshot
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from tests.store.entries import entry, filled, opened, record, same


def test_a_snapshot_of_an_owned_state_is_of_one_moment(tmp_path: Path) -> None:
    owner = filled(tmp_path / "s.db")
    content = snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    assert str(content) == "3 streams of model m:1, up to entry 5; 5 entries of the journal"
    owner.commit(entry(6))
    owner.close()
    copy = opened(tmp_path / "copy.db")
    assert [same(e, entry(e.number)) for e in list(copy.entries(1))] == [True] * 4
    assert copy.last_entry == 5
    assert next(copy.rows()).records == record(10) + record(20) + bytes(16)
    copy.commit(entry(6))  # a snapshot is a state file like any other
    copy.close()
    assert oct((tmp_path / "copy.db").stat().st_mode & 0o777) == "0o600"
    assert sorted(path.name for path in tmp_path.iterdir() if "part" in path.name) == []


def test_snapshots_taken_while_the_owner_commits_are_undamaged(tmp_path: Path) -> None:
    owner = filled(tmp_path / "s.db")
    done = threading.Event()
    problems: list[BaseException] = []

    def take() -> None:
        try:
            for n in range(12):
                snapshot.take(tmp_path / "s.db", tmp_path / f"copy{n}.db")
        except BaseException as error:
            problems.append(error)
        done.set()

    thread = threading.Thread(target=take)
    thread.start()
    number = 6
    while not done.is_set():
        owner.commit(entry(number))
        owner.checkpoint([StoredRecord(n, number, 1.0, record(number)) for n in (1, 2, 3)])
        number += 1
    thread.join()
    owner.close()
    assert problems == []
    for n in range(12):
        copy = Database.open_read_only(tmp_path / f"copy{n}.db")
        (rows,) = copy.rows()
        assert set(rows.entries.tolist()) <= {copy.last_entry, copy.last_entry - 1, 0, 2, 3}
        copy.close()


def test_a_snapshot_is_restored_where_there_is_no_state_file(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    with pytest.raises(SettingsError, match=r"there is no folder .*/new; create it"):
        snapshot.restore(tmp_path / "copy.db", tmp_path / "new" / "s.db", replace=False)
    (tmp_path / "new").mkdir()
    content = snapshot.restore(tmp_path / "copy.db", tmp_path / "new" / "s.db", replace=False)
    assert content == (3, "m:1", 5, 5)
    database = opened(tmp_path / "new" / "s.db")
    assert database.last_entry == 5
    database.close()
    assert (tmp_path / "copy.db").exists()


def test_a_state_file_is_replaced_only_on_request_and_renamed(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    later = opened(tmp_path / "s.db")
    later.commit(entry(6))
    with pytest.raises(StateLocked):
        snapshot.restore(tmp_path / "copy.db", tmp_path / "s.db", replace=True)
    later.close()
    with pytest.raises(SettingsError, match="exists already; --replace"):
        snapshot.restore(tmp_path / "copy.db", tmp_path / "s.db", replace=False)
    snapshot.restore(tmp_path / "copy.db", tmp_path / "s.db", replace=True)
    database = opened(tmp_path / "s.db")
    assert database.last_entry == 5
    database.close()
    (aside,) = tmp_path.glob("s.db.2*Z")
    database = opened(aside)
    assert database.last_entry == 6
    database.close()


@pytest.mark.damaged
def test_a_log_whose_state_file_was_deleted_is_not_applied_to_the_restored_copy(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    database.commit(entry(6))
    (tmp_path / "s.db").unlink()
    database.close()
    assert (tmp_path / "s.db-wal").exists()
    snapshot.restore(tmp_path / "copy.db", tmp_path / "s.db", replace=False)
    with closing(opened(tmp_path / "s.db")) as restored:
        assert restored.last_entry == 5
    assert len(list(tmp_path.glob("s.db.2*Z-wal"))) == 1


def test_a_damaged_state_file_is_neither_copied_nor_restored(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    connection = sqlite3.connect(tmp_path / "s.db")
    connection.execute("UPDATE journal SET blob = zeroblob(99) WHERE number = 2")
    connection.commit()
    connection.close()
    with pytest.raises(StateCorrupt, match="journal entry 2"):
        snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    with pytest.raises(StateCorrupt):
        snapshot.restore(tmp_path / "s.db", tmp_path / "new.db", replace=False)
    assert not (tmp_path / "new.db").exists()


def test_a_snapshot_of_a_missing_state_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such state file"):
        snapshot.take(tmp_path / "none.db", tmp_path / "copy.db")


def test_a_snapshot_onto_the_state_file_itself_is_rejected(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    with pytest.raises(SettingsError, match="the state file itself"):
        snapshot.take(tmp_path / "s.db", tmp_path / "s.db")


@pytest.mark.parametrize("content", [b"timestamp,value\n1,2\n", b"SQLite format 3\0" + bytes(100)])
def test_a_snapshot_does_not_overwrite_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path / "s.db").close()
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(SettingsError, match="is not a snapshot"):
        snapshot.take(tmp_path / "s.db", tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == content


def test_a_snapshot_replaces_an_older_one_and_an_empty_file(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    (tmp_path / "copy.db").touch()
    first = snapshot.take(tmp_path / "s.db", tmp_path / "copy.db")
    assert snapshot.take(tmp_path / "s.db", tmp_path / "copy.db") == first


def test_a_snapshot_in_a_missing_folder_fails(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    with pytest.raises(DiskFailed, match="snapshot"):
        snapshot.take(tmp_path / "s.db", tmp_path / "no" / "copy.db")
