"""Opening a state file: one owner, the right format, sound; or a new one."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xxhash

from stream_lstm.errors import StateLocked, StateMismatch
from stream_lstm.store.journal import corrupt

FORMAT_VERSION = 1
APPLICATION_ID = 0x534C5354  # "SLST", so that `file` and we can tell it from other databases
BUSY_SECONDS_MAX = 5.0
HEADER_BYTES = 100  # https://sqlite.org/fileformat2.html#the_database_header

TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE stream (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, mark INTEGER NOT NULL) STRICT",
    "CREATE TABLE checkpoint"
    " (id INTEGER PRIMARY KEY, entry INTEGER NOT NULL, seen REAL NOT NULL,"
    " mark INTEGER NOT NULL, record BLOB NOT NULL) STRICT",
    "CREATE INDEX silent ON checkpoint (seen)",
    "CREATE TABLE journal"
    " (number INTEGER PRIMARY KEY, time REAL NOT NULL, messages INTEGER NOT NULL, blob BLOB NOT NULL) STRICT",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a state file belongs to.

    Attributes:
        model: id of the model whose memories it holds.
        row: description of a record's layout.
        row_bytes: its size.
    """

    model: str
    row: str
    row_bytes: int


def lock_file(path: Path) -> int:
    """Take the lock file beside the state; the lock goes when the process does, however it ends."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        hint = "stop that service, or give this one another state.path and mqtt.client_id"
        raise StateLocked("open", str(path), "another service owns it", hint) from None
    return lock


def connect_owner(
    path: Path, connect: Callable[..., sqlite3.Connection], *, fsync: bool
) -> sqlite3.Connection:
    """A connection as the owner needs it; the file is made if there is none."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    elif 0 < path.stat().st_size < HEADER_BYTES:  # SQLite would take it for an empty file, and begin anew
        raise corrupt(str(path), "is shorter than any database")
    connection = connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS_MAX)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # `flush_log` does it, and no commit waits for it
        connection.execute("PRAGMA cache_size = -4096")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    """Make the tables in an empty file; verify one that is not."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        verify(connection, path)
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    for table in TABLES:
        connection.execute(table)
    meta = {"model": identity.model, "row": identity.row, "row_bytes": identity.row_bytes, "horizon": 1}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a sound state file of this format."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StateMismatch("open", str(path), "is a database of something else", "set another state.path")
    if version != FORMAT_VERSION:
        problem = f"has format {version}, and this release reads {FORMAT_VERSION}"
        raise StateMismatch(
            "open", str(path), problem, "use the release that wrote it, or another state.path"
        )
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    if tuple(sql for (sql,) in tables) != TABLES:
        raise corrupt(str(path), "its tables are not as they were made")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise corrupt(str(path), verdict)


def checksum(content: bytes, stream: int, entry: int = 0) -> int:
    """A checksum that fits SQLite's integers, and tells one stream's and entry's bytes from another's."""
    return xxhash.xxh3_64_intdigest(content, (stream << 32 ^ entry) & 0xFFFF_FFFF_FFFF_FFFF) >> 1


def quoted(path: Path) -> str:
    """A path for a file: URI."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
