"""Copies of a state file, taken while its owner goes on, and put back when nobody owns it.

By SQLite's backup API (https://sqlite.org/backup.html): the copy is of one moment, between two commits. Each
copy is read through, checksum by checksum, before it counts, and takes its place by a rename.
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
from stream_lstm.store.files import lock_file, quoted

BESIDE = ("", "-wal", "-shm")  # the files that make a database


class Content(NamedTuple):
    """What is in a copy.

    Attributes:
        entry: the last one that was committed.
        entries: how many are kept, of the journal.
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
    """Copy a state, whether or not somebody owns it; returns what is in it.

    Raises:
        SettingsError: there is no such state, or the target is the state.
        StateError: the state is damaged, or the copy cannot be written.
    """
    if not state.exists():
        raise SettingsError(str(state), "there is no such state file")
    if target.exists() and target.samefile(state):
        raise SettingsError(str(target), "is the state itself; name another file")
    Database.open_read_only(state).close()
    return _copy(state, target)


def put_back(snapshot: Path, state: Path, *, replace: bool) -> Content:
    """Put a snapshot in a state's place; returns what is in it.

    Args:
        replace: move a state that is there aside, to a name that ends with the time.

    Raises:
        SettingsError: there is a state already.
        StateError: the snapshot is damaged, somebody owns the state, or it cannot be written.
    """
    Database.open_read_only(snapshot).close()
    with translated("restore", state):
        state.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file(state)
    try:
        if state.exists() and not replace:
            raise SettingsError(str(state), "is there already; --replace moves it aside")
        fresh = state.with_name(f"{state.name}.restored")
        said = _copy(snapshot, fresh)
        with translated("restore", state):
            if state.exists():
                aside = f"{state}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
                for ending in BESIDE:
                    if os.path.exists(f"{state}{ending}"):
                        os.replace(f"{state}{ending}", f"{aside}{ending}")
            os.replace(fresh, state)
            _sync(state.parent)
        return said
    finally:
        os.close(lock)


def _copy(source: Path, target: Path) -> Content:
    """A checked copy of one moment, under its name only once it is whole."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with translated("snapshot", target):
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            uri = f"file:{quoted(source)}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as whole, closing(sqlite3.connect(part)) as copy:
                whole.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        said = _read_through(part)
        with translated("snapshot", target):
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, target)
            _sync(target.parent)
        return said
    finally:
        part.unlink(missing_ok=True)


def _read_through(path: Path) -> Content:
    """Hold everything in a state file against its checksums."""
    with closing(Database.open_read_only(path)) as database:
        streams = sum(len(rows.keys) for rows in database.rows())
        entries = sum(1 for _ in database.entries(0))
        return Content(streams, database.identity.model, database.last_entry, entries)


def _sync(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
