"""One SQLite file with all that must survive: who owns it, what it is of, and its transactions.

Why a crash costs nothing. An entry of the journal is one transaction in write-ahead mode: after a crash it is
there whole or not at all, and `commit` returns only when it is on disk (`synchronous=FULL`). A stream's
record is replaced in a transaction too, and says which entry it reflects; whatever of the checkpoint was
written, each record is then true for its own entry, and the journal holds every entry after the horizon, the
last at which all records were written. So memory is always the records plus the journal's later entries,
applied in order. Nothing is cut from the journal but what lies before the horizon.

SQLite's rules: https://sqlite.org/wal.html, https://sqlite.org/pragma.html, https://sqlite.org/rescode.html.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stream_lstm.errors import StateMismatch
from stream_lstm.store import journal
from stream_lstm.store.checkpoint import Reader, Record, Rows
from stream_lstm.store.faults import translated
from stream_lstm.store.files import (
    BUSY_SECONDS_MAX,
    Identity,
    checksum,
    connect_owner,
    lock_file,
    prepare,
    quoted,
    verify,
)
from stream_lstm.store.journal import Entry, corrupt
from stream_lstm.store.wal import verify_wal

WINDOW_MESSAGES = 65_536
_COMMIT = "INSERT INTO journal VALUES (?, ?, ?, ?)"
TRIMMED_AT_ONCE_MAX = 512  # entries; the next commit waits for no more than this


class Database:
    """The state file. All calls wait for the disk; one thread makes them, but for `flush_log`.

    Attributes:
        path: of the file.
        identity: what it belongs to.
        last_entry: number of the last committed entry.
        published_through: the last entry whose predictions are known to have reached the broker.
        settled: at the start, the last one whose messages the broker is known to know as acknowledged.
        horizon: the entry from which on the journal must be applied to the records.
        closed_cleanly: the last owner left with nothing open at the broker.
        next_stream_id: above every stream's number, ever.
        streams: how many are known.
        filters: what the broker's session of ours subscribes to, as far as we know.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._window: deque[tuple[int, int]] = deque()  # entries that the replay window needs, and messages
        self._window_messages = 0
        self._window_messages_min = WINDOW_MESSAGES
        with self._explained("read"):
            self._read_meta()

    @classmethod
    def open(
        cls,
        path: Path,
        identity: Identity,
        *,
        fsync: bool = True,
        window_messages: int = WINDOW_MESSAGES,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> Database:
        """Open a state file as its only owner; make it if there is none.

        Args:
            identity: what it must belong to.
            fsync: wait for the disk at each commit; otherwise a power cut may cost the last seconds.
            window_messages: so many of the latest digests are kept.
            connect: SQLite's, or what stands in for it in a test.

        Raises:
            StateLocked: another process owns it.
            StateMismatch: it is of another format or model.
            StateCorrupt: it is damaged, or no state file.
            DiskFull: there is no space to make it.
            DiskFailed: it cannot be read or written.
        """
        with translated("open", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = lock_file(path)
        try:
            with translated("open", path):
                if fsync:
                    verify_wal(path)
                connection = connect_owner(path, connect, fsync=fsync)
                try:
                    prepare(connection, path, identity)
                    database = cls(path, connection, lock)
                    database._window_messages_min = window_messages
                    database._check(identity)
                    database._read_window()
                except BaseException:
                    connection.close()
                    raise
                return database
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open_read_only(cls, path: Path) -> Database:
        """Read a state file beside its owner, who is not disturbed.

        Raises:
            StateMismatch: it is of another format.
            StateCorrupt: it is damaged, or no state file.
            DiskFailed: it cannot be read.
        """
        with translated("open", path):
            connection = sqlite3.connect(
                f"file:{quoted(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                verify(connection, path)
                return cls(path, connection, None)
            except BaseException:
                connection.close()
                raise

    def _read_meta(self) -> None:
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        try:
            self.identity = Identity(meta["model"], meta["row"], meta["row_bytes"])
            self.horizon = int(meta["horizon"])
        except (KeyError, ValueError) as error:
            raise corrupt(str(self.path), f"its description lacks {error}") from None
        last = self._connection.execute(
            "SELECT number, blob FROM journal ORDER BY number DESC LIMIT 1"
        ).fetchone()
        entry = journal.decode(*last, path=str(self.path)) if last else None
        self.last_entry = entry.number if entry else self.horizon - 1
        self.filters: list[str] = json.loads(meta.get("filters", "[]"))
        self.closed_cleanly = meta.get("clean") == self.last_entry
        noted = entry.published_through if entry and not self.closed_cleanly else self.last_entry
        self.acked_through = entry.acked_through if entry and not self.closed_cleanly else self.last_entry
        self.published_through = max(
            noted, self.horizon - 1
        )  # the journal is cut only behind what was delivered
        newest, self.streams = self._connection.execute("SELECT max(id), count(*) FROM stream").fetchone()
        self.next_stream_id = max((newest or 0) + 1, meta.get("next_stream", 1))
        self._reader = Reader(self._connection, str(self.path), self.identity.row_bytes)

    def _check(self, identity: Identity) -> None:
        for name in ("model", "row", "row_bytes"):
            ours, theirs = getattr(identity, name), getattr(self.identity, name)
            if ours != theirs:
                problem = f"holds memories of {name} {theirs!r}, and {ours!r} is in use"
                hint = "use that model again (model.path), or another state.path"
                raise StateMismatch("open", str(self.path), problem, hint)

    def _read_window(self) -> None:
        newest = self._connection.execute(
            "SELECT number, messages FROM journal WHERE messages > 0 ORDER BY number DESC"
        )
        for number, messages in newest:
            if self._window_messages >= self._window_messages_min:
                break
            self._window.appendleft((number, messages))
            self._window_messages += messages

    def commit(self, entry: Entry) -> None:
        """Write an entry; on disk when this returns.

        Raises:
            ValueError: it is not the next one.
            DiskFull: nothing has changed; the same entry may be committed later.
            DiskFailed: what is on disk is uncertain; close, and read it again.
        """
        if entry.number != self.last_entry + 1:
            raise ValueError(f"entry {entry.number} after {self.last_entry}")
        blob = journal.encode(entry)
        newest = float(entry.batch.times.max(initial=0.0))
        row = (entry.number, newest, len(entry.digests), blob)
        if entry.new_streams:
            named = [(stream, key, checksum(key.encode(), stream)) for stream, key in entry.new_streams]
            with self._transaction("commit"):
                self._connection.executemany("INSERT INTO stream VALUES (?, ?, ?)", named)
                self._connection.execute(_COMMIT, row)
        else:  # a statement by itself is a transaction, and wakes this thread once instead of three times
            with self._explained("commit"):
                self._connection.execute(_COMMIT, row)
        self.last_entry, self.closed_cleanly = entry.number, False
        if entry.new_streams:
            self.next_stream_id = max(self.next_stream_id, max(stream for stream, _ in entry.new_streams) + 1)
            self.streams += len(entry.new_streams)
        self.published_through = max(self.published_through, entry.published_through)
        if len(entry.digests):
            self._window.append((entry.number, len(entry.digests)))
            self._window_messages += len(entry.digests)
        while self._window and self._window_messages - self._window[0][1] >= self._window_messages_min:
            self._window_messages -= self._window.popleft()[1]

    def checkpoint(self, records: Sequence[Record]) -> None:
        """Write streams' records.

        Raises:
            DiskFull: nothing has changed.
            DiskFailed: as for `commit`.
        """
        marked = [(r.stream, r.entry, r.seen, r.checksum, r.content) for r in records]
        with self._transaction("checkpoint"):
            self._connection.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", marked)

    def trim(self, through: int, *, before: float = float("inf"), bytes_max: int = 0) -> int:
        """Cut from the journal what neither recovery, the replay window nor the history needs.

        Args:
            through: every record reflects this entry or a later state, and its predictions were delivered.
            before: newer entries (by their events' time, epoch seconds) stay as history …
            bytes_max: … as far as the journal is not larger than this.

        Returns:
            How many entries were cut; at most `TRIMMED_AT_ONCE_MAX`, so call again until it is 0.
        """
        floor = self._window[0][0] if self._window else self.last_entry
        most = min(through, floor - 1, self.last_entry - 1)
        with self._explained("trim"):
            (size,) = self._connection.execute("SELECT total(length(blob)) FROM journal").fetchone()
            oldest = self._connection.execute(
                "SELECT number, time, length(blob) FROM journal WHERE number <= ? ORDER BY number LIMIT ?",
                (most, TRIMMED_AT_ONCE_MAX),
            ).fetchall()
        cut = 0
        for _, time, length in oldest:
            if time >= before and size <= bytes_max:
                break
            size -= length
            cut += 1
        with self._transaction("trim"):
            if cut:
                self._connection.execute("DELETE FROM journal WHERE number <= ?", (oldest[cut - 1][0],))
            if through + 1 > self.horizon:
                self._set("horizon", through + 1)
        self.horizon = max(self.horizon, through + 1)
        return cut

    def note_filters(self, filters: Sequence[str]) -> None:
        """Note what the broker's session of ours subscribes to.

        Raises:
            DiskFull: nothing has changed.
            DiskFailed: as for `commit`.
        """
        with self._transaction("note"):
            self._set("filters", json.dumps(sorted(filters)))
        self.filters = sorted(filters)

    def checkpoint_wal(self) -> None:
        """Move the write-ahead log into the file, so that it can start anew; from any thread.

        Commits go on meanwhile. Called once beside them for the bulk, then once between two for the rest.

        Raises:
            DiskFull, DiskFailed: nothing is lost; the log stays as it is.
        """
        with translated("flush", self.path):
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS_MAX)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()

    @property
    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        log = Path(f"{self.path}-wal")
        return log.stat().st_size if log.exists() else 0

    @property
    def size_bytes(self) -> int:
        """Size on disk, log included."""
        return self.path.stat().st_size + self.wal_bytes

    def close_cleanly(self) -> None:
        """Note that everything was published and acknowledged: nothing will come again."""
        with self._transaction("close"):
            self._set("clean", self.last_entry)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def rows(self) -> Iterator[Rows]:
        """All streams and their records, in order of their numbers, by the chunk.

        Raises:
            StateCorrupt: a record or a key is not as it was written.
        """
        with self._explained("read"):
            yield from self._reader.all()

    def rows_of(self, keys: Sequence[str]) -> Rows:
        """Those of these streams that are known, and their records.

        Raises:
            StateCorrupt: one is not as it was written.
        """
        with self._explained("read"):
            return self._reader.by_key(keys)

    def rows_by_id(self, ids: Sequence[int]) -> Rows:
        """The same by the streams' numbers."""
        with self._explained("read"):
            return self._reader.by_id(ids)

    def silent(self, before: float, limit: int) -> list[tuple[int, str]]:
        """Numbers and keys of streams that were last heard of before this, epoch seconds."""
        with self._explained("read"):
            return self._connection.execute(
                "SELECT s.id, s.key FROM checkpoint AS c JOIN stream AS s ON s.id = c.id"
                " WHERE c.seen < ? LIMIT ?",
                (before, limit),
            ).fetchall()

    def forget(self, streams: Sequence[int]) -> None:
        """Drop streams and their records for good; their numbers are not used again.

        Raises:
            DiskFull: nothing has changed.
            DiskFailed: as for `commit`.
        """
        numbers = [(stream,) for stream in streams]
        with self._transaction("forget"):
            self._set("next_stream", self.next_stream_id)
            self._connection.executemany("DELETE FROM stream WHERE id = ?", numbers)
            self._connection.executemany("DELETE FROM checkpoint WHERE id = ?", numbers)
        self.streams -= len(numbers)

    def entries(self, after: int) -> Iterator[Entry]:
        """The journal's entries with higher numbers, in order.

        Raises:
            StateCorrupt: one is missing, or not as it was written.
        """
        with self._explained("read"):
            found = self._connection.execute(
                "SELECT number, blob FROM journal WHERE number > ? ORDER BY number", (after,)
            )
            expected = None
            for number, blob in found:
                if expected is not None and number != expected:
                    raise corrupt(str(self.path), f"journal entry {expected} is missing")
                expected = number + 1
                yield journal.decode(number, blob, path=str(self.path))

    def _set(self, name: str, value: str | int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _explained(self, operation: str) -> translated:
        return translated(operation, self.path)

    @contextmanager
    def _transaction(self, operation: str) -> Iterator[None]:
        """All or nothing, and on disk at the end."""
        with self._explained(operation):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
