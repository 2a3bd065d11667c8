"""State file: its lock, its tables, and the checks before it is used.

Nothing here reads or writes a row of the tables but for `meta` of a new file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stream_lstm.errors import SettingsError, StateLocked, StateMismatch
from stream_lstm.store.faults import corrupt

# Of the tables; `verify` rejects any other. Format 1 has no checksum of table `meta`; its owner adds that.
FORMAT_VERSION, FORMAT_VERSION_MIN = 2, 1
APPLICATION_ID = 0x534C5354  # "SLST": tells a state file from other databases, for `file` too
# How long a statement waits for another program's lock; Python's own default. In write-ahead mode a reader
# holds one only while it opens or closes the file ("Sometimes Queries Return SQLITE_BUSY In WAL Mode",
# https://sqlite.org/wal.html).
BUSY_SECONDS_MAX = 5.0
# To this the write-ahead log is cut when it begins anew: it may have grown while a program read the file.
WAL_KEPT_BYTES = 67_108_864
NAME_BYTES, KEY_BYTES = 4, 32  # of the service that owns a new file (`meta.Owner`)
_PREAMBLE = "*** in database main ***\n"  # of what SQLite reports about pages
HEADER_BYTES = 100  # of any database (https://sqlite.org/fileformat2.html#the_database_header)

# Compared as text when a file is opened, so names cannot change without a new format: columns `mark` are
# checksums, and index `silent` serves `Checkpoint.last_seen_before`.
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
    """Model and record layout that a state file belongs to.

    Attributes:
        model: id of the model.
        row: layout of a stream's record, as text.
        row_bytes: size of a record.
    """

    model: str
    row: str
    row_bytes: int


class FormerLayout(NamedTuple):
    """A record layout of an earlier release, and how its records become those of this one.

    Attributes:
        row: the layout, as text.
        row_bytes: size of a record.
        convert: from N records, one after the other, to N.
    """

    row: str
    row_bytes: int
    convert: Callable[[bytes], bytes]


def require_folder(path: Path) -> None:
    """Check that the folder of a state file exists: it is not made, because its path may be mistyped.

    Raises:
        SettingsError: it does not exist.
    """
    folder = path.absolute().parent
    try:
        os.stat(f"{folder}/.")
    except (FileNotFoundError, NotADirectoryError):
        problem = f"there is no folder {folder}; create it, or correct the path"
        raise SettingsError("state.path", problem) from None
    except OSError:
        pass  # opening the file says why


def lock_file(path: Path) -> int:
    """Lock the file `<path>.lock`; the lock ends with the process, however that ends.

    Returns:
        The descriptor that holds the lock until it is closed.

    Raises:
        SettingsError: its folder does not exist.
        StateLocked: another process holds it.
    """
    require_folder(path)
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
    """Open the owner's connection; create an empty file if there is none.

    Raises:
        StateCorrupt: the file is too short for a database.
    """
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    elif 0 < path.stat().st_size < HEADER_BYTES:  # SQLite would treat it as empty and overwrite it
        raise corrupt(str(path), "is too short for a database")
    connection = connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS_MAX)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":  # the disk failed; SQLite says so in no other way
            raise OSError(errno.EIO, f"the write-ahead log cannot be used, but {mode!r}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # `checkpoint_wal` does it, so no commit waits
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        connection.execute("PRAGMA cache_size = -4096")  # negative: KiB; twice SQLite's default
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write."""
    uri = f"file:{uri_path(path)}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def create_or_verify(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    """Create the tables in an empty file; verify any other.

    Raises:
        StateMismatch, StateCorrupt: as for `verify`.
    """
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        verify(connection, path)
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION_MIN}")  # `Database.open` adds the checksum
    for table in TABLES:
        connection.execute(table)
    meta = {"model": identity.model, "row": identity.row, "row_bytes": identity.row_bytes, "horizon": 1}
    owner = {"name": secrets.token_hex(NAME_BYTES), "key": secrets.token_hex(KEY_BYTES), "started_ms": 0}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", (meta | owner).items())
    connection.execute("COMMIT")


def require(wanted: Identity, found: Identity, path: Path) -> None:
    """Check that a file belongs to a model and record layout.

    Raises:
        StateMismatch: it belongs to others.
    """
    for name in ("model", "row", "row_bytes"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if ours != theirs:
            problem = f"holds memories of {name} {theirs!r}, but {ours!r} is in use"
            hint = "use that model again (model.path), or set another state.path"
            raise StateMismatch("open", str(path), problem, hint)


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Check that a file is an undamaged state file of this format.

    Raises:
        StateMismatch: it is another program's database, or of another format.
        StateCorrupt: its tables or pages are damaged.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StateMismatch("open", str(path), "is not a state file", "set another state.path")
    if not FORMAT_VERSION_MIN <= version <= FORMAT_VERSION:
        problem = f"has format {version}; this release reads {FORMAT_VERSION_MIN} to {FORMAT_VERSION}"
        raise StateMismatch(
            "open", str(path), problem, "use the release that wrote it, or another state.path"
        )
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    if Counter(sql for (sql,) in tables) != Counter(TABLES):  # VACUUM changes their order
        raise corrupt(str(path), f"its tables are not those of format {FORMAT_VERSION}")
    # Not `quick_check`: it compares no index with its table, so a name that its index has lost would be taken
    # for a new stream's. Measured: 3.3 s more per million streams. It ends at the first error.
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise corrupt(str(path), f"integrity check: {verdict.removeprefix(_PREAMBLE)}")


def is_state_file(path: Path) -> bool:
    """True if a file is a closed state file or a snapshot, by its header (https://sqlite.org/fileformat.html)."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    return header.startswith(b"SQLite format 3\0") and header[68:72] == APPLICATION_ID.to_bytes(4)


def uri_path(path: Path) -> str:
    """Quote a path for a `file:` URI (https://sqlite.org/uri.html)."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
