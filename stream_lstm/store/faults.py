"""What SQLite and the operating system say of a disk, in our own errors."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from types import TracebackType

from stream_lstm.errors import DiskFailed, DiskFull, StateError, StateLocked
from stream_lstm.store.journal import corrupt

PRIMARY = 0xFF  # the low byte of an extended result code
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class translated:
    """Turns errors of SQLite and of the operating system inside the block into ours."""

    def __init__(self, operation: str, path: Path) -> None:
        self._operation = operation
        self._path = str(path)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._of_sqlite(error) from None
        if isinstance(error, OSError):
            raise self._of_system(error) from None
        if isinstance(error, UnicodeDecodeError):  # in SQLite's own words about what it cannot read
            raise corrupt(self._path, "its tables cannot be read") from None

    def _of_sqlite(self, error: sqlite3.Error) -> StateError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & PRIMARY
        problem = f"{error} ({getattr(error, 'sqlite_errorname', 'unknown')})"
        if code == sqlite3.SQLITE_FULL:
            return self._full(problem)
        if code in CORRUPT or "decode to UTF-8" in problem:  # the latter is Python's, and has no code
            return corrupt(self._path, problem)
        if code in LOCKED:
            hint = "end the other program that writes to it"
            return StateLocked(self._operation, self._path, problem, hint)
        return self._failed(problem)

    def _of_system(self, error: OSError) -> StateError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full(str(error.strerror))
        return self._failed(str(error.strerror or error))

    def _full(self, problem: str) -> DiskFull:
        return DiskFull(self._operation, self._path, problem, "make space; the service goes on by itself")

    def _failed(self, problem: str) -> DiskFailed:
        hint = "see that the disk is sound and the folder writable, then start again"
        return DiskFailed(self._operation, self._path, problem, hint)
