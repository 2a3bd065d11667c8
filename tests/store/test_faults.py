"""Errors of SQLite and the operating system, and the state errors that they become."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from stream_lstm.errors import DiskFailed, DiskFull, StateCorrupt, StateError, StateLocked
from stream_lstm.store.faults import corrupt, translated
from tests.store.failing import FAULTS, sqlite_error


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, DiskFailed),
        (errno.EROFS, DiskFailed),
        (errno.EACCES, DiskFailed),
    ],
)
def test_errors_of_the_operating_system_are_translated(number: int, kind: type[StateError]) -> None:
    with pytest.raises(kind) as caught, translated("open", Path("s.db")):
        raise OSError(number, os.strerror(number))
    assert (caught.value.operation, caught.value.path) == ("open", "s.db")
    assert caught.value.problem == os.strerror(number)
    assert caught.value.__suppress_context__


def test_an_error_of_the_operating_system_without_a_text_keeps_its_own() -> None:
    with pytest.raises(DiskFailed, match=r"open s\.db: gone;"), translated("open", Path("s.db")):
        raise OSError("gone")


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        *FAULTS,
        (sqlite3.SQLITE_NOTADB, "SQLITE_NOTADB", StateCorrupt),
        (sqlite3.SQLITE_CORRUPT_INDEX, "SQLITE_CORRUPT_INDEX", StateCorrupt),
        (sqlite3.SQLITE_LOCKED, "SQLITE_LOCKED", StateLocked),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "SQLITE_BUSY_SNAPSHOT", StateLocked),
    ],
)
def test_errors_of_sqlite_are_translated_by_their_primary_code(
    code: int, name: str, kind: type[StateError]
) -> None:
    with pytest.raises(kind, match=rf"s\.db: simulated \({name}\)") as caught, translated("x", Path("s.db")):
        raise sqlite_error(code, name)
    assert caught.value.hint


def test_an_error_of_sqlite_without_a_code_is_a_failed_disk() -> None:
    with pytest.raises(DiskFailed, match=r"odd \(unknown\)") as caught, translated("commit", Path("s.db")):
        raise sqlite3.ProgrammingError("odd")
    assert caught.value.hint == "check that the disk is sound and the folder writable, then start again"


def test_a_header_that_sqlite_cannot_read_is_damage() -> None:
    with pytest.raises(StateCorrupt), translated("open", Path("s.db")):
        raise sqlite_error(sqlite3.SQLITE_ERROR, "unsupported file format")


def test_text_that_is_not_utf8_is_damage() -> None:
    with pytest.raises(StateCorrupt), translated("read", Path("s.db")):
        raise sqlite3.OperationalError("Could not decode to UTF-8 column 'key'")
    with pytest.raises(StateCorrupt, match="schema cannot be decoded"), translated("read", Path("s.db")):
        b"\xff".decode()


@pytest.mark.parametrize("error", [ValueError("x"), DiskFull("commit", "s.db", "x", "y")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated("commit", Path("s.db")):
        raise error
    assert caught.value is error


def test_the_error_for_damage_says_what_to_do() -> None:
    assert str(corrupt("s.db", "page 3 is torn")) == (
        "read s.db: page 3 is torn; restore a snapshot, or move the file away to start without memory"
    )
