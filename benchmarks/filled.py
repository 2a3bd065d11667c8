"""State file with many streams, written without a broker, as a service leaves it after a long run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.events import Batch
from stream_lstm.service.assembly import identity, load_model
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry

BATCH = 4_096  # streams
EVENTS = 4  # of each stream


def name(n: int) -> str:
    """Name of the n-th stream, from 0."""
    return f"plant/line{n % 40}/sensor{n:07}:v"


def fill(path: Path, streams: int) -> None:
    """Write a state file with `streams` streams of `EVENTS` events each."""
    model = load_model(None)
    memories = Memories(model.spec, rows_max=streams)
    engine = Engine(model, memories)
    database = Database.open(path, identity(model), fsync=False)
    rng = np.random.default_rng(0)
    for start in range(0, streams, BATCH):
        keys = [(n + 1, name(n)) for n in range(start, min(start + BATCH, streams))]
        rows = np.array([memories.add(key, n) for n, key in keys], np.intp)
        for n in range(EVENTS):
            times = np.full(len(rows), 1.7e9 + 60.0 * n)
            values = rng.normal(20.0, 1.0, (len(rows), 1))
            batch = Batch.timed(rows, times, values)
            engine.apply(batch)
        number = start // BATCH + 1
        batch = batch.with_streams(memories.ids[rows].astype(np.intp))
        no_digests = np.empty((0, 2), np.uint64)
        entry = Entry(number, model.id, batch, keys, no_digests, [], number - 1, number - 1)
        database.commit(entry)
        columns = memories.ids[rows].tolist(), [number] * len(rows), times.tolist(), memories.records(rows)
        database.checkpoint(list(map(StoredRecord, *columns)))
    database.close_cleanly()
    database.close()
