"""A small state file with a row of every kind, all that a service reads from it, and flipped bits in it.

Whichever bit is flipped, the file's reader gets this package's error, or what was written. Pages have 512
bytes, so that in 23 kB the trees have inner pages, records and entries have overflow pages, and some pages
are free.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.errors import StateError
from stream_lstm.events import Batch
from stream_lstm.service.assembly import identity
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.recovery import recover
from stream_lstm.store import snapshot
from stream_lstm.store.checkpoint import Rows, StoredRecord
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry, Rejection
from tests.core.models import random_model

PAGE_BYTES = 512
STREAMS, ENTRIES, HORIZON = 24, 14, 9
NOW = 1_700_000_000.0
MODEL = random_model(units=1, inputs=["value"])
BUILDER = PublicationBuilder(
    Settings().publish, Encoder(MODEL.id, MODEL.spec), status_topic="stream_lstm/status"
)
Read = Callable[[Path], object]


def key(stream: int) -> str:
    """Names are long, so that the index of them has inner pages."""
    return f"plant {stream % 5}/hall/line {stream % 3}/machine/sensor {stream:04}:temperature °C"


def _first(stream: int) -> int:
    """The entry that adds a stream."""
    return (stream - 1) % ENTRIES + 1


def entry(number: int) -> Entry:
    """An entry in which streams appear one after the other, and have events."""
    rng = np.random.default_rng(number)
    new = [n for n in range(1, STREAMS + 1) if _first(n) == number]
    known = [n for n in range(1, STREAMS + 1) if _first(n) < number]
    streams = np.array(new + rng.permutation(known)[:4].tolist(), np.intp)
    return Entry(
        number=number,
        model=MODEL.id,
        batch=Batch(
            streams=streams,
            times=NOW + number + rng.uniform(0, 1, len(streams)),
            marks=np.zeros(len(streams), np.uint8),
            values=np.round(rng.normal(20, 3, (len(streams), 1)), 1),
        ),
        new_streams=[(n, key(n)) for n in new],
        digests=rng.integers(0, 2**63, (number % 3, 2)).astype(np.uint64),
        rejected=[Rejection("a/b", b"\xff", "malformed", "not JSON", NOW)] if number % 4 == 0 else [],
        published_through=max(number - 2, 0),
        acked_through=max(number - 3, 0),
    )


def small_state(path: Path) -> None:
    """Write the file, as a service leaves it that was killed."""
    memories = Memories(MODEL.spec, rows_max=STREAMS)
    engine = Engine(MODEL, memories)
    with closing(Database.open(path, identity(MODEL), window_messages=9, fsync=False)) as database:
        for number in range(1, ENTRIES + 1):
            made = entry(number)
            database.commit(made)
            for stream, name in made.new_streams:
                memories.add(name, stream)
            rows = np.array(memories.rows([key(n) for n in made.batch.streams.tolist()]), np.intp)
            engine.apply(made.batch.with_streams(rows))
            if number in (HORIZON - 1, ENTRIES - 2):
                taken = memories.taken()
                columns = zip(memories.ids[taken].tolist(), memories.records(taken), strict=True)
                records = [StoredRecord(n, number, NOW + n % 7, r) for n, r in columns]
                database.checkpoint([r for r in records if number < HORIZON or r.stream % 2])
        database.trim(HORIZON - 1)
        database.delete([3, 17])
        database.note_filters(["home/+", "plant/#"])
        database.validate()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("VACUUM")
    with closing(Database.open(path, identity(MODEL), window_messages=0, fsync=False)) as database:
        assert database.trim(HORIZON - 1)  # leaves free pages
        database.checkpoint_wal()


def survey(path: Path) -> object:
    """Open the file, recover, read every row in every way, go on, and read again.

    Raises:
        StateError: something is damaged.
    """
    with closing(Database.open(path, identity(MODEL), window_messages=9, fsync=False)) as database:
        found = [*_content(database)]
        database.commit(entry(ENTRIES + 1))
        database.checkpoint([StoredRecord(1, ENTRIES + 1, NOW, bytes(database.identity.row_bytes))])
        database.note_filters(["home/+", "new/#"])
        database.trim(HORIZON - 1)
        database.delete([2])
        database.validate()
        return [*found, *_content(database)]


def restored(path: Path) -> object:
    """Restore the file as a snapshot, and survey what came of it."""
    snapshot.restore(path, path.with_name("restored.db"), replace=False)
    return survey(path.with_name("restored.db"))


def _content(database: Database) -> Iterator[object]:
    names = [key(n) for n in range(1, STREAMS + 3)]
    yield _plain(database.identity), database.filters, database.closed_cleanly
    yield database.streams, database.next_stream_id, database.horizon, database.last_entry
    for streams_max in (100, 1):  # all in memory; and most on disk, where others are read from
        recovered = recover(database, MODEL, BUILDER, streams_max=streams_max, now=NOW, batch_events_max=2)
        memories, registry = recovered.memories, recovered.registry
        taken = memories.taken()
        yield [memories.key(row) for row in taken.tolist()], memories.records(taken)
        yield from (column[taken].tolist() for column in (registry.applied, registry.written, registry.seen))
        yield recovered.dedup._committed
        yield recovered.number, recovered.published_through, recovered.acked_through
        yield recovered.last_fresh, recovered.next_stream, recovered.on_disk, recovered.replayed
        yield recovered.resend
    yield [_plain(rows) for rows in database.rows()]
    yield sorted(zip(*_columns(database.rows_of(names)), strict=True))
    yield _plain(database.rows_by_id(range(STREAMS + 2)))
    yield [_plain(each) for each in database.entries(0)]
    yield database.newest_seen(), sorted(database.last_seen_before(NOW + 4, 100))
    for table in ("meta", "stream", "checkpoint", "journal"):
        yield database._connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def _columns(rows: Rows) -> Iterable[Any]:
    size = len(rows.records) // max(len(rows.keys), 1)
    records = [rows.records[n * size : (n + 1) * size] for n in range(len(rows.keys))]
    return rows.ids.tolist(), rows.keys, rows.entries.tolist(), rows.seen.tolist(), records


def _plain(value: Any) -> object:
    """A value whose `==` is one answer."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return [_plain(getattr(value, each.name)) for each in fields(value)]
    return value


def write(path: Path, content: bytes) -> None:
    """Put a closed file in place of what is there."""
    for old in path.parent.glob("*"):
        old.unlink()
    path.write_bytes(content)


class Undetected(AssertionError):
    """Damage that no error names, and that changes what is read; or an error without a path or a hint."""


def outcome(path: Path, content: bytes, read: Read, expected: object) -> str:
    """Read a damaged file: the class of the error, or "same".

    Raises:
        Undetected: it is neither.
    """
    write(path, content)
    try:
        found = read(path)
    except StateError as error:
        if not error.hint or str(path.parent) not in str(error):
            raise Undetected(error) from None
        return type(error).__name__
    if found != expected:
        raise Undetected("other content")
    return "same"


class Sweep:
    """Flips bits of an undamaged file, one after the other.

    Args:
        folder: empty, and used for this alone.
        read: `survey` of a state file, or `restored` of a snapshot.

    Attributes:
        content: of the undamaged file.
    """

    def __init__(self, folder: Path, read: Read) -> None:
        self._path = folder / "s.db"
        self._read = read
        small_state(self._path)
        if read is restored:
            snapshot.take(self._path, folder / "snapshot.db")
            (folder / "snapshot.db").replace(self._path)
        self.content = self._path.read_bytes()
        write(self._path, self.content)
        self._expected = read(self._path)

    def flip(self, bits: Iterable[int]) -> Counter[str]:
        """Flip each of these bits alone; returns how many ended how."""
        found = Counter[str]()
        for bit in bits:
            damaged = bytearray(self.content)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                found[outcome(self._path, bytes(damaged), self._read, self._expected)] += 1
            except BaseException as error:
                page, at = divmod(bit // 8, PAGE_BYTES)
                error.add_note(f"{self._read.__name__}: bit {bit % 8} of byte {at} of page {page + 1}")
                raise
        return found


def flip_bits(read: Read, place: str | None, bits: slice) -> Counter[str]:
    """Flip these bits of a new file each; for one of several processes."""
    with TemporaryDirectory(prefix="flip-", dir=place) as folder:
        sweep = Sweep(Path(folder), read)
        return sweep.flip(range(len(sweep.content) * 8)[bits])
