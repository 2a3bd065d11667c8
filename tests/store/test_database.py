"""The state file: whole or not at all, one owner, nothing silently replaced, every disk call failed once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.errors import DiskFailed, DiskFull, StateCorrupt, StateError, StateLocked, StateMismatch
from stream_lstm.store import recovery
from stream_lstm.store.checkpoint import Record
from stream_lstm.store.database import TRIMMED_AT_ONCE_MAX, Database
from stream_lstm.store.faults import translated
from stream_lstm.store.files import Identity
from tests.store.entries import IDENTITY, entry, filled, opened, record, same


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    database = opened(tmp_path / "s.db")
    assert [e.number for e in database.entries(0)] == [1, 2, 3, 4, 5]
    assert same(next(database.entries(3)), entry(4))
    (rows,) = database.rows()
    assert rows.keys == ["a", "b", "c/ü"]
    assert rows.ids.tolist() == [1, 2, 3]
    assert rows.entries.tolist() == [2, 3, 0]
    assert rows.records == record(10) + record(20) + bytes(16)
    assert (database.last_entry, database.published_through, database.next_stream_id) == (5, 4, 4)
    assert database.identity == IDENTITY
    database.close()


def test_a_checkpointed_record_is_replaced(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.checkpoint([Record(1, 5, 7.0, record(11))])
    found = database.rows_of(["nobody", "a"])
    assert (found.keys, found.entries.tolist(), found.seen.tolist()) == (["a"], [5], [7.0])
    assert found.records == record(11)
    assert database.rows_by_id([9, 1]).records == record(11)
    assert database.rows_of([]).keys == []
    database.close()


def test_a_forgotten_stream_is_gone_and_its_number_is_never_used_again(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.checkpoint([Record(3, 5, 7.0, record(30))])
    assert database.silent(6.5, 10) == [(1, "a"), (2, "b")]
    assert database.silent(6.5, 1) == [(1, "a")]
    database.forget([1, 3])
    assert (database.streams, database.next_stream_id) == (1, 4)
    database.close()
    database = opened(tmp_path / "s.db")
    assert (database.streams, database.next_stream_id) == (1, 4)
    assert [rows.keys for rows in database.rows()] == [["b"]]
    database.commit(entry(6, new_streams=[(4, "a")]))
    assert (database.streams, database.next_stream_id) == (2, 5)
    database.close()


def test_filters_are_noted(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    assert database.filters == []
    database.note_filters(["b/#", "a/+"])
    database.close()
    database = opened(tmp_path / "s.db")
    assert database.filters == ["a/+", "b/#"]
    database.close()


def test_what_the_journal_was_cut_behind_was_delivered(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.trim(5)
    database.close()
    database = opened(tmp_path / "s.db")
    assert (database.published_through, database.last_entry) == (5, 5)
    database.close()


def test_many_streams_are_asked_for_at_once(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    keys = [f"s{n}" for n in range(1, 2_001)]
    database.commit(entry(1, new_streams=list(enumerate(keys, 1))))
    assert sorted(database.rows_of(keys).keys) == sorted(keys)
    database.close()


@pytest.mark.parametrize("number", [0, 1, 3, 7])
def test_entries_out_of_order_are_refused(tmp_path: Path, number: int) -> None:
    database = opened(tmp_path / "s.db")
    database.commit(entry(1))
    with pytest.raises(ValueError, match=f"entry {number} after 1"):
        database.commit(entry(number))
    database.close()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    database = opened(tmp_path / "deep" / "s.db")
    with pytest.raises(StateLocked, match="another service owns it"):
        opened(tmp_path / "deep" / "s.db")
    assert (tmp_path / "deep" / "s.db").stat().st_mode & 0o777 == 0o600
    database.close()
    opened(tmp_path / "deep" / "s.db").close()


def test_a_state_of_another_model_is_refused_and_kept(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    for other in (
        Identity("m:2", IDENTITY.row, 16),
        Identity("m:1", "x", 16),
        Identity("m:1", IDENTITY.row, 8),
    ):
        with pytest.raises(StateMismatch, match="use that model again"):
            Database.open(tmp_path / "s.db", other)
    opened(tmp_path / "s.db").close()


def alter(path: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def test_a_state_of_another_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", "PRAGMA user_version = 99")
    for open_it in (opened, Database.open_read_only):
        with pytest.raises(StateMismatch, match="has format 99"):
            open_it(tmp_path / "s.db")


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    alter(tmp_path / "s.db", "CREATE TABLE t (x)")
    with pytest.raises(StateMismatch, match="something else"):
        opened(tmp_path / "s.db")


@pytest.mark.parametrize("content", [b"not a database at all" * 200, b"x"])
def test_what_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.db").write_bytes(content)
    with pytest.raises(StateCorrupt, match="restore a snapshot"):
        opened(tmp_path / "s.db")
    assert (tmp_path / "s.db").read_bytes() == content


def read_all(path: Path) -> None:
    database = opened(path)
    try:
        recovery.load(database)
        for _ in database.rows():
            pass
        for _ in database.entries(0):
            pass
    finally:
        database.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE checkpoint SET record = zeroblob(16) WHERE id = 1", "record of 'a'"),
        ("UPDATE checkpoint SET record = zeroblob(8) WHERE id = 1", "record of 'a'"),
        ("UPDATE checkpoint SET entry = 3 WHERE id = 1", "record of 'a'"),
        ("UPDATE checkpoint SET seen = 5.5 WHERE id = 1", "record of 'a'"),
        ("UPDATE checkpoint SET id = 9 WHERE id = 1", "1 records belong to no stream"),
        ("UPDATE stream SET key = 'd' WHERE id = 2", "name of stream 2"),
        ("UPDATE stream SET key = CAST(x'ff' AS TEXT) WHERE id = 2", "decode to UTF-8"),
        ("DROP TABLE checkpoint", "tables are not as they were made"),
        ("UPDATE journal SET blob = zeroblob(99) WHERE number = 2", "journal entry 2"),
        ("DELETE FROM journal WHERE number = 3", "journal entry 3 is missing"),
        ("DELETE FROM meta WHERE name = 'model'", "description lacks 'model'"),
    ],
)
def test_damage_inside_is_found(tmp_path: Path, statement: str, words: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement)
    with pytest.raises(StateCorrupt, match=words):
        read_all(tmp_path / "s.db")


def test_tables_that_cannot_even_be_named_are_found(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    content = (tmp_path / "s.db").read_bytes()
    (tmp_path / "s.db").write_bytes(
        content.replace(b"tablecheckpointcheckpoint", b"tabl\xe5\xe3heckpointcheckpoint")
    )
    with pytest.raises(StateCorrupt, match="cannot be read"):
        read_all(tmp_path / "s.db")


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found_or_harmless(
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


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_found(tmp_path: Path, part: float) -> None:
    filled(tmp_path / "s.db").close()
    content = (tmp_path / "s.db").read_bytes()
    (tmp_path / "s.db").write_bytes(content[: int(part * len(content))])
    with pytest.raises(StateCorrupt):
        read_all(tmp_path / "s.db")


def test_it_can_be_read_beside_its_owner(tmp_path: Path) -> None:
    owner = filled(tmp_path / "s #1?%.db")
    reader = Database.open_read_only(tmp_path / "s #1?%.db")
    owner.commit(entry(6))
    assert reader.last_entry == 5
    assert [e.number for e in reader.entries(4)] == [5, 6]
    reader.close()
    owner.commit(entry(7))
    owner.close()
    with pytest.raises(DiskFailed):
        Database.open_read_only(tmp_path / "absent.db")


def test_nothing_comes_again_after_a_clean_end(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.close_cleanly()
    database.close()
    again = opened(tmp_path / "s.db")
    assert again.closed_cleanly
    assert again.published_through == 5
    again.commit(entry(6, published_through=5))
    again.close()
    third = opened(tmp_path / "s.db")
    assert not third.closed_cleanly
    found = recovery.load(third)
    assert (found.last_entry, found.published_through, len(found.window)) == (6, 5, 12)
    third.close()


def numbers(database: Database) -> list[int]:
    return [e.number for e in database.entries(0)]


def test_the_journal_is_cut_up_to_what_every_record_reflects(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0)
    for number in range(1, 11):
        database.commit(entry(number, digests=0))
    assert database.trim(6) == 6
    assert numbers(database) == [7, 8, 9, 10]
    assert database.horizon == 7
    assert database.trim(6) == 0
    assert database.trim(10) == 3
    assert numbers(database) == [10]
    database.close()
    again = opened(tmp_path / "s.db")
    assert again.horizon == 11
    again.close()


def test_what_the_replay_window_needs_stays(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=5)
    for number in range(1, 11):
        database.commit(entry(number, digests=2 * (number % 2)))
    database.trim(10)
    assert numbers(database) == [5, 6, 7, 8, 9, 10]
    database.close()
    again = opened(tmp_path / "s.db", window_messages=5)
    again.commit(entry(11, digests=2))
    again.trim(10)
    assert numbers(again) == [7, 8, 9, 10, 11]
    again.close()
    narrower = opened(tmp_path / "s.db", window_messages=2)
    narrower.trim(10)
    assert numbers(narrower) == [11]
    narrower.close()


def test_history_stays_for_its_time_and_size(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0)
    for number in range(1, 11):
        database.commit(entry(number, digests=0, times=np.full(3, 100.0 * number)))
    assert database.trim(10, before=400.0, bytes_max=10**9) == 3
    assert numbers(database)[0] == 4
    assert database.trim(10, before=400.0, bytes_max=300) > 0
    assert numbers(database)[-1] == 10
    database.close()


def test_a_long_journal_is_cut_a_piece_at_a_time(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0, fsync=False)
    for number in range(1, TRIMMED_AT_ONCE_MAX + 12):
        database.commit(entry(number, events=0, digests=0))
    cuts = []
    while cut := database.trim(database.last_entry):
        cuts.append(cut)
    assert cuts == [TRIMMED_AT_ONCE_MAX, 10]
    database.close()


def test_the_log_starts_anew_when_it_is_flushed(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    for number in range(1, 60):
        database.commit(entry(number, events=500))
    grown = database.wal_bytes
    database.checkpoint_wal()
    database.commit(entry(60))
    assert database.wal_bytes == grown
    assert database.size_bytes > grown
    for number in range(61, 70):
        database.commit(entry(number))
    assert database.wal_bytes == grown  # written from its beginning again
    database.close()
    assert database.wal_bytes == 0


class Failing(sqlite3.Connection):
    """Fails one statement, as the disk would."""

    fail: Callable[[str], Exception | None] = staticmethod(lambda statement: None)

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if error := Failing.fail(statement):
            raise error
        return super().execute(statement, *parameters)

    def executemany(self, statement: str, parameters: Any) -> sqlite3.Cursor:
        if error := Failing.fail(statement):
            raise error
        return super().executemany(statement, parameters)


def failing(path: Path) -> Database:
    Failing.fail = staticmethod(lambda statement: None)
    return opened(path, connect=lambda *a, **k: sqlite3.connect(*a, factory=Failing, **k))


def sqlite_error(code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the disk said so")
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


FAULTS = [
    (sqlite3.SQLITE_FULL, "SQLITE_FULL", DiskFull),
    (sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC", DiskFailed),
    (sqlite3.SQLITE_READONLY, "SQLITE_READONLY", DiskFailed),
    (sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", StateCorrupt),
    (sqlite3.SQLITE_BUSY, "SQLITE_BUSY", StateLocked),
]
STATEMENTS = {
    "commit": ["BEGIN", "INSERT INTO stream", "INSERT INTO journal", "COMMIT"],
    "checkpoint": ["BEGIN", "INSERT OR REPLACE INTO checkpoint", "COMMIT"],
    "trim": [
        "SELECT total",
        "SELECT number, time",
        "BEGIN",
        "DELETE",
        "INSERT OR REPLACE INTO meta",
        "COMMIT",
    ],
    "close_cleanly": ["BEGIN", "INSERT OR REPLACE INTO meta", "COMMIT"],
    "rows": ["SELECT s.id"],
    "silent": ["SELECT s.id"],
    "forget": [
        "BEGIN",
        "INSERT OR REPLACE INTO meta",
        "DELETE FROM stream",
        "DELETE FROM checkpoint",
        "COMMIT",
    ],
    "entries": ["SELECT number, blob"],
}


def call(database: Database, operation: str) -> None:
    if operation == "commit":
        database.commit(entry(database.last_entry + 1, new_streams=[(9, "new")]))
    elif operation == "silent":
        database.silent(9.0, 10)
    elif operation == "forget":
        database.forget([2])
    elif operation == "checkpoint":
        database.checkpoint([Record(3, 5, 7.0, record(30))])
    elif operation == "trim":
        database.trim(3)
    elif operation == "close_cleanly":
        database.close_cleanly()
    else:
        list(getattr(database, operation)(*([0] if operation == "entries" else [])))


@pytest.mark.parametrize(("code", "name", "kind"), FAULTS, ids=[name for _, name, _ in FAULTS])
@pytest.mark.parametrize(("operation", "start"), [(o, s) for o, starts in STATEMENTS.items() for s in starts])
def test_every_statement_may_fail_and_nothing_is_half_done(
    tmp_path: Path, operation: str, start: str, code: int, name: str, kind: type[StateError]
) -> None:
    filled(tmp_path / "s.db").close()
    database = failing(tmp_path / "s.db")
    database._window.clear()  # so that there is something to cut
    before = (numbers(database), next(database.rows()).records, database.last_entry)
    Failing.fail = staticmethod(lambda s: sqlite_error(code, name) if s.startswith(start) else None)
    with pytest.raises(kind) as caught:
        call(database, operation)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint
    Failing.fail = staticmethod(lambda statement: None)
    assert (numbers(database), next(database.rows()).records, database.last_entry) == before
    call(database, operation)  # with the disk well again, the same call works
    database.close()


@pytest.mark.parametrize(
    "start", ["PRAGMA journal_mode", "PRAGMA quick_check", "SELECT name, value", "SELECT number, messages"]
)
def test_opening_may_fail_and_leaves_no_lock(tmp_path: Path, start: str) -> None:
    filled(tmp_path / "s.db").close()
    Failing.fail = staticmethod(
        lambda s: sqlite_error(sqlite3.SQLITE_IOERR, "SQLITE_IOERR") if s.strip().startswith(start) else None
    )
    with pytest.raises(DiskFailed):
        opened(tmp_path / "s.db", connect=lambda *a, **k: sqlite3.connect(*a, factory=Failing, **k))
    opened(tmp_path / "s.db").close()


def test_quick_check_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "s.db").close()

    class Doubtful(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            if statement.startswith("PRAGMA quick_check"):
                statement = "SELECT 'row 3 is missing'"
            return super().execute(statement, *parameters)

    with pytest.raises(StateCorrupt, match="row 3 is missing"):
        opened(tmp_path / "s.db", connect=lambda *a, **k: sqlite3.connect(*a, factory=Doubtful, **k))


@pytest.mark.parametrize(
    ("number", "kind"), [(28, DiskFull), (122, DiskFull), (5, DiskFailed), (30, DiskFailed), (13, DiskFailed)]
)
def test_the_systems_errors_are_told_apart(tmp_path: Path, number: int, kind: type[StateError]) -> None:
    with pytest.raises(kind), translated("open", tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_really_full_disk_holds_the_entry_and_takes_it_later(tmp_path: Path) -> None:
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
def test_a_killed_process_loses_nothing_that_it_was_told_is_committed(tmp_path: Path, fsync: bool) -> None:
    told = 0
    for killed in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "s.db"), str(fsync)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        for _ in range(5 + killed * 7):
            told = int(child.stdout.readline())
        time.sleep(0.002 * killed)  # a moment that is not the end of a commit
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        told = max([told, *map(int, rest.split(b"\n")[:-1])])
        database = opened(tmp_path / "s.db")
        assert told <= database.last_entry <= told + 1
        assert all(same(e, entry(e.number, events=50)) for e in database.entries(0))
        database.close()


def test_recovery_tells_where_replay_begins(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.trim(3)
    found = recovery.load(database)
    assert (found.last_entry, found.published_through, found.horizon, found.next_stream_id) == (5, 4, 4, 4)
    assert np.array_equal(found.window[:, :2], np.concatenate([entry(n).digests for n in range(1, 6)]))
    assert found.window[:, 2].tolist() == [n for n in range(1, 6) for _ in entry(n).digests]
    database.close()
    empty = opened(tmp_path / "empty.db")
    nothing = recovery.load(empty)
    assert (nothing.last_entry, nothing.published_through, nothing.horizon, nothing.next_stream_id) == (
        0,
        0,
        1,
        1,
    )
    empty.close()
    empty.close()  # a second time does nothing
