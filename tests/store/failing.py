"""Connections whose statements fail as SQLite reports a failing disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_lstm.errors import DiskFailed, DiskFull, StateCorrupt, StateLocked
from stream_lstm.store.database import Database
from tests.store.entries import opened

FAULTS = [
    (sqlite3.SQLITE_FULL, "SQLITE_FULL", DiskFull),
    (sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC", DiskFailed),
    (sqlite3.SQLITE_READONLY, "SQLITE_READONLY", DiskFailed),
    (sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", StateCorrupt),
    (sqlite3.SQLITE_BUSY, "SQLITE_BUSY", StateLocked),
]


def sqlite_error(code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("simulated")
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


class FailingDisk:
    """Opens state files whose statements fail from `fail` until `recover`."""

    def __init__(self) -> None:
        self._start = "\0"  # no statement starts so
        self._error: sqlite3.Error = sqlite3.Error()

    def fail(self, start: str, error: sqlite3.Error) -> None:
        """Fail statements that start with this text."""
        self._start, self._error = start, error

    def recover(self) -> None:
        self._start = "\0"

    def open(self, path: Path, **options: Any) -> Database:
        return opened(path, connect=self.connect, **options)

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*arguments, factory=_connection(self._check), **options)

    def _check(self, statement: str) -> None:
        if statement.startswith(self._start):
            raise self._error


def _connection(check: Callable[[str], None]) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            check(statement)
            return super().execute(statement, *parameters)

        def executemany(self, statement: str, parameters: Any) -> sqlite3.Cursor:
            check(statement)
            return super().executemany(statement, parameters)

    return Connection
