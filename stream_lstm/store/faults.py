"""Errors of SQLite and of the operating system, translated into the state errors of `errors.py`.

Result codes: https://sqlite.org/rescode.html. Nothing here knows what the file contains.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from types import TracebackType

from stream_lstm.errors import DiskFailed, DiskFull, StateCorrupt, StateError, StateLocked

_PRIMARY_BITS = 0xFF  # the low byte of an extended result code
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Damage without a code of its own: found by Python's module, and by SQLite in the file's header.
_CORRUPT_TEXTS = ("decode to UTF-8", "unsupported file format")


def corrupt(path: str, problem: str) -> StateCorrupt:
    """The error for a damaged state file."""
    return StateCorrupt(
        "read", path, problem, "restore a snapshot, or move the file away to start without memory"
    )


class translated:
    """Context manager that raises our own error in place of SQLite's or the operating system's.

    It is a class for speed: every commit passes through it, and `contextmanager` would make a generator each
    time.

    Args:
        operation: what the block does ("commit", "open", …), for the error.
        path: of the state file, for the error.

    Raises:
        DiskFull: no space is left.
        DiskFailed: the disk failed, is read-only, or the path cannot be used.
        StateLocked: another program holds a lock on the file.
        StateCorrupt: the file is damaged.
    """

    def __init__(self, operation: str, path: Path) -> None:
        self._operation = operation
        self._path = str(path)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._from_sqlite(error) from None
        if isinstance(error, OSError):
            raise self._from_system(error) from None
        if isinstance(error, UnicodeDecodeError):  # the sqlite3 module could not decode SQLite's own message
            raise corrupt(self._path, "its schema cannot be decoded") from None

    def _from_sqlite(self, error: sqlite3.Error) -> StateError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_BITS
        problem = f"{error} ({getattr(error, 'sqlite_errorname', 'unknown')})"
        if code == sqlite3.SQLITE_FULL:
            return self._full(problem)
        if code in _CORRUPT or any(text in problem for text in _CORRUPT_TEXTS):
            return corrupt(self._path, problem)
        if code in _LOCKED:
            hint = "stop the other program that writes to it"
            return StateLocked(self._operation, self._path, problem, hint)
        return self._failed(problem)

    def _from_system(self, error: OSError) -> StateError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full(str(error.strerror))
        return self._failed(str(error.strerror or error))

    def _full(self, problem: str) -> DiskFull:
        return DiskFull(self._operation, self._path, problem, "make space; the service resumes by itself")

    def _failed(self, problem: str) -> DiskFailed:
        hint = "check that the disk is sound and the folder writable, then start again"
        return DiskFailed(self._operation, self._path, problem, hint)
