"""Tables `stream` and `checkpoint`: the streams' keys and records, each with its checksum.

Nothing here begins or ends a transaction; `Database` does. So adding and removing streams has two steps: the
statements, and after the commit the numbers in memory.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.store.checksum import checksum
from stream_lstm.store.entry import STREAM_NUMBER_MAX
from stream_lstm.store.faults import corrupt

CHUNK_ROWS = 4_096  # bounds the memory of a read: 4 MiB with the default model's records of about 1 KiB
SEEN_MAX = 2.0**32  # epoch seconds; the registry keeps whole ones in four bytes
PARAMETERS_MAX = 512  # of one statement; SQLite before 3.32 allows 999 (https://sqlite.org/limits.html)
_SEEN = struct.Struct("<d")

_COLUMNS = "SELECT s.id, s.key, s.mark, c.entry, c.seen, c.mark, c.record"
_SELECT = f"{_COLUMNS} FROM stream AS s LEFT JOIN checkpoint AS c ON c.id = s.id"
_Selected = tuple[int, str, int, int | None, float | None, int | None, bytes | None]


class StoredRecord(NamedTuple):
    """Record of one stream, as a checkpoint writes it.

    Attributes:
        stream: its number.
        entry: the last entry that the content reflects.
        seen: when the stream's last event arrived, epoch seconds.
        content: the record's bytes.
    """

    stream: int
    entry: int
    seen: float
    content: bytes

    @property
    def checksum(self) -> int:
        """Checksum over all attributes."""
        return checksum(_SEEN.pack(self.seen) + self.content, self.stream, self.entry)


class Rows(NamedTuple):
    """Streams and their records, one of each per stream; zeros where no record is written yet.

    Attributes:
        ids: (N,) the streams' numbers.
        keys: N of them.
        entries: (N,) the last entry that each record reflects.
        seen: (N,) when each stream's last event arrived, epoch seconds.
        records: N records, one after another.
    """

    ids: NDArray[np.int64]
    keys: list[str]
    entries: NDArray[np.int64]
    seen: NDArray[np.float64]
    records: bytes


class Checkpoint:
    """Streams and their records.

    Args:
        path: of the file, for errors.
        row_bytes: size of a record.
        next_stream_id: the smallest number allowed, from table `meta`.

    Attributes:
        streams: how many there are.
        row_bytes: size of a record.
        next_stream_id: greater than every number ever used.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: str, *, row_bytes: int, next_stream_id: int
    ) -> None:
        self._connection = connection
        self._path = path
        self.row_bytes = row_bytes
        newest, count = connection.execute("SELECT max(id), count(*) FROM stream").fetchone()
        self.streams: int = count
        self.next_stream_id: int = max((newest or 0) + 1, next_stream_id)

    def insert_streams(self, streams: Sequence[tuple[int, str]]) -> None:
        """Write new streams: numbers and keys."""
        rows = [(stream, key, checksum(key.encode(), stream)) for stream, key in streams]
        self._connection.executemany("INSERT INTO stream VALUES (?, ?, ?)", rows)

    def note_inserted(self, streams: Sequence[tuple[int, str]]) -> None:
        """Note that new streams are durable."""
        self.next_stream_id = max(self.next_stream_id, *(stream + 1 for stream, _ in streams))
        self.streams += len(streams)

    def write(self, records: Sequence[StoredRecord]) -> None:
        """Write records in place of the streams' earlier ones."""
        rows = [(r.stream, r.entry, r.seen, r.checksum, r.content) for r in records]
        self._connection.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", rows)

    def delete_streams(self, streams: Sequence[int]) -> None:
        """Delete streams and their records."""
        numbers = [(stream,) for stream in streams]
        self._connection.executemany("DELETE FROM stream WHERE id = ?", numbers)
        self._connection.executemany("DELETE FROM checkpoint WHERE id = ?", numbers)

    def note_deleted(self, streams: Sequence[int]) -> None:
        """Note that the deletion of streams is durable."""
        self.streams -= len(streams)

    def convert_all(self, function: Callable[[bytes], bytes], row_bytes: int) -> int:
        """Write all records anew, converted; returns how many there are.

        Args:
            function: from N records to N of another size.
            row_bytes: that size.
        """
        # Reading goes along the table of streams, and writing changes only the records read so far.
        converted = sum(self._convert(rows, function, row_bytes) for rows in self.rows())
        self.row_bytes = row_bytes
        return converted

    def _convert(self, rows: Rows, function: Callable[[bytes], bytes], row_bytes: int) -> int:
        """The same for these streams.

        Args:
            function: from N records to N of another size.
            row_bytes: that size.
        """
        contents = function(rows.records)
        columns = zip(rows.ids.tolist(), rows.entries.tolist(), rows.seen.tolist(), strict=True)
        records = [
            StoredRecord(stream, entry, seen, contents[n * row_bytes : (n + 1) * row_bytes])
            for n, (stream, entry, seen) in enumerate(columns)
            if entry  # of a stream without one there is no record yet
        ]
        self.write(records)
        return len(records)

    def rows(self) -> Iterator[Rows]:
        """Read all streams in the order of their numbers, `CHUNK_ROWS` at a time.

        Raises:
            StateCorrupt: a record or a key is damaged, or a record belongs to no stream.
        """
        selected = self._connection.execute(f"{_SELECT} ORDER BY s.id")
        (missing,) = self._connection.execute("SELECT count(*) FROM checkpoint").fetchone()
        while chunk := selected.fetchmany(CHUNK_ROWS):
            missing -= sum(record is not None for *_, record in chunk)
            yield self._verified(chunk)
        if missing:
            raise corrupt(self._path, f"{missing} records belong to no stream")

    def rows_of(self, keys: Sequence[str]) -> Rows:
        """Read those of these streams that exist, by key."""
        return self._where("s.key", keys)

    def rows_by_id(self, ids: Sequence[int]) -> Rows:
        """Read those of these streams that exist, by number."""
        return self._where("s.id", ids)

    def _where(self, column: str, values: Sequence[str] | Sequence[int]) -> Rows:
        selected: list[_Selected] = []
        for start in range(0, len(values), PARAMETERS_MAX):
            part = values[start : start + PARAMETERS_MAX]
            places = ", ".join("?" * len(part))
            selected += self._connection.execute(f"{_SELECT} WHERE {column} IN ({places})", part).fetchall()
        return self._verified(selected)

    def _verified(self, selected: Iterable[_Selected]) -> Rows:
        blank = bytes(self.row_bytes)
        ids, keys, entries, times, records = [], [], [], [], []
        for stream, key, key_checksum, entry, seen, record_checksum, content in selected:
            if key_checksum != checksum(key.encode(), stream):
                raise corrupt(self._path, f"key of stream {stream} does not match its checksum")
            record = StoredRecord(stream, entry or 0, seen or 0.0, blank if content is None else content)
            if content is not None and (record_checksum != record.checksum or len(content) != len(blank)):
                raise corrupt(self._path, f"record of {key!r} does not match its checksum or size")
            ids.append(stream)
            keys.append(key)
            entries.append(record.entry)
            times.append(record.seen)
            records.append(record.content)
        rows = Rows(
            np.array(ids, np.int64),
            keys,
            np.array(entries, np.int64),
            np.array(times, np.float64),
            b"".join(records),
        )
        self._require_ranges(rows)
        return rows

    def _require_ranges(self, rows: Rows) -> None:
        """Compare values whose checksum matches with their ranges: a file can be made by anyone."""
        (last_entry,) = self._connection.execute("SELECT max(number) FROM journal").fetchone()
        wrong = (rows.ids < 1) | (rows.ids > STREAM_NUMBER_MAX)
        wrong |= (rows.entries < 0) | (rows.entries > (last_entry or 0))
        wrong |= ~((rows.seen >= 0.0) & (rows.seen < SEEN_MAX))
        if wrong.any():
            n = int(np.flatnonzero(wrong)[0])
            values = f"number {rows.ids[n]}, entry {rows.entries[n]}, last seen {rows.seen[n]}"
            raise corrupt(self._path, f"record of {rows.keys[n]!r} has a value out of range: {values}")

    def last_seen_before(self, before: float, limit: int) -> list[tuple[int, str]]:
        """Numbers and keys of streams without an event since this time, in no order.

        Args:
            before: epoch seconds.
            limit: how many at most.

        Raises:
            StateCorrupt: one is damaged.
        """
        selected = self._connection.execute(
            f"{_COLUMNS} FROM checkpoint AS c JOIN stream AS s ON s.id = c.id WHERE c.seen < ? LIMIT ?",
            (before, limit),
        ).fetchall()
        rows = self._verified(selected)
        return list(zip(rows.ids.tolist(), rows.keys, strict=True))

    def newest_seen(self) -> float | None:
        """Arrival of the newest event in a record, epoch seconds; None without a record."""
        (newest,) = self._connection.execute("SELECT max(seen) FROM checkpoint").fetchone()
        return None if newest is None else float(newest)

    def validate(self, last_entry: int) -> None:
        """Check the invariants.

        Args:
            last_entry: number of the last committed entry.

        Raises:
            AssertionError: one does not hold.
        """
        newest, streams = self._connection.execute("SELECT max(id), count(*) FROM stream").fetchone()
        assert self.streams == streams, f"{self.streams} streams are counted, {streams} are in the table"
        assert self.next_stream_id > (newest or 0), f"stream {newest} is not below {self.next_stream_id}"
        rows = self._connection.execute(
            "SELECT c.id, s.id, c.entry, length(c.record)"
            " FROM checkpoint AS c LEFT JOIN stream AS s ON s.id = c.id"
        )
        for record, stream, entry, size in rows:
            assert stream is not None, f"record {record} belongs to no stream"
            assert 0 <= entry <= last_entry, f"record {record} reflects entry {entry} of {last_entry}"
            assert size == self.row_bytes, f"record {record} has {size} bytes instead of {self.row_bytes}"
