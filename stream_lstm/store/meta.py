"""Table `meta` of a state file: names and values, read as a whole, checked, and covered by one checksum.

The checksum is a row of the table, written in the transaction of every change. Files of format 1 have none;
their owner adds it when it opens them. Values are also compared with their ranges, since a file can be made
by anyone.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from stream_lstm.store.entry import STREAM_NUMBER_MAX
from stream_lstm.store.faults import corrupt
from stream_lstm.store.files import FORMAT_VERSION, KEY_BYTES, Identity

CHECKSUM = "checksum"
MILLISECONDS_MAX = 10**15 - 1  # of a start, since 1970
NUMBER_MAX = 2**62  # of entries: beyond what a service can reach, below SQLite's largest integer
ROW_BYTES_MAX = 2**30
FILTERS_MAX = 100_000

Row = tuple[str, str | int]


class Owner(NamedTuple):
    """Identity of the service that owns a file; copies of the file share it.

    Attributes:
        name: of the service, random; empty in a file that version 0.1 made.
        key: secret that signs the service's messages.
        started_ms: start of the last run, milliseconds since 1970; rises, whatever the clock does.
    """

    name: str
    key: bytes
    started_ms: int


class Meta(NamedTuple):
    """Content of the table.

    Attributes:
        identity: the model and record layout that the file belongs to.
        horizon: the first entry that recovery must apply to the records.
        next_stream: the smallest number allowed for a new stream.
        filters: topic filters that our session at the broker is known to subscribe to, sorted.
        clean: the last entry when the last owner closed with nothing in flight; None: it never did.
        owner: None in a file that its owner has not opened since version 0.1.
    """

    identity: Identity
    horizon: int
    next_stream: int
    filters: list[str]
    clean: int | None
    owner: Owner | None


def read(connection: sqlite3.Connection, path: str) -> Meta:
    """Read the table.

    Raises:
        StateCorrupt: it does not match its checksum, is incomplete, or a value is out of its range.
    """
    # First: a file that its owner completes meanwhile has the checksum by then.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    rows = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    found = rows.pop(CHECKSUM, None)
    if (found is None and version == FORMAT_VERSION) or (found is not None and found != _checksum(rows)):
        raise corrupt(path, "its table meta does not match its checksum")
    try:
        row_bytes = _number(rows["row_bytes"], ROW_BYTES_MAX)
        clean = rows.get("clean")
        return Meta(
            identity=Identity(_text(rows["model"]), _text(rows["row"]), row_bytes),
            horizon=_number(rows["horizon"], NUMBER_MAX),
            next_stream=_number(rows.get("next_stream", 1), STREAM_NUMBER_MAX + 1),
            filters=_filters(rows.get("filters", "[]")),
            clean=None if clean is None else _number(clean, NUMBER_MAX, least=0),
            owner=_owner(rows) if "key" in rows else None,
        )
    except (KeyError, ValueError, RecursionError) as error:
        raise corrupt(path, f"its table meta is incomplete or damaged: {error}") from None


def write(connection: sqlite3.Connection, *rows: Row) -> None:
    """Set values, and the checksum; within a transaction of the caller's."""
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
    known = dict(connection.execute("SELECT name, value FROM meta WHERE name != ?", (CHECKSUM,)).fetchall())
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (CHECKSUM, _checksum(known)))


def filters_row(filters: Sequence[str]) -> Row:
    """The row of `Meta.filters`."""
    return "filters", json.dumps(sorted(filters))


def start_run(connection: sqlite3.Connection, last: Owner | None, now: float) -> Owner:
    """Set the start of a run, and a key where there is none; within a transaction of the caller's.

    Args:
        last: the owner until now; None in a file of version 0.1.
        now: epoch seconds.
    """
    last = last or Owner("", secrets.token_bytes(KEY_BYTES), 0)
    started_ms = min(max(last.started_ms + 1, int(now * 1e3)), MILLISECONDS_MAX)
    owner = last._replace(started_ms=started_ms)
    write(connection, ("name", owner.name), ("key", owner.key.hex()), ("started_ms", started_ms))
    return owner


def _owner(rows: dict[str, object]) -> Owner:
    key = bytes.fromhex(_text(rows["key"]))
    if len(key) != KEY_BYTES:
        raise ValueError("its key is too short or too long")
    return Owner(_text(rows["name"]), key, _number(rows["started_ms"], MILLISECONDS_MAX, least=0))


def _checksum(rows: dict[str, object]) -> int:
    """XXH3 of all rows but its own, as 63 bits: SQLite's integers are signed."""
    content = json.dumps(sorted((name, type(value).__name__, str(value)) for name, value in rows.items()))
    return xxhash.xxh3_64_intdigest(content.encode("utf-8", "surrogatepass")) >> 1


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _number(value: object, most: int, *, least: int = 1) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is not a number from {least} to {most}")
    return value


def _filters(value: object) -> list[str]:
    filters = json.loads(_text(value))
    if not isinstance(filters, list) or len(filters) > FILTERS_MAX:
        raise ValueError("filters are not a list")
    return [_text(each) for each in filters]
