"""A simulated disk: death at any statement, full disk, power cuts that keep only what was synced.

What is synced follows from each connection's own `PRAGMA synchronous`, as SQLite documents it for the
write-ahead log (https://sqlite.org/pragma.html#pragma_synchronous): FULL and EXTRA sync it at each commit,
NORMAL only at a checkpoint of the log, OFF never. The state file itself is taken to survive: checkpoints
alone write it, and they sync the log first, unless their connection has OFF, which is not simulated.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

NORMAL, FULL = 1, 2  # of `PRAGMA synchronous`
CHECKPOINT = "wal_checkpoint"


class Died(KeyboardInterrupt):
    """The process ends here, as by kill -9; a KeyboardInterrupt, because event loops let that through."""


class Disk:
    """A folder with a state file, over several lives of the process.

    Args:
        faults: counts injected faults by kind.
    """

    def __init__(self, folder: Path, draw: random.Random, faults: Counter[str]) -> None:
        self._folder = folder
        self._draw = draw
        self._faults = faults
        self._lives = 0
        self.path = self._next()
        self._synced = (0, b"")  # how much of the log is on the disk for certain, and the log's head then
        self.dies_in = -1  # statements until the end; -1: not by the disk
        self.full_share = 0.0
        self._lock = b""  # content of the lock file when this life began

    def _next(self) -> Path:
        self._lives += 1
        place = self._folder / str(self._lives)
        place.mkdir()
        return place / "state.db"

    @property
    def _log(self) -> Path:
        return Path(f"{self.path}-wal")

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """In place of `sqlite3.connect`; a connection by URI only reads."""
        disk = self
        if options.get("uri"):
            return sqlite3.connect(*arguments, **options)

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                least = FULL if _commits(self, statement) else NORMAL if CHECKPOINT in statement else None
                disk.before(self, statement, *parameters)
                cursor = super().execute(statement, *parameters)
                if least and super().execute("PRAGMA synchronous").fetchone()[0] >= least:
                    disk.note_sync()
                return cursor

            def executemany(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                disk.before(self, statement)
                return super().executemany(statement, *parameters)

        return sqlite3.connect(*arguments, factory=Connection, **options)

    def before(self, connection: sqlite3.Connection, statement: str, *parameters: Any) -> None:
        commits = _commits(connection, statement)
        if self.dies_in == 0 and (commits or self._draw.random() < 0.3):
            self.dies_in = -1
            if commits and self._draw.random() < 0.7:
                sqlite3.Connection.execute(connection, statement, *parameters)  # but the sync never returns
                self._faults["death within a commit"] += 1
            else:
                self._faults["death at a statement"] += 1
            raise Died
        if self.dies_in > 0:
            self.dies_in -= 1
        if statement.startswith(("BEGIN", "COMMIT", "INSERT")) and self._draw.random() < self.full_share:
            self._faults["full disk"] += 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise error

    def note_sync(self) -> None:
        """Everything written so far is synced."""
        if self._log.exists():
            with self._log.open("rb") as log:
                head = log.read(32)
            self._synced = self._log.stat().st_size, head

    def reborn(self, *, power_cut: bool) -> None:
        """Make the files as the next life finds them."""
        old, self.path = self.path, self._next()
        log = Path(f"{old}-wal")
        if old.exists():
            shutil.copy(old, self.path)
        if log.exists():
            content = log.read_bytes()
            if power_cut:
                self._faults["power cut"] += 1
                content = self._torn_tail(content)
            Path(f"{self.path}-wal").write_bytes(content)
        self._copy_lock(Path(f"{old}.lock"), power_cut=power_cut)
        shutil.rmtree(old.parent, ignore_errors=True)
        self.note_sync()

    def _copy_lock(self, old: Path, *, power_cut: bool) -> None:
        """Keep the lock file, whose content is never synced, as it is now or as an earlier life left it."""
        content = old.read_bytes() if old.exists() else b""
        if power_cut and self._draw.random() < 0.5:
            content = self._lock
        self._lock = content
        Path(f"{self.path}.lock").write_bytes(content)

    def _torn_tail(self, content: bytes) -> bytes:
        """Keep what was not synced in part, as garbage, or not at all."""
        size, head = self._synced
        certain = min(size, len(content)) if content[:32] == head else 0
        kept = self._draw.randint(certain, len(content))
        if kept < len(content):
            self._faults["torn write"] += 1
            if self._draw.random() < 0.5:
                return content[:kept] + self._draw.randbytes(len(content) - kept)
        return content[:kept]


def _commits(connection: sqlite3.Connection, statement: str) -> bool:
    """True if this statement ends a transaction, or is one by itself."""
    return statement == "COMMIT" or (statement.startswith("INSERT") and not connection.in_transaction)
