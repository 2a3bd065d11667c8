"""Entries, records and state files for the store's tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from stream_lstm.events import Batch
from stream_lstm.store import meta
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry, Rejection
from stream_lstm.store.files import Identity

IDENTITY = Identity(model="m:1", row="[('seq', '<i8'), ('value', '<f8')]", row_bytes=16)


def entry(number: int, *, events: int = 3, features: int = 1, digests: int = 2, **changes: Any) -> Entry:
    rng = np.random.default_rng(number)
    made: dict[str, Any] = {
        "number": number,
        "model": "m:1",
        "batch": Batch(
            streams=rng.integers(1, 9, events),
            times=rng.uniform(1e9, 2e9, events),
            marks=rng.integers(0, 3, events).astype(np.uint8),
            values=rng.normal(0, 1, (events, features)),
        ),
        "new_streams": [],
        "digests": rng.integers(0, 2**63, (digests, 2)).astype(np.uint64),
        "rejected": [Rejection("a/b", b"\xff", "malformed", "not JSON", 1e9)] if number % 2 else [],
        "published_through": number - 1,
        "acked_through": max(number - 2, 0),
    }
    columns = {name: changes.pop(name) for name in ("times", "values") if name in changes}
    return Entry(**(made | {"batch": made["batch"]._replace(**columns)} | changes))


def record(n: int) -> bytes:
    return n.to_bytes(16, "little")


def opened(path: Path, **options: Any) -> Database:
    return Database.open(path, IDENTITY, **options)


def filled(path: Path, entries: int = 5) -> Database:
    """A state file with streams 1 to 3, of which 1 and 2 have a record."""
    database = opened(path)
    database.commit(entry(1, new_streams=[(1, "a"), (2, "b"), (3, "c/ü")]))
    for number in range(2, entries + 1):
        database.commit(entry(number))
    database.checkpoint([StoredRecord(1, 2, 5.0, record(10)), StoredRecord(2, 3, 6.0, record(20))])
    database.validate()
    return database


def same(first: Entry, second: Entry) -> bool:
    plain = ("number", "model", "new_streams", "rejected", "published_through", "acked_through")
    columns = zip((*first.batch, first.digests), (*second.batch, second.digests), strict=True)
    return all(getattr(first, name) == getattr(second, name) for name in plain) and all(
        np.array_equal(ours, theirs) for ours, theirs in columns
    )


def numbers(database: Database) -> list[int]:
    """Numbers of the journal's entries."""
    return [each.number for each in database.entries(0)]


def alter(path: Path, statement: str, *, signed: bool = True) -> None:
    """Run a statement on a closed state file, behind the store's back.

    Args:
        signed: the checksum of table `meta` is made to match.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
        if signed and " meta " in statement:
            meta.write(connection)


def read_all(path: Path) -> None:
    """Open a state file and read every row of it."""
    with closing(opened(path)) as database:
        for _ in database.rows():
            pass
        for _ in database.entries(0):
            pass
