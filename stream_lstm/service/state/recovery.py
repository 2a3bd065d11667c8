"""Memory after a restart: the checkpoint's rows, and the journal applied to them once more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.dedup import DedupWindow
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import NOBODY, Memories
from stream_lstm.core.model.file import Model
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.events import Events
from stream_lstm.service.publications import Publication, PublicationBuilder
from stream_lstm.store.checkpoint import Rows
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry
from stream_lstm.store.journal import WINDOW_MESSAGES


@dataclass
class RecoveredState:
    """Everything that an undisturbed run would have now.

    Attributes:
        memories: as after the last committed entry.
        written: (rows,) the entry that each row's record on disk reflects.
        number: of the last committed entry.
        next_stream: the number of the next new stream.
        resend: entries whose publications may not have left, and these, oldest first.
        on_disk: how many streams wait on disk.
        replayed: how many events were applied again.
    """

    engine: Engine
    memories: Memories
    window: DedupWindow
    written: NDArray[np.int64]
    number: int
    published_through: int
    acked_through: int
    next_stream: int
    on_disk: int
    resend: list[tuple[int, list[Publication]]]
    replayed: int


def spare_rows(batch_events_max: int) -> int:
    """Rows beside `streams_max`, for streams that must be there at once before others can leave."""
    return max(4 * batch_events_max, 4_096)


def recover(
    database: Database,
    model: Model,
    builder: PublicationBuilder,
    *,
    streams_max: int,
    batch_events_max: int = 1_024,
    interval: float = INTERVAL,
) -> RecoveredState:
    """Read the state and bring memory up to the last committed entry.

    Where more streams are known than memory is meant to hold, only those come that the journal speaks of;
    the others wait on disk for their next event.

    Raises:
        StateError: the state cannot be read.
    """
    found = load(database)
    most = streams_max + spare_rows(batch_events_max)
    if database.streams <= streams_max:
        chunks = database.rows()
    else:
        spoken_of = [entry.batch.streams for entry in database.entries(found.horizon - 1)]
        needed = np.unique(np.concatenate([np.empty(0, np.intp), *spoken_of])).tolist()
        most = max(most, len(needed))
        chunks = iter([database.rows_by_id(needed)])
    memories = Memories(model.spec, rows_max=most)
    engine = Engine(model, memories, interval=interval)
    keys, row_of = _read_rows(chunks, memories, found.next_stream_id)
    written = memories.applied.copy()
    resend: list[tuple[int, list[Publication]]] = []
    replayed = 0
    for entry in database.entries(found.horizon - 1):
        publications, count = _replay(entry, engine, builder, keys, row_of)
        replayed += count
        if entry.number > found.published_through:
            resend.append((entry.number, publications))
    return RecoveredState(
        engine=engine,
        memories=memories,
        window=DedupWindow(map(tuple, found.window.tolist())),
        written=written,
        number=found.last_entry,
        published_through=found.published_through,
        acked_through=found.acked_through,
        next_stream=found.next_stream_id,
        on_disk=database.streams - len(memories),
        resend=resend,
        replayed=replayed,
    )


def _read_rows(
    chunks: Iterator[Rows], memories: Memories, next_stream: int
) -> tuple[dict[int, str], NDArray[np.intp]]:
    """Fill memory from the checkpoint; returns keys and rows by stream number (row 0: not there)."""
    keys: dict[int, str] = {}
    row_of = np.full(next_stream, NOBODY, np.intp)
    for chunk in chunks:
        rows = memories.restore_all(chunk.keys, chunk.ids, chunk.records)
        memories.applied[rows] = chunk.entries
        memories.seen[rows] = np.where(chunk.entries, chunk.seen, time.time())
        row_of[chunk.ids] = rows
        keys.update(zip(chunk.ids.tolist(), chunk.keys, strict=True))
    return keys, row_of


def _replay(
    entry: Entry, engine: Engine, builder: PublicationBuilder, keys: dict[int, str], row_of: NDArray[np.intp]
) -> tuple[list[Publication], int]:
    """Apply those events of an entry that their rows do not reflect yet."""
    memories = engine.memories
    rows = row_of[entry.batch.streams]
    fresh = (rows != NOBODY) & (memories.applied[rows] < entry.number)
    batch, rows = entry.batch.select(fresh), rows[fresh]
    predictions = engine.apply(batch.with_streams(rows))
    memories.applied[rows] = entry.number
    memories.seen[rows] = time.time()  # at worst forgotten late
    events = Events.from_batch([keys[stream] for stream in batch.streams.tolist()], batch)
    return builder.build(events, predictions, entry.rejected), len(rows)


class StoredState(NamedTuple):
    """Entry and stream numbers of a state file, and the messages of its dedup window.

    Attributes:
        last_entry: number of the last committed entry, 0 if there is none.
        published_through: the last entry whose predictions are known to have reached the broker.
        acked_through: the last entry up to which the broker was known to have every acknowledgement.
        horizon: the first entry that must be applied to the records.
        next_stream_id: number of the next new stream.
        window: (M, 3) messages that the broker may send again: digests of topic and content, entry; oldest
            first.
    """

    last_entry: int
    published_through: int
    acked_through: int
    horizon: int
    next_stream_id: int
    window: NDArray[np.uint64]


def load(database: Database) -> StoredState:
    """Read what recovery needs beside the records.

    Raises:
        StateCorrupt: an entry is missing or damaged.
    """
    messages = [np.empty((0, 3), np.uint64)]
    for entry in database.entries(0):
        number = np.full((len(entry.digests), 1), entry.number, np.uint64)
        messages.append(np.hstack([entry.digests, number]))
    return StoredState(
        last_entry=database.last_entry,
        published_through=database.published_through,
        acked_through=database.acked_through,
        horizon=database.horizon,
        next_stream_id=database.next_stream_id,
        window=np.concatenate(messages)[-WINDOW_MESSAGES:],
    )
