"""The state file: committed as a whole or not at all, one owner, damage found, each statement failed once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.errors import DiskFailed, DiskFull, StateCorrupt, StateError, StateLocked, StateMismatch
from stream_lstm.store import meta
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from stream_lstm.store.files import Identity
from tests.store.entries import IDENTITY, entry, filled, numbers, opened, read_all, record, same
from tests.store.failing import FAULTS, FailingDisk, sqlite_error


def test_a_restart_finds_everything_that_was_committed(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    database = opened(tmp_path / "s.db")
    assert numbers(database) == [1, 2, 3, 4, 5]
    assert same(next(database.entries(3)), entry(4))
    (rows,) = database.rows()
    assert rows.keys == ["a", "b", "c/ü"]
    assert rows.ids.tolist() == [1, 2, 3]
    assert rows.entries.tolist() == [2, 3, 0]
    assert rows.records == record(10) + record(20) + bytes(16)
    assert (database.last_entry, database.published_through, database.acked_through) == (5, 4, 3)
    assert (database.horizon, database.streams, database.next_stream_id) == (1, 3, 4)
    assert database.identity == IDENTITY
    database.close()


def test_a_new_state_file_is_empty(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    assert (database.last_entry, database.published_through, database.acked_through) == (0, 0, 0)
    assert (database.horizon, database.streams, database.next_stream_id) == (1, 0, 1)
    assert not database.closed_cleanly
    assert list(database.rows()) == list(database.entries(0)) == []
    database.close()
    database.close()  # a second time does nothing


def test_topic_filters_survive_a_restart(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    assert database.filters == []
    database.note_filters(["b/#", "a/+"])
    database.close()
    database = opened(tmp_path / "s.db")
    assert database.filters == ["a/+", "b/#"]
    database.close()


def test_after_a_clean_end_everything_counts_as_published_and_acknowledged(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.close_cleanly()
    database.close()
    again = opened(tmp_path / "s.db")
    assert again.closed_cleanly
    assert (again.published_through, again.acked_through) == (5, 5)
    again.commit(entry(6, published_through=5))
    assert not again.closed_cleanly
    again.close()
    third = opened(tmp_path / "s.db")
    assert not third.closed_cleanly
    assert (third.last_entry, third.published_through, third.acked_through) == (6, 5, 4)
    third.close()


def test_a_state_file_has_one_owner(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    with pytest.raises(StateLocked, match="another service owns it"):
        opened(tmp_path / "s.db")
    database.close()
    opened(tmp_path / "s.db").close()


@pytest.mark.parametrize(
    "other",
    [Identity("m:2", IDENTITY.row, 16), Identity("m:1", "x", 16), Identity("m:1", IDENTITY.row, 8)],
)
def test_a_state_of_another_model_is_rejected_and_kept(tmp_path: Path, other: Identity) -> None:
    filled(tmp_path / "s.db").close()
    with pytest.raises(StateMismatch, match="use that model again"):
        Database.open(tmp_path / "s.db", other)
    opened(tmp_path / "s.db").close()


def test_a_reader_sees_what_the_owner_commits(tmp_path: Path) -> None:
    owner = filled(tmp_path / "s #1?%.db")
    reader = Database.open_read_only(tmp_path / "s #1?%.db")
    owner.commit(entry(6))
    assert reader.last_entry == 5
    assert [e.number for e in reader.entries(4)] == [5, 6]
    reader.close()
    owner.commit(entry(7))
    owner.close()


def test_a_reader_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed):
        Database.open_read_only(tmp_path / "absent.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.damaged
@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "s.db"
    filled(path).close()
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        read_all(path)
    except StateError:
        return
    database = opened(path)
    assert [same(e, entry(e.number)) for e in database.entries(1)] == [True] * 4
    assert next(database.rows()).records == record(10) + record(20) + bytes(16)
    database.close()


@pytest.mark.damaged
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_found(tmp_path: Path, part: float) -> None:
    filled(tmp_path / "s.db").close()
    content = (tmp_path / "s.db").read_bytes()
    (tmp_path / "s.db").write_bytes(content[: int(part * len(content))])
    with pytest.raises(StateCorrupt):
        read_all(tmp_path / "s.db")


CALLS: dict[str, Callable[[Database], object]] = {
    "commit": lambda database: database.commit(entry(database.last_entry + 1, new_streams=[(9, "new")])),
    "checkpoint": lambda database: database.checkpoint([StoredRecord(3, 5, 7.0, record(30))]),
    "trim": lambda database: database.trim(3),
    "note_filters": lambda database: database.note_filters(["a/#"]),
    "close_cleanly": lambda database: database.close_cleanly(),
    "forget": lambda database: database.delete([2]),
    "rows": lambda database: list(database.rows()),
    "rows_of": lambda database: database.rows_of(["a"]),
    "rows_by_id": lambda database: database.rows_by_id([1]),
    "last_seen_before": lambda database: database.last_seen_before(9.0, 10),
    "entries": lambda database: list(database.entries(0)),
}
STATEMENTS = {
    "commit": ["BEGIN", "INSERT INTO stream", "INSERT INTO journal", "COMMIT"],
    "checkpoint": ["BEGIN", "INSERT OR REPLACE INTO checkpoint", "COMMIT"],
    "trim": [
        *("SELECT total", "SELECT number, time", "BEGIN", "DELETE", "INSERT OR REPLACE INTO meta", "COMMIT"),
    ],
    "note_filters": ["BEGIN", "INSERT OR REPLACE INTO meta", "COMMIT"],
    "close_cleanly": ["BEGIN", "INSERT OR REPLACE INTO meta", "COMMIT"],
    "forget": [
        *("BEGIN", "INSERT OR REPLACE INTO meta", "DELETE FROM stream", "DELETE FROM checkpoint", "COMMIT"),
    ],
    "rows": ["SELECT s.id", "SELECT count"],
    "rows_of": ["SELECT s.id"],
    "rows_by_id": ["SELECT s.id"],
    "last_seen_before": ["SELECT s.id"],
    "entries": ["SELECT number, time, messages"],
}


@pytest.mark.parametrize(("code", "name", "kind"), FAULTS, ids=[name for _, name, _ in FAULTS])
@pytest.mark.parametrize(("operation", "start"), [(o, s) for o, starts in STATEMENTS.items() for s in starts])
def test_a_failed_statement_changes_nothing_and_the_call_works_afterwards(
    tmp_path: Path, operation: str, start: str, code: int, name: str, kind: type[StateError]
) -> None:
    filled(tmp_path / "s.db").close()
    disk = FailingDisk()
    database = disk.open(tmp_path / "s.db", window_messages=0)  # so that `trim` removes entries
    before = (numbers(database), next(database.rows()).records, database.last_entry, database.horizon)
    disk.fail(start, sqlite_error(code, name))
    with pytest.raises(kind) as caught:
        CALLS[operation](database)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint
    disk.recover()
    database.validate()
    assert before == (numbers(database), next(database.rows()).records, database.last_entry, database.horizon)
    CALLS[operation](database)
    database.close()


def test_the_newest_event_of_all_records_is_known(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "new.db")) as database:
        assert database.newest_seen() is None
    with closing(filled(tmp_path / "s.db")) as database:
        assert database.newest_seen() == 6.0


def test_a_file_is_read_after_vacuum(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    with closing(opened(tmp_path / "s.db")) as database:
        before = numbers(database), next(database.rows()).records
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
        other.execute("VACUUM")
    with closing(opened(tmp_path / "s.db")) as database:
        database.validate()
        assert (numbers(database), next(database.rows()).records) == before


def test_a_commit_without_new_streams_is_one_statement(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    statements: list[str] = []
    with closing(opened(tmp_path / "s.db")) as database:
        database._connection.set_trace_callback(statements.append)
        database.commit(entry(6))
        database._connection.set_trace_callback(None)
    assert [statement.split(" VALUES")[0] for statement in statements] == ["INSERT INTO journal"]


@pytest.mark.parametrize(
    "start",
    ["PRAGMA journal_mode", "PRAGMA integrity_check", "SELECT name, value", "SELECT number, messages"],
)
def test_a_failed_opening_releases_the_lock(tmp_path: Path, start: str) -> None:
    filled(tmp_path / "s.db").close()
    disk = FailingDisk()
    disk.fail(start, sqlite_error(sqlite3.SQLITE_IOERR, "SQLITE_IOERR"))
    with pytest.raises(DiskFailed):
        disk.open(tmp_path / "s.db")
    opened(tmp_path / "s.db").close()


def test_an_entry_that_found_a_full_disk_is_committed_when_there_is_space(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    database.commit(entry(1))
    database.checkpoint_wal()
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = entry(2, events=3_000)
    for _ in range(2):
        with pytest.raises(DiskFull, match="make space"):
            database.commit(large)
    assert numbers(database) == [1]
    database._connection.execute("PRAGMA max_page_count = 1000000")
    database.commit(large)
    assert numbers(database) == [1, 2]
    database.close()


CHILD = """
import sys
from pathlib import Path
from tests.store.entries import entry, opened
database = opened(Path(sys.argv[1]), fsync=sys.argv[2] == "True")
for number in range(database.last_entry + 1, 100_000):
    database.commit(entry(number, events=50))
    print(number, flush=True)
"""


@pytest.mark.parametrize("fsync", [True, False])
def test_a_killed_process_loses_no_entry_whose_commit_returned(tmp_path: Path, fsync: bool) -> None:
    for kill in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "s.db"), str(fsync)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        printed = [child.stdout.readline() for _ in range(5 + kill * 7)]
        time.sleep(0.002 * kill)  # a moment that is not the end of a commit
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        printed += rest.split(b"\n")[:-1]
        database = opened(tmp_path / "s.db")
        assert int(printed[-1]) <= database.last_entry <= int(printed[-1]) + 1
        assert all(same(e, entry(e.number, events=50)) for e in database.entries(0))
        database.close()


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("BEGIN", "a transaction is open"),
        ("UPDATE meta SET value = 'm:2' WHERE name = 'model'", "meta holds another identity"),
        ("UPDATE meta SET value = 2 WHERE name = 'horizon'", "meta holds another horizon"),
        ("INSERT INTO meta VALUES ('filters', '[\"a\"]')", "other filters"),
        ("INSERT INTO meta VALUES ('next_stream', 5)", "next stream 4 is below meta's 5"),
        ("DELETE FROM journal WHERE number = 3", "journal entries"),
        ("DELETE FROM stream WHERE id = 3", "streams are counted"),
    ],
)
def test_validate_notices_rows_that_break_an_invariant(tmp_path: Path, statement: str, problem: str) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._connection.execute(statement)
        if " meta " in statement:
            meta.write(database._connection)
        with pytest.raises(AssertionError, match=problem):
            database.validate()


@pytest.mark.damaged
def test_validate_notices_a_clean_end_that_is_not_in_the_file(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.close_cleanly()
    with closing(opened(tmp_path / "s.db")) as database:
        database.validate()
        meta.write(database._connection, ("clean", 4))
        with pytest.raises(AssertionError, match="closed after 4, not 5"):
            database.validate()
