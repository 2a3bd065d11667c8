"""Streams and their records as they are read back: each is held against its checksum."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.store.files import checksum
from stream_lstm.store.journal import corrupt

ROWS_A_CHUNK = 4_096
ASKED_AT_ONCE_MAX = 512  # below SQLite's limit of parameters in a statement (https://sqlite.org/limits.html)
_SEEN = struct.Struct("<d")

_ALL = (
    "SELECT s.id, s.key, s.mark, c.entry, c.seen, c.mark, c.record"
    " FROM stream AS s LEFT JOIN checkpoint AS c ON c.id = s.id"
)
_Found = tuple[int, str, int, int | None, float | None, int | None, bytes | None]


class Record(NamedTuple):
    """What is written of one stream at a checkpoint.

    Attributes:
        stream: its number.
        entry: the one that the content reflects.
        seen: when the stream was last heard of, epoch seconds.
        content: its memory.
    """

    stream: int
    entry: int
    seen: float
    content: bytes

    @property
    def checksum(self) -> int:
        """Tells whether all of it is as it was written."""
        return checksum(_SEEN.pack(self.seen) + self.content, self.stream, self.entry)


class Rows(NamedTuple):
    """Some streams and their records, as many as `ids`; zeros where none was written yet."""

    ids: NDArray[np.int64]
    keys: list[str]
    entries: NDArray[np.int64]
    seen: NDArray[np.float64]
    records: bytes


class Reader:
    """Reads the tables `stream` and `checkpoint`.

    Args:
        path: of the file, for errors.
        row_bytes: size of a record.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, row_bytes: int) -> None:
        self._connection = connection
        self._path = path
        self._row_bytes = row_bytes

    def all(self) -> Iterator[Rows]:
        """All streams, in order of their numbers, by the chunk.

        Raises:
            StateCorrupt: a record or a key is not as it was written.
        """
        found = self._connection.execute(f"{_ALL} ORDER BY s.id")
        (missing,) = self._connection.execute("SELECT count(*) FROM checkpoint").fetchone()
        while chunk := found.fetchmany(ROWS_A_CHUNK):
            missing -= sum(record is not None for *_, record in chunk)
            yield self._checked(chunk)
        if missing:
            raise corrupt(self._path, f"{missing} records belong to no stream")

    def by_key(self, keys: Sequence[str]) -> Rows:
        """Those of these streams that are known."""
        return self._those("s.key", keys)

    def by_id(self, ids: Sequence[int]) -> Rows:
        """Those of these streams that are known."""
        return self._those("s.id", ids)

    def _those(self, column: str, values: Sequence[str] | Sequence[int]) -> Rows:
        found: list[_Found] = []
        for start in range(0, len(values), ASKED_AT_ONCE_MAX):
            some = values[start : start + ASKED_AT_ONCE_MAX]
            places = ", ".join("?" * len(some))
            found += self._connection.execute(f"{_ALL} WHERE {column} IN ({places})", some).fetchall()
        return self._checked(found)

    def _checked(self, found: Iterable[_Found]) -> Rows:
        blank = bytes(self._row_bytes)
        ids, keys, entries, times, records = [], [], [], [], []
        for stream, key, key_mark, entry, seen, marked, content in found:
            if key_mark != checksum(key.encode(), stream):
                raise corrupt(self._path, f"the name of stream {stream} is not as it was written")
            record = Record(stream, entry or 0, seen or 0.0, blank if content is None else content)
            if content is not None and (marked != record.checksum or len(content) != len(blank)):
                raise corrupt(self._path, f"the record of {key!r} is not as it was written")
            ids.append(stream)
            keys.append(key)
            entries.append(record.entry)
            times.append(record.seen)
            records.append(record.content)
        return Rows(
            np.array(ids, np.int64),
            keys,
            np.array(entries, np.int64),
            np.array(times, np.float64),
            b"".join(records),
        )
