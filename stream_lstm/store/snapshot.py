"""Snapshots: copies of a state file, taken while its owner commits, restored when it has no owner.

SQLite's backup API (https://sqlite.org/backup.html) copies the state between two commits. Every checksum of a
copy is verified before the copy is renamed to its final name.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from stream_lstm.errors import SettingsError
from stream_lstm.store.database import Database
from stream_lstm.store.faults import translated
from stream_lstm.store.files import is_state_file, lock_file, uri_path

SUFFIXES = ("", "-wal", "-shm")  # of a database's files


class Content(NamedTuple):
    """Summary of a snapshot.

    Attributes:
        streams: how many it holds.
        model: id of their model.
        entry: number of the last committed entry.
        entries: how many entries its journal holds.
    """

    streams: int
    model: str
    entry: int
    entries: int

    def __str__(self) -> str:
        return (
            f"{self.streams:,} streams of model {self.model}, up to entry {self.entry:,}; "
            f"{self.entries:,} entries of the journal"
        )


def take(state: Path, target: Path) -> Content:
    """Copy a state file, with or without an owner; returns a summary of the copy.

    Raises:
        SettingsError: there is no such state file, the target is that file, or it is a file of another kind.
        StateError: the state file is damaged, or the copy cannot be written.
    """
    if not state.exists():
        raise SettingsError(str(state), "there is no such state file")
    if target.exists() and target.samefile(state):
        raise SettingsError(str(target), "is the state file itself; name another file")
    with translated("snapshot", target):
        if target.is_file() and target.stat().st_size and not is_state_file(target):
            raise SettingsError(str(target), "exists and is not a snapshot; name another file")
    Database.open_read_only(state).close()
    return _copy(state, target)


def restore(snapshot: Path, state: Path, *, replace: bool) -> Content:
    """Copy a snapshot to a state file without an owner; returns a summary of the copy.

    Args:
        replace: rename an existing state file, to a name that ends with the time in UTC. A write-ahead log
            without its state file is renamed in any case.

    Raises:
        SettingsError: the state file exists already, or its folder does not exist.
        StateError: the snapshot is damaged, the state file has an owner, or it cannot be written.
    """
    Database.open_read_only(snapshot).close()
    with translated("restore", state):
        lock = lock_file(state)
    try:
        if state.exists() and not replace:
            raise SettingsError(str(state), "exists already; --replace moves it aside")
        fresh = state.with_name(f"{state.name}.restored")
        content = _copy(snapshot, fresh)
        with translated("restore", state):
            aside = f"{state}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            for suffix in SUFFIXES:  # a log without its file, too: SQLite would apply it to the copy
                if os.path.exists(f"{state}{suffix}"):
                    os.replace(f"{state}{suffix}", f"{aside}{suffix}")
            os.replace(fresh, state)
            _sync(state.parent)
        return content
    finally:
        os.close(lock)


def _copy(source: Path, target: Path) -> Content:
    """Copy a state file of one moment; the target appears when it is complete and verified."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with translated("snapshot", target):
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            uri = f"file:{uri_path(source)}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as original, closing(sqlite3.connect(part)) as copy:
                original.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # a single file, without a log
        content = _verify(part)
        with translated("snapshot", target):
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, target)
            _sync(target.parent)
        return content
    finally:
        part.unlink(missing_ok=True)


def _verify(path: Path) -> Content:
    """Verify every checksum in a state file; returns a summary."""
    with closing(Database.open_read_only(path)) as database:
        streams = sum(len(rows.keys) for rows in database.rows())
        entries = sum(1 for _ in database.entries(0))
        return Content(streams, database.identity.model, database.last_entry, entries)


def _sync(folder: Path) -> None:
    """Make the renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
