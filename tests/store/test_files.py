"""The state file before it is used: its lock, its format, and files that are no state file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stream_lstm.errors import DiskFailed, SettingsError, StateCorrupt, StateLocked, StateMismatch
from stream_lstm.store.database import Database
from stream_lstm.store.files import APPLICATION_ID, FORMAT_VERSION, TABLES, lock_file, uri_path
from tests.store.entries import alter, filled, opened, read_all


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s.db")):
        for suffix in ("", "-wal", "-shm", ".lock"):
            assert (tmp_path / f"s.db{suffix}").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("folder", ["missing", "missing/deep", "file"])
def test_a_folder_that_does_not_exist_is_a_settings_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingsError, match=rf"^state\.path: there is no folder {tmp_path}/{folder}; create it"
    ):
        opened(tmp_path / folder / "s.db")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_searched_is_a_failed_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("stream_lstm.store.files.os.stat", denied)
        patched.setattr("stream_lstm.store.files.os.open", denied)
        with pytest.raises(DiskFailed, match="Permission denied"):
            opened(tmp_path / "s.db")


def test_a_new_file_says_what_it_is(tmp_path: Path) -> None:
    opened(tmp_path / "s.db").close()
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
        tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        assert [sql for (sql,) in tables] == list(TABLES)


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    lock = lock_file(tmp_path / "s.db")
    with pytest.raises(StateLocked, match="another service owns it"):
        lock_file(tmp_path / "s.db")
    os.close(lock)
    os.close(lock_file(tmp_path / "s.db"))


@pytest.mark.parametrize("open_it", [opened, Database.open_read_only])
def test_a_state_file_of_another_format_is_rejected(tmp_path: Path, open_it: Any) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", "PRAGMA user_version = 99")
    with pytest.raises(StateMismatch, match="has format 99; this release reads 1 to 2"):
        open_it(tmp_path / "s.db")


def test_another_programs_database_is_rejected(tmp_path: Path) -> None:
    alter(tmp_path / "s.db", "CREATE TABLE t (x)")
    with pytest.raises(StateMismatch, match="is not a state file"):
        opened(tmp_path / "s.db")


@pytest.mark.parametrize("content", [b"not a database at all" * 200, b"x"])
def test_a_file_that_is_no_database_is_rejected_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.db").write_bytes(content)
    with pytest.raises(StateCorrupt, match="restore a snapshot"):
        opened(tmp_path / "s.db")
    assert (tmp_path / "s.db").read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE checkpoint",
        "DROP INDEX silent",
        "CREATE TABLE t (x)",
        "ALTER TABLE stream ADD COLUMN x ANY",
    ],
)
def test_changed_tables_are_rejected(tmp_path: Path, statement: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement)
    with pytest.raises(StateCorrupt, match="tables are not those of format 2"):
        opened(tmp_path / "s.db")


def test_a_schema_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    content = (tmp_path / "s.db").read_bytes()
    (tmp_path / "s.db").write_bytes(
        content.replace(b"tablecheckpointcheckpoint", b"tabl\xe5\xe3heckpointcheckpoint")
    )
    with pytest.raises(StateCorrupt, match="schema cannot be decoded"):
        read_all(tmp_path / "s.db")


def test_damage_that_integrity_check_reports_is_in_the_error(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()

    class Damaged(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            if statement.startswith("PRAGMA integrity_check"):
                statement = "SELECT '*** in database main ***' || char(10) || 'row 3 is missing'"
            return super().execute(statement, *parameters)

    with pytest.raises(StateCorrupt, match=r"s\.db: integrity check: row 3 is missing; restore a snapshot"):
        opened(tmp_path / "s.db", connect=lambda *a, **k: sqlite3.connect(*a, factory=Damaged, **k))


def test_a_file_without_a_write_ahead_log_is_not_opened(tmp_path: Path) -> None:
    """SQLite says in no other way that the disk failed in the change of modes."""

    class Failing(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(statement.replace("= WAL", "= DELETE"), *parameters)

    with pytest.raises(DiskFailed, match="write-ahead log cannot be used, but 'delete'; check that the disk"):
        opened(tmp_path / "s.db", connect=lambda *a, **k: sqlite3.connect(*a, factory=Failing, **k))


def test_an_index_that_has_lost_a_name_is_found(tmp_path: Path) -> None:
    """By its index, a stream on disk is found again; `quick_check` does not compare the two."""
    filled(tmp_path / "s.db").close()
    content = bytearray((tmp_path / "s.db").read_bytes())
    name = "c/ü".encode()
    places = [at for at in range(len(content)) if content.startswith(name, at)]
    changed = []
    for at in places:
        content[at] ^= 1
        (tmp_path / "s.db").write_bytes(content)
        with pytest.raises(StateCorrupt) as caught:
            read_all(tmp_path / "s.db")
        changed.append(str(caught.value))
        content[at] ^= 1
    assert any("integrity check: row 3 missing from index" in problem for problem in changed)
    assert len(changed) >= 2  # in the table, and in its index


@pytest.mark.parametrize("name", ["s #1?%.db", "%3f", "a b&c=d"])
def test_any_path_can_stand_in_a_uri(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with closing(sqlite3.connect(f"file:{uri_path(tmp_path / name)}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA database_list").fetchone()[2] == str(tmp_path / name)
