"""The line: messages in, memory on, commit, predictions and acknowledgements out. One task owns the engine.

Two tasks, one behind the other. The first takes whatever messages are there, decodes them, pushes their
memories on and hands the batch to the disk; the second waits for the commit, then writes predictions and
acknowledgements. Batches are small when it is quiet and grow under load: what arrives while one is under way
waits in the link. Large ones overlap, so that the disk's time costs nothing: while one is being committed the
next is applied. Small ones do not, since each would only wait behind the commits of those before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest as digest

from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.dedup import DedupWindow, content, contents
from stream_lstm.core.engine import Engine
from stream_lstm.core.predictions import Predictions
from stream_lstm.errors import PayloadError
from stream_lstm.events import CLOCK_BITS, FROZEN, Clock, Events
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.mqtt import Arrival, Message, MqttClient
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import StalenessMonitor
from stream_lstm.service.publications import Publication, PublicationBuilder
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.journal import Entry, Rejection

EVENT = int(Clock.EVENT)  # plain: an enum takes its time in a comparison
BATCHES_AHEAD_MAX = 1  # one is committed while the next is applied
OVERLAP_MESSAGES_MIN = 256  # fewer wait until what is under way is out: measured, a third of the delay


@dataclass(slots=True)
class ReadBatch:
    """What a batch of messages turned out to be."""

    events: Events = field(default_factory=Events)
    ends: list[int] = field(default_factory=list)  # number of events after each message that gave some
    messages: list[tuple[Message, float]] = field(default_factory=list)  # these messages, and when they came
    rejected: list[Rejection] = field(default_factory=list)
    topics: list[int] = field(default_factory=list)  # digest of the topic of each that may come again …
    contents: list[int] = field(default_factory=list)  # … and of its content, see `stream_lstm.core.dedup`


class PendingBatch(NamedTuple):
    """Applied, and on its way to the disk and out."""

    number: int
    committed: asyncio.Future[None] | None  # None: there was nothing to commit
    publications: list[Publication]
    predictions: int
    arrivals: Sequence[Arrival]
    fresh: bool  # at least one of the messages that may come again was never seen before


class Pipeline:
    """Owns the engine; runs the line until stopped.

    Args:
        clock: epoch seconds.
    """

    def __init__(
        self,
        *,
        link: MqttClient,
        engine: Engine,
        decoder: Decoder,
        builder: PublicationBuilder,
        state_writer: StateWriter,
        streams: Residency,
        window: DedupWindow,
        freezer: Freezer,
        order: LatenessFilter,
        staleness: StalenessMonitor,
        recorder: Recorder,
        counters: Counters,
        batch_events_max: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._engine = engine
        self._decoder = decoder
        self._builder = builder
        self._state_writer = state_writer
        self._streams = streams
        self._window = window
        self._freezer = freezer
        self._order = order
        self._staleness = staleness
        self._recorder = recorder
        self._counters = counters
        self._batch_events_max = batch_events_max
        self._clock = clock
        self._throttle = Throttle(time.monotonic)
        self._applied: asyncio.Queue[PendingBatch | None] = asyncio.Queue(BATCHES_AHEAD_MAX)
        self._connection = -1
        self._intake: asyncio.Task[None] | None = None
        self._waiting = False
        self._stopping = False
        self.in_hand = 0  # batches applied and not yet published

    async def run(self) -> None:
        """Run until `stop`, or until the disk fails.

        Raises:
            StateError: a commit failed; nothing of it was acknowledged.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._intake = tasks.create_task(self._take_for_ever())
                tasks.create_task(self._give_for_ever())
        except BaseExceptionGroup as group:
            raise _first(group) from None

    def stop(self) -> None:
        """Take no more; `run` returns when what is in hand is committed, published and acknowledged."""
        self._stopping = True
        if self._waiting and self._intake:
            self._intake.cancel()

    async def _take_for_ever(self) -> None:
        while not self._stopping:
            self._waiting = True
            try:
                arrivals = await self._link.receive(self._batch_events_max, self._least)
            except asyncio.CancelledError:
                if self._stopping:
                    break
                raise
            finally:
                self._waiting = False
            batch = await self._take(arrivals)
            self.in_hand += 1
            await self._applied.put(batch)
        await self._applied.put(None)

    def _least(self) -> int:
        """How many messages make the next batch."""
        return min(OVERLAP_MESSAGES_MIN, self._batch_events_max) if self.in_hand else 1

    async def _give_for_ever(self) -> None:
        while (batch := await self._applied.get()) is not None:
            if batch.committed is not None:
                await batch.committed
            await self._link.deliver(batch.number, batch.publications, batch.arrivals, fresh=batch.fresh)
            self._count(batch)
            self.in_hand -= 1
            self._link.reconsider()

    def _count(self, batch: PendingBatch) -> None:
        self._counters.predictions_total += batch.predictions
        now = self._clock()
        for arrival in batch.arrivals:
            self._counters.latency.add(max(now - arrival.time, 0.0), len(arrival.packets))

    async def _take(self, arrivals: Sequence[Arrival]) -> PendingBatch:
        """Everything that happens to messages, but for waiting until they are on the disk."""
        read = ReadBatch()
        for arrival in arrivals:
            self._read(arrival, read)
        rows, new_streams = await self._rows(read)
        self._note(read)
        if not (rows or read.rejected or read.topics):
            return PendingBatch(self._state_writer.number, None, [], 0, arrivals, fresh=False)
        where, now = np.array(rows, np.intp), self._clock()
        entry = self._entry(read, where, new_streams, now)
        committed = self._state_writer.commit(entry)  # the disk works beside us
        predictions = self._apply(entry, where, now)
        publications = self._builder.build(read.events, predictions, read.rejected)
        return PendingBatch(
            entry.number, committed, publications, len(rows), arrivals, fresh=bool(read.topics)
        )

    def _read(self, arrival: Arrival, read: ReadBatch) -> None:
        """Decode one arrival's messages, leaving out copies and our own."""
        if arrival.connection != self._connection:
            self._connection = arrival.connection
            if arrival.resumed:
                self._window.open(self._link.acked_through)
            else:
                self._window.close()
        known = len(read.topics)
        if not self._read_plain(arrival, read):
            self._read_each(arrival, read)
        number = self._state_writer.number + 1
        self._window.remember(zip(read.topics[known:], read.contents[known:], repeat(number)))

    def _read_plain(self, arrival: Arrival, read: ReadBatch) -> bool:
        """Decode messages in one go, if nothing is special about any of them, as is nearly always so."""
        messages, events = arrival.packets, read.events
        assured = [message.packet_id is not None for message in messages]
        again = all(assured)
        if arrival.late or self._window.is_open or (not again and any(assured)):
            return False
        if any(message.retain for message in messages):
            return False
        topics, payloads = [m.topic for m in messages], [m.payload for m in messages]
        before = len(events)
        each = self._decoder.decode_all(topics, payloads, arrival.time, events)  # knows no topic of our own
        if not each:
            return False
        read.ends.extend(range(before + each, len(events) + 1, each))
        read.messages.extend(zip(messages, repeat(arrival.time)))
        if again:
            timed = events.marks[before] == EVENT
            read.topics += map(digest, map(str.encode, topics))
            read.contents += contents(map(digest, payloads), timed=timed)
        return True

    def _read_each(self, arrival: Arrival, read: ReadBatch) -> None:
        """Decode messages one by one."""
        window, events = self._window, read.events
        for message in arrival.packets:
            topic, payload = message.topic, message.payload
            if self._builder.is_own_topic(topic):
                self._counters.own_messages_total += 1
                continue
            if topic == self._freezer.topic:
                self._hear(message, arrival.time, read)
                continue
            again = message.qos != 0  # may come again
            if again:
                about, said = digest(topic.encode()), digest(payload)
                if window.is_open and window.is_duplicate(about, said):
                    self._counters.duplicates_total += 1
                    continue
            before = len(events.keys)
            try:
                wrong = self._decoder.decode(topic, payload, arrival.time, events)
            except PayloadError as error:
                wrong = (error.without_traceback(),)
            for refusal in wrong:
                read.rejected.append(Rejection(topic, payload, refusal.reason, refusal.detail, arrival.time))
            if again:
                timed = before < len(events.marks) and events.marks[before] == Clock.EVENT
                read.topics.append(about)
                read.contents.append(content(said, timed=timed))
            if len(events.keys) > before:
                if message.retain or (arrival.late and message.qos != 0):
                    events.mark_uncertain(before)
                read.ends.append(len(events.keys))
                read.messages.append((message, arrival.time))

    def _hear(self, message: Message, arrived: float, read: ReadBatch) -> None:
        """Freeze what a message asks for."""
        try:
            self._freezer.apply_message(message.payload)
        except PayloadError as error:
            read.rejected.append(
                Rejection(message.topic, message.payload, error.reason, error.detail, arrived)
            )
        else:
            about = {"streams": message.payload[:200].decode("utf-8", "replace") or "none"}
            logger.info("asked to freeze", extra={"about": about})

    async def _rows(self, read: ReadBatch) -> tuple[list[int], list[tuple[int, str]]]:
        """The rows of the events' streams, and which are new; events that get none, or are late, go."""
        events, memories = read.events, self._engine.memories
        rows = memories.rows(events.keys)
        new_streams: list[tuple[int, str]] = []
        if None in rows:
            new_streams, refused = await self._streams.admit(events.keys)
            if refused:
                self._refuse(read, {n: refused[key] for n, key in enumerate(events.keys) if key in refused})
            rows = memories.rows(events.keys)
        if self._order.enabled and (late := self._order.rejected(events, np.array(rows, np.intp))):
            self._refuse(read, late)
            rows = memories.rows(events.keys)
        return rows, new_streams  # type: ignore[return-value]  # each has one now

    def _refuse(self, read: ReadBatch, refused: dict[int, PayloadError]) -> None:
        """Take refused events, by their place, out again."""
        for n, error in refused.items():
            message, arrived = read.messages[int(np.searchsorted(read.ends, n, side="right"))]
            read.rejected.append(
                Rejection(message.topic, message.payload, error.reason, error.detail, arrived)
            )
        _drop(read.events, list(refused), wide=len(self._engine.model.spec.features))
        gone = np.array(sorted(refused))
        read.ends = [end - int(np.searchsorted(gone, end)) for end in read.ends]

    def _note(self, read: ReadBatch) -> None:
        """Count, and say what is refused: each reason at most once in 30 seconds, never the payload."""
        self._counters.events_total += len(read.events) + len(read.rejected)
        self._counters.applied_total += len(read.events)
        for refused in read.rejected:
            self._counters.rejected_total[refused.reason] += 1
            self._recorder.record_rejection(refused)
            held = self._throttle.allow(refused.reason)
            if held is not None:
                about = {"reason": refused.reason, "topic": refused.topic[:200], "since": held}
                logger.warning("rejected: %s", refused.detail, extra={"about": about})

    def _entry(
        self, read: ReadBatch, rows: NDArray[np.intp], new_streams: list[tuple[int, str]], now: float
    ) -> Entry:
        """What the journal needs, so that the same can be done again."""
        events = read.events
        wide = len(self._engine.model.spec.features)
        self._freezer.refresh(now)
        if frozen := self._freezer.frozen(events.keys):
            events.marks = [m | FROZEN if f else m for m, f in zip(events.marks, frozen, strict=True)]
            self._counters.frozen_total += sum(frozen)
        return Entry(
            number=self._state_writer.number + 1,
            model=self._engine.model.id,
            batch=events.batch(self._engine.memories.ids[rows].astype(np.intp), wide),
            new_streams=new_streams,
            digests=np.array([read.topics, read.contents], np.uint64).T,
            rejected=read.rejected,
            published_through=self._link.confirmed,
            acked_through=self._link.acked_through,
        )

    def _apply(self, entry: Entry, rows: NDArray[np.intp], now: float) -> Predictions:
        """Push the memories on."""
        memories, batch = self._engine.memories, entry.batch.with_streams(rows)
        predictions = self._engine.apply(batch)
        self._staleness.observe(rows, now)
        memories.applied[rows] = entry.number
        memories.seen[rows] = now
        self._recorder.record_batch(batch, predictions, now)
        self._counters.observe_predictions(predictions)
        self._counters.observe_ages(batch.times[batch.marks & CLOCK_BITS == EVENT], now)
        return predictions


def _drop(events: Events, refused: Sequence[int], *, wide: int) -> None:
    """Take single events out of the columns."""
    for n in reversed(refused):
        del events.keys[n], events.times[n], events.marks[n], events.values[n * wide : (n + 1) * wide]


def _first(group: BaseException) -> BaseException:
    """The first plain exception in a group of groups."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
