"""Crash recovery: the checkpoint's records, and the journal's later entries applied to them once more.

Memory after recovery is the fold of `Engine.apply` over the journal, bit for bit: a record on disk is
the state after the entry it names, and the journal holds every later one. Predictions that may not have
reached the broker are made again on the way, from the same events, so they have the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.dedup import DedupWindow
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import NULL_ROW, Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.events import Events
from stream_lstm.service.broker import Publication
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.state.registry import Registry
from stream_lstm.store.checkpoint import Rows
from stream_lstm.store.database import Database
from stream_lstm.store.entry import STREAM_NUMBER_MAX, Entry
from stream_lstm.store.faults import corrupt
from stream_lstm.store.journal import WINDOW_MESSAGES

SPARE_BATCHES = 4  # a batch's streams must be in memory before others can be evicted
NO_STREAM = STREAM_NUMBER_MAX + 1
SPARE_ROWS_MIN = 4_096  # so that small batches do not make every eviction wait for a single row


@dataclass
class RecoveredState:
    """The state that an undisturbed run would have now.

    Attributes:
        engine: over the memories as after the last committed entry.
        registry: which entry each of their records reflects, in memory and on disk.
        dedup: the messages that the broker may send again.
        number: of the last committed entry.
        published_through: predictions of entries up to this one have reached the broker.
        acked_through: the broker knows the messages of entries up to this one as acknowledged.
        last_fresh: the last entry with a message that the broker may send again unless it is acknowledged.
        next_stream: number of the next new stream.
        on_disk: streams that are known and not in memory.
        resend: entries whose publications may not have reached the broker, and these, oldest first.
        replayed: events that were applied again.
    """

    engine: Engine
    registry: Registry
    dedup: DedupWindow
    number: int
    published_through: int
    acked_through: int
    last_fresh: int
    next_stream: int
    on_disk: int
    resend: list[tuple[int, list[Publication]]]
    replayed: int

    @property
    def memories(self) -> Memories:
        """The engine's."""
        return self.engine.memories


def spare_rows(batch_events_max: int) -> int:
    """Rows beyond `streams_max`, for streams that must be in memory before others can be evicted."""
    return max(SPARE_BATCHES * batch_events_max, SPARE_ROWS_MIN)


def recover(
    database: Database,
    model: LstmModel,
    builder: PublicationBuilder,
    *,
    streams_max: int,
    now: float,
    batch_events_max: int = 1_024,
    interval: float = INTERVAL,
) -> RecoveredState:
    """Read the state, and bring memory up to the last committed entry.

    Where more streams are known than `streams_max`, only those that the journal names are read; the others
    stay on disk until their next event.

    Args:
        builder: makes the publications of replayed entries.
        now: epoch seconds; counts as the arrival of events whose own arrival is not known.

    Raises:
        StateError: the state cannot be read.
    """
    messages, first = committed_messages(database), database.horizon
    rows_max = streams_max + spare_rows(batch_events_max)
    if database.streams <= streams_max:
        chunks = database.rows()
    else:
        named = [entry.batch.streams for entry in database.entries(first - 1)]
        needed = np.unique(np.concatenate([np.empty(0, np.intp), *named])).tolist()
        rows_max = max(rows_max, len(needed))
        chunks = iter([database.rows_by_id(needed)])
    engine = Engine(model, Memories(model.spec, rows_max=rows_max), interval=interval)
    replay = _Replay(engine, Registry(rows_max=rows_max), builder, now)
    replay.read(chunks)
    resend: list[tuple[int, list[Publication]]] = []
    for entry in database.entries(first - 1):
        if (features := entry.batch.values.shape[1]) != len(model.spec.features):
            raise corrupt(str(database.path), f"journal entry {entry.number} has {features} features")
        publications = replay.apply(entry)
        if entry.number > database.published_through:
            resend.append((entry.number, publications))
    replay.require_memory(str(database.path))
    return RecoveredState(
        engine=engine,
        registry=replay.registry,
        dedup=DedupWindow(map(tuple, messages.tolist())),
        number=database.last_entry,
        published_through=database.published_through,
        acked_through=database.acked_through,
        last_fresh=int(messages[-1, 2]) if len(messages) else 0,
        next_stream=database.next_stream_id,
        on_disk=database.streams - len(engine.memories),
        resend=resend,
        replayed=replay.events,
    )


def committed_messages(database: Database) -> NDArray[np.uint64]:
    """The messages that the broker may send again, (M, 3), oldest first: digests of topic and content, entry.

    Raises:
        StateCorrupt: an entry is missing or damaged.
    """
    messages: deque[NDArray[np.uint64]] = deque([np.empty((0, 3), np.uint64)])
    count = 0
    for entry in database.entries(0):
        number = np.full((len(entry.digests), 1), entry.number, np.uint64)
        messages.append(np.hstack([entry.digests, number]))
        count += len(number)
        while count - len(messages[0]) >= WINDOW_MESSAGES:  # the journal may hold a long history before it
            count -= len(messages.popleft())
    return np.concatenate(messages)[-WINDOW_MESSAGES:]


class _Replay:
    """Memory on its way from the checkpoint to the last entry.

    Attributes:
        events: how many were applied.
    """

    def __init__(self, engine: Engine, registry: Registry, builder: PublicationBuilder, now: float) -> None:
        self._engine = engine
        self._builder = builder
        self._keys: dict[int, str] = {}  # by stream number
        # Numbers of the streams read, ascending, and their rows: a table of all numbers ever given would grow
        # with the streams that came and went. The last number is no stream's.
        self._streams = np.array([NO_STREAM], np.int64)
        self._rows = np.array([NULL_ROW], np.intp)
        self._now = now
        self.registry = registry
        self.events = 0

    def read(self, chunks: Iterator[Rows]) -> None:
        """Fill memory from the checkpoint."""
        ids, found = [self._streams], [self._rows]
        for chunk in chunks:
            rows = self._engine.memories.restore_all(chunk.keys, chunk.ids, chunk.records)
            self.registry.record_read(rows, chunk.entries, np.where(chunk.entries, chunk.seen, self._now))
            ids.append(chunk.ids)
            found.append(rows)
            self._keys.update(zip(chunk.ids.tolist(), chunk.keys, strict=True))
        streams, places = np.concatenate(ids), np.concatenate(found)
        order = np.argsort(streams)
        self._streams, self._rows = streams[order], places[order]

    def require_memory(self, path: str) -> None:
        """Check that every stream has a record or events: its first event is in the entry that adds it.

        Raises:
            StateCorrupt: one has neither.
        """
        empty = self._streams[:-1][self.registry.applied[self._rows[:-1]] == 0]
        if len(empty):
            raise corrupt(path, f"the record of {self._keys[int(empty[0])]!r} is missing")

    def _rows_of(self, streams: NDArray[np.intp]) -> NDArray[np.intp]:
        """The row of each of these streams; the null row of one that was deleted since."""
        at = np.searchsorted(self._streams, streams)
        return np.where(self._streams[at] == streams, self._rows[at], NULL_ROW)

    def apply(self, entry: Entry) -> list[Publication]:
        """Apply those events of an entry that their rows do not reflect yet; returns its publications."""
        rows = self._rows_of(entry.batch.streams)
        missing = (rows != NULL_ROW) & (self.registry.applied[rows] < entry.number)
        batch, rows = entry.batch.select(missing), rows[missing]
        predictions = self._engine.apply(batch.with_streams(rows))
        self.registry.record_applied(rows, entry.number, self._now)  # at worst a stream expires later
        self.events += len(rows)
        events = Events.from_batch([self._keys[stream] for stream in batch.streams.tolist()], batch)
        return self._builder.build(events, predictions, entry.rejected)
