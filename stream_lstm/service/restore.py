"""Memory after a restart: the checkpoint's rows, and the journal applied to them once more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import Model
from stream_lstm.core.window import ReplayWindow
from stream_lstm.errors import SettingsError
from stream_lstm.events import Events
from stream_lstm.service.outbox import Outbox, Publication
from stream_lstm.store import recovery
from stream_lstm.store.database import Database
from stream_lstm.store.journal import Entry


@dataclass
class Restored:
    """Everything that an undisturbed run would have now.

    Attributes:
        memories: as after the last committed entry.
        written: (rows,) the entry that each row's record on disk reflects.
        number: of the last committed entry.
        next_stream: the number of the next new stream.
        resend: entries whose publications may not have left, and these, oldest first.
        replayed: how many events were applied again.
    """

    engine: Engine
    memories: Memories
    window: ReplayWindow
    written: NDArray[np.int64]
    number: int
    sent: int
    next_stream: int
    resend: list[tuple[int, list[Publication]]]
    replayed: int


def restore(database: Database, model: Model, outbox: Outbox, *, streams_max: int) -> Restored:
    """Read the state and bring memory up to the last committed entry.

    Raises:
        SettingsError: there are more streams on disk than `streams_max`.
        StateError: the state cannot be read.
    """
    memories = Memories(model.description, streams_max=streams_max)
    engine = Engine(model, memories)
    found = recovery.load(database)
    keys, row_of = _read_rows(database, memories, found.next_stream_id)
    written = memories.applied.copy()
    resend: list[tuple[int, list[Publication]]] = []
    replayed = 0
    for entry in database.entries(found.horizon - 1):
        publications, count = _replay(entry, engine, outbox, keys, row_of)
        replayed += count
        if entry.number > found.sent:
            resend.append((entry.number, publications))
    return Restored(
        engine=engine,
        memories=memories,
        window=ReplayWindow((topic, content) for topic, content in found.window.tolist()),
        written=written,
        number=found.last_entry,
        sent=found.sent,
        next_stream=found.next_stream_id,
        resend=resend,
        replayed=replayed,
    )


def _read_rows(
    database: Database, memories: Memories, next_stream: int
) -> tuple[dict[int, str], NDArray[np.intp]]:
    """Fill memory from the checkpoint; returns keys and rows by stream number."""
    keys: dict[int, str] = {}
    row_of = np.zeros(next_stream, np.intp)
    for chunk in database.rows():
        if len(memories) + len(chunk.keys) > memories.streams_max:
            raise SettingsError(
                "limits.streams_max", f"is {memories.streams_max}, and the state holds more streams"
            )
        rows = memories.restore_all(chunk.keys, chunk.ids, chunk.records)
        memories.applied[rows] = chunk.entries
        row_of[chunk.ids] = rows
        keys.update(zip(chunk.ids.tolist(), chunk.keys, strict=True))
    return keys, row_of


def _replay(
    entry: Entry, engine: Engine, outbox: Outbox, keys: dict[int, str], row_of: NDArray[np.intp]
) -> tuple[list[Publication], int]:
    """Apply those events of an entry that their rows do not reflect yet."""
    memories = engine.memories
    rows = row_of[entry.streams]
    fresh = memories.applied[rows] < entry.number
    rows, times, values = rows[fresh], entry.times[fresh], entry.values[fresh]
    predictions = engine.run(rows, times, values)
    memories.applied[rows] = entry.number
    events = Events(
        keys=[keys[stream] for stream in entry.streams[fresh].tolist()],
        times=times.tolist(),
        clocks=entry.clocks[fresh].tolist(),
        values=values.ravel().tolist(),
    )
    return outbox.publications(events, predictions, entry.rejected), len(rows)
