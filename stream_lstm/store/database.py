"""State file: one SQLite database with everything that survives a restart; its opening and its transactions.

Why a crash loses nothing that was committed. A journal entry is one transaction in write-ahead mode: after a
crash it is there as a whole or not at all, and `commit` returns only when it is on disk (`synchronous=FULL`).
A stream's record is replaced in a transaction too, and says which entry it reflects; however much of a
checkpoint was written, each record is true for its own entry. Every record reflects its stream's events from
before the horizon, and the journal holds every entry from the horizon on: trimming removes only earlier ones.
So the state is always the records plus the journal's later entries, applied in order.

SQLite's rules: https://sqlite.org/wal.html, https://sqlite.org/pragma.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from stream_lstm.store import meta, progress, wal
from stream_lstm.store.checkpoint import Checkpoint, Rows, StoredRecord
from stream_lstm.store.entry import Entry
from stream_lstm.store.faults import corrupt, translated
from stream_lstm.store.files import (
    FORMAT_VERSION,
    FormerLayout,
    Identity,
    connect_owner,
    connect_reader,
    create_or_verify,
    lock_file,
    require,
    verify,
)
from stream_lstm.store.journal import WINDOW_MESSAGES, Journal
from stream_lstm.store.open_files import OpenFiles, close_all, written_to
from stream_lstm.store.progress import Progress


class Database:
    """An open state file. All calls wait for the disk; one thread makes them all, except `checkpoint_wal`.

    Attributes:
        path: of the file.
        identity: the model and record layout it belongs to.
        converted: how many records of an earlier layout were converted at opening.
        filters: topic filters that our session at the broker is known to subscribe to, sorted.
        owner: what tells the file's service from others; None in a file that version 0.1 used last.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, files: OpenFiles | None) -> None:
        self.path = path
        self._connection = connection
        self._closing = ExitStack()
        self._files = files  # the owner's
        self.converted = 0
        with self._translated("read"):
            noted = meta.read(self._connection, str(self.path))
            self.identity, self.filters, self.owner = noted.identity, noted.filters, noted.owner
            self._journal = Journal(connection, str(path), horizon=noted.horizon, closed_after=noted.clean)
            if (noted.clean or 0) > self._journal.last_entry:
                raise corrupt(str(path), f"it was closed after entry {noted.clean}, which its journal lacks")
            row_bytes, next_id = noted.identity.row_bytes, noted.next_stream
            self._checkpoint = Checkpoint(connection, str(path), row_bytes=row_bytes, next_stream_id=next_id)

    @classmethod
    def open(
        cls,
        path: Path,
        identity: Identity,
        *,
        former: Sequence[FormerLayout] = (),
        fsync: bool = True,
        window_messages: int = WINDOW_MESSAGES,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> Database:
        """Open a state file as its only owner; create it if there is none.

        Args:
            identity: the model and record layout it must belong to.
            former: earlier layouts whose records are converted, all in one transaction.
            fsync: wait for the disk at each commit; otherwise a power cut may lose the last seconds.
            window_messages: trimming keeps the digests of this many of the latest messages.
            connect: opens a connection; a test may inject faults.

        Raises:
            SettingsError: its folder does not exist.
            StateLocked: another process owns it.
            StateMismatch: it is of another format, model or record layout.
            StateCorrupt: it is damaged, not a database, or missing beside its log.
            DiskFull, DiskFailed: it cannot be created, read or written.
        """
        with translated("open", path), ExitStack() as opened:
            descriptors = [lock_file(path)]
            opened.callback(close_all, descriptors)  # after the connection, see `OpenFiles`
            wal.verify_wal(path, synced=fsync)
            connection = connect_owner(path, connect, fsync=fsync)
            opened.callback(connection.close)
            create_or_verify(connection, path, identity)
            files = OpenFiles(path, descriptors)
            database = cls(path, connection, files)
            database._complete()
            database._convert(identity, former)
            require(identity, database.identity, path)
            database._journal.read_window(window_messages)
            if database.owner:
                database._journal.resume(progress.read(files.lock, database.owner.started_ms))
            database._closing = opened.pop_all()
            return database

    @classmethod
    def open_read_only(cls, path: Path) -> Database:
        """Open a state file to read it, also while its owner writes.

        Its attributes are those at opening; the methods that read see what the owner has committed since.

        Raises:
            StateMismatch: it is of another format.
            StateCorrupt: it is damaged, or not a database.
            DiskFailed: it cannot be read.
        """
        with translated("open", path), ExitStack() as opened:
            connection = connect_reader(path)
            opened.callback(connection.close)
            connection.execute("BEGIN")  # all of one moment: the owner may commit and trim
            verify(connection, path)
            database = cls(path, connection, None)
            connection.execute("COMMIT")
            database._closing = opened.pop_all()
            return database

    def _complete(self) -> None:
        """Add the checksum of table `meta` to a file of format 1."""
        if self._connection.execute("PRAGMA user_version").fetchone() != (FORMAT_VERSION,):
            with self._transaction("convert"):
                meta.write(self._connection)
                self._connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def start_run(self, now: float) -> meta.Owner:
        """Write the start of a run, epoch seconds; returns what its service signs with.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._transaction("start"):
            self.owner = meta.start_run(self._connection, self.owner, now)
        self.note_progress(Progress(self.published_through, self.acked_through))
        return self.owner

    def note_progress(self, known: Progress) -> None:
        """Write what the broker is known to have; costs microseconds, and waits for no disk that works."""
        if self.owner and self._files:
            progress.write(self._files.lock, self.owner.started_ms, known)

    def _convert(self, identity: Identity, former: Sequence[FormerLayout]) -> None:
        """Convert all records if they have one of these layouts."""
        layouts = {replace(identity, row=each.row, row_bytes=each.row_bytes): each for each in former}
        if (layout := layouts.get(self.identity)) is None:
            return
        with self._transaction("convert"):
            converted = self._checkpoint.convert_all(layout.convert, identity.row_bytes)
            meta.write(self._connection, ("row", identity.row), ("row_bytes", identity.row_bytes))
        self.identity, self.converted = identity, converted

    @property
    def last_entry(self) -> int:
        """Number of the last committed entry, 0 if there is none."""
        return self._journal.last_entry

    @property
    def published_through(self) -> int:
        """The last entry whose predictions are known to have reached the broker."""
        return self._journal.published_through

    @property
    def acked_through(self) -> int:
        """At opening, the last entry up to which the broker was known to have every acknowledgement."""
        return self._journal.acked_through

    @property
    def horizon(self) -> int:
        """The first entry that recovery must apply to the records."""
        return self._journal.horizon

    @property
    def closed_cleanly(self) -> bool:
        """True if the last owner closed with nothing in flight, and no commit came since."""
        return self._journal.closed_cleanly

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return self._checkpoint.streams

    @property
    def next_stream_id(self) -> int:
        """A number greater than that of every stream there ever was."""
        return self._checkpoint.next_stream_id

    @property
    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        return wal.wal_bytes(self.path)

    @property
    def size_bytes(self) -> int:
        """Size on disk, with the write-ahead log."""
        return wal.bytes_of(self.path) + self.wal_bytes

    def commit(self, entry: Entry, encoded: bytes | None = None) -> None:
        """Write an entry, perhaps encoded already, and its new streams; on disk when this returns.

        Raises:
            ValueError: its number does not follow the last one's.
            DiskFull: nothing has changed; the same entry may be committed later.
            DiskFailed: what is on disk is uncertain; close the file and open it again.
            StateLost: no start would find the entry.
        """
        row = self._journal.next_row(entry, encoded)
        if entry.new_streams:
            with self._transaction("commit"):
                self._checkpoint.insert_streams(entry.new_streams)
                self._journal.insert(row)
            self._checkpoint.note_inserted(entry.new_streams)
        else:  # one statement is a transaction by itself: this thread waits for one call instead of three
            with self._translated("commit"), written_to(self._files, "commit"):
                self._journal.insert(row)
        self._journal.advance(entry)

    def checkpoint(self, records: Sequence[StoredRecord]) -> None:
        """Write streams' records.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._transaction("checkpoint"):
            self._checkpoint.write(records)

    def trim(self, through: int, *, before: float = float("inf"), bytes_max: int = 0) -> int:
        """Remove from the journal what neither recovery, the dedup window nor the history needs.

        Args:
            through: every record reflects this entry or a later one, and the broker has its predictions.
            before: entries with an event from this time on stay as history, epoch seconds …
            bytes_max: … as long as the journal is not larger than this.

        Returns:
            How many entries were removed, at most `journal.TRIM_ENTRIES_MAX`: call again until it is 0.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._translated("trim"):
            numbers = self._journal.removable(through, before=before, bytes_max=bytes_max)
        horizon = max(self.horizon, through + 1)
        with self._transaction("trim"):
            self._journal.remove(numbers)
            if horizon > self.horizon:
                meta.write(self._connection, ("horizon", horizon))
        self._journal.horizon = horizon
        return len(numbers)

    def note_filters(self, filters: Sequence[str]) -> None:
        """Write the topic filters that our session at the broker subscribes to.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._transaction("note"):
            meta.write(self._connection, meta.filters_row(filters))
        self.filters = sorted(filters)

    def checkpoint_wal(self) -> None:
        """Copy the write-ahead log into the file, so that it is written from its beginning again.

        Any thread may call it. The log restarts only when all of it was copied: call it once beside commits,
        which copies most of it, then once between two commits, which copies the rest.

        Raises:
            DiskFull, DiskFailed, StateLost: the log stays as it is.
        """
        self.verify_files()
        wal.checkpoint_wal(self.path)

    def verify_files(self) -> None:
        """Check that the paths still lead to the files that are open; for the owner, from any thread.

        Raises:
            DiskFailed, StateLost: a path cannot be read, or leads to another file or to none.
        """
        if self._files:
            with self._translated("check"):
                self._files.verify_all("check")

    def close_cleanly(self) -> None:
        """Write that every prediction was published and every message acknowledged; then call `close`.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._transaction("close"):
            meta.write(self._connection, ("clean", self.last_entry))

    def close(self) -> None:
        """Close the file and release its lock; a second call does nothing."""
        damaged = self._files is not None and self._files.damaged()
        with wal.checkpoint_prevented(self.path) if damaged else nullcontext():
            self._closing.close()
        self._files = None

    def rows(self) -> Iterator[Rows]:
        """Read all streams and their records in the order of their numbers, in chunks.

        Raises:
            StateCorrupt: a record or a key is damaged.
        """
        with self._translated("read"):
            yield from self._checkpoint.rows()

    def rows_of(self, keys: Sequence[str]) -> Rows:
        """Read those of these streams that exist, and their records.

        Raises:
            StateCorrupt: one is damaged.
        """
        with self._translated("read"):
            return self._checkpoint.rows_of(keys)

    def rows_by_id(self, ids: Sequence[int]) -> Rows:
        """Read the same by the streams' numbers."""
        with self._translated("read"):
            return self._checkpoint.rows_by_id(ids)

    def newest_seen(self) -> float | None:
        """Arrival of the newest event in a record, epoch seconds; None without a record."""
        with self._translated("read"):
            return self._checkpoint.newest_seen()

    def last_seen_before(self, before: float, limit: int) -> list[tuple[int, str]]:
        """Read numbers and keys of `limit` streams at most without an event since then, epoch seconds."""
        with self._translated("read"):
            return self._checkpoint.last_seen_before(before, limit)

    def delete(self, streams: Sequence[int]) -> None:
        """Delete streams and their records; their numbers are not used again.

        Raises:
            DiskFull, DiskFailed: as for `commit`.
        """
        with self._transaction("forget"):
            meta.write(self._connection, ("next_stream", self.next_stream_id))
            self._checkpoint.delete_streams(streams)
        self._checkpoint.note_deleted(streams)

    def entries(self, after: int) -> Iterator[Entry]:
        """Read the journal's entries with higher numbers, in order.

        Raises:
            StateCorrupt: one is missing or damaged.
        """
        with self._translated("read"):
            yield from self._journal.entries(after)

    def validate(self) -> None:
        """Check the owner's invariants, in the file and in memory; for tests.

        Raises:
            AssertionError: one does not hold.
        """
        assert not self._connection.in_transaction, "a transaction is open"
        noted = meta.read(self._connection, str(self.path))
        for name in ("identity", "horizon", "filters", "owner"):
            assert getattr(self, name) == getattr(noted, name), f"meta holds another {name} than memory"
        ours, theirs = self.next_stream_id, noted.next_stream
        assert ours >= theirs, f"next stream {ours} is below meta's {theirs}"
        if self.closed_cleanly:
            assert noted.clean == self.last_entry, f"closed after {noted.clean}, not {self.last_entry}"
        self._journal.validate()
        self._checkpoint.validate(self.last_entry)

    def _translated(self, operation: str) -> translated:
        return translated(operation, self.path)

    @contextmanager
    def _transaction(self, operation: str) -> Iterator[None]:
        """A transaction: on disk at the end of the block, rolled back if the block raises."""
        with self._translated(operation), written_to(self._files, operation):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
