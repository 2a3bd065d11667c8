"""The pipeline: ingest, apply, commit, publish, acknowledge.

Two tasks. The first receives the messages that are there, ingests them, hands the entry to the disk and
applies it; the second waits for the commit, then publishes and acknowledges. Batches are small at low load
and grow with it: what arrives while one is under way waits in the inbox. Large batches overlap:
while one is committed the next is applied. Small ones do not, since each would only wait for the commits
before it: the first task applies them, hands them to the disk, and finishes them itself. With
`state.commit_interval_seconds` they are larger and fewer: messages gather until the interval is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from stream_lstm.events import FROZEN
from stream_lstm.service.broker import Arrival, Broker, Publication
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.pipeline.admission import Admission, Admitted
from stream_lstm.service.pipeline.apply import Applier
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.service.pipeline.ingest import Ingest, Ingested
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.entry import Entry

BATCHES_AHEAD_MAX = 1  # one is committed while the next is applied
OVERLAP_MESSAGES_MIN = 256  # smaller batches wait for the one under way: measured, a third of the latency
LOGGED_TOPIC_MAX = 200  # characters


class Stages(NamedTuple):
    """The stages that a batch passes through, in this order."""

    ingest: Ingest
    admission: Admission
    freezer: Freezer
    state_writer: StateWriter
    applier: Applier
    builder: PublicationBuilder


class PendingBatch(NamedTuple):
    """Applied, and on its way to the disk and to the broker."""

    number: int
    committed: asyncio.Future[None] | None  # None: there was nothing to commit
    publications: list[Publication]
    predictions: int
    arrivals: Sequence[Arrival]
    fresh: bool  # not duplicates alone


class Pipeline:
    """Runs the stages over everything that the broker delivers, until stopped.

    Args:
        recorder: receives the rejections.
        batch_events_max: most messages in a batch; and the message that reaches as many events is its last.
        commit_interval_seconds: least time from the start of a batch to that of the next small one.
        clock: epoch seconds.

    Attributes:
        batches_in_flight: batches applied and not yet published.
    """

    def __init__(
        self,
        broker: Broker,
        stages: Stages,
        recorder: Recorder,
        counters: Counters,
        *,
        batch_events_max: int,
        commit_interval_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._stages = stages
        self._recorder = recorder
        self._counters = counters
        self._batch_events_max = batch_events_max
        self._commit_interval_seconds = commit_interval_seconds
        self._interval_ends = 0.0  # on the loop's clock; until then, messages gather
        self._interval_timer: asyncio.TimerHandle | None = None  # there only while messages gather
        self._clock = clock
        self._throttle = Throttle(time.monotonic)
        self._applied: asyncio.Queue[PendingBatch | None] = asyncio.Queue(BATCHES_AHEAD_MAX)
        self._held: list[Arrival] = []  # received, and left for the next batch
        self._receiving: asyncio.Task[None] | None = None
        self._waiting = False
        self._stopping = False
        self.batches_in_flight = 0

    async def run(self) -> None:
        """Run until `stop`, or until the disk fails.

        Raises:
            StateError: a commit failed; nothing of it was acknowledged.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._receiving = tasks.create_task(self._receive_and_apply())
                tasks.create_task(self._publish_and_acknowledge())
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._cancel_timer()

    def stop(self) -> None:
        """Receive no more; `run` returns when all batches in flight are committed and published."""
        self._stopping = True
        if self._waiting and self._receiving:
            self._receiving.cancel()

    async def _receive_and_apply(self) -> None:
        while not self._stopping:
            self._waiting = True
            try:
                arrivals = self._held or await self._broker.receive(
                    self._batch_events_max, self._messages_min
                )
            except asyncio.CancelledError:
                if self._stopping:
                    break
                raise
            finally:
                self._waiting = False
            self._begin_interval()
            batch = await self._apply(arrivals)
            self.batches_in_flight += 1
            messages = sum(len(arrival.packets) for arrival in batch.arrivals)
            if self.batches_in_flight == 1 and max(messages, batch.predictions) < OVERLAP_MESSAGES_MIN:
                await self._finish(batch)  # here: the hand-over to the other task costs as much as the batch
            else:
                await self._applied.put(batch)
        await self._applied.put(None)

    def _messages_min(self) -> int:
        """How many messages make the next batch."""
        many = min(OVERLAP_MESSAGES_MIN, self._batch_events_max)
        return many if self.batches_in_flight or self._in_interval() else 1

    def _in_interval(self) -> bool:
        """True while messages gather; `receive` is then made to look again at the interval's end."""
        if self._interval_timer:
            return True
        loop = asyncio.get_running_loop()
        if loop.time() >= self._interval_ends:
            return False
        self._interval_timer = loop.call_at(self._interval_ends, self._end_interval)
        return True

    def _begin_interval(self) -> None:
        if self._commit_interval_seconds:
            self._cancel_timer()
            self._interval_ends = asyncio.get_running_loop().time() + self._commit_interval_seconds

    def _end_interval(self) -> None:
        self._interval_ends, self._interval_timer = 0.0, None
        self._broker.reconsider()

    def _cancel_timer(self) -> None:
        if self._interval_timer:
            self._interval_timer.cancel()
            self._interval_timer = None

    async def _publish_and_acknowledge(self) -> None:
        while (batch := await self._applied.get()) is not None:
            await self._finish(batch)
            self._broker.reconsider()

    async def _finish(self, batch: PendingBatch) -> None:
        """Wait for the commit, then publish and acknowledge."""
        if batch.committed is not None:
            await batch.committed
        await self._broker.deliver(batch.number, batch.publications, batch.arrivals, fresh=batch.fresh)
        self._count_published(batch)
        self.batches_in_flight -= 1

    def _count_published(self, batch: PendingBatch) -> None:
        self._counters.predictions_total += batch.predictions
        now = self._clock()
        for arrival in batch.arrivals:
            self._counters.latency.add(max(now - arrival.time, 0.0), len(arrival.packets))

    async def _apply(self, arrivals: Sequence[Arrival]) -> PendingBatch:
        """Everything that happens to messages before they are on disk."""
        stages, broker = self._stages, self._broker
        number = stages.state_writer.number + 1
        ingested = stages.ingest.read(
            arrivals,
            entry=number,
            acked_through=broker.acked_through,
            events_max=self._batch_events_max,
        )
        arrivals, self._held = ingested.taken, ingested.rest
        admitted = await stages.admission.admit(ingested)
        self._count_ingested(ingested)
        if not (len(admitted.rows) or ingested.rejected or ingested.has_fresh):
            stages.state_writer.verify_files()  # which holds what is acknowledged again
            return PendingBatch(stages.state_writer.number, None, [], 0, arrivals, fresh=False)
        now = self._clock()
        self._mark_frozen(ingested, now)
        entry = self._entry(number, ingested, admitted)
        # The disk works on a large entry while it is applied. With a small one, its thread would only compete
        # for the interpreter's lock: measured, a third of the processor time.
        count, fresh = len(admitted.rows), ingested.has_fresh
        committed = stages.state_writer.commit(entry) if count >= OVERLAP_MESSAGES_MIN else None
        predictions = stages.applier.apply(entry, admitted.rows, now)
        publications = stages.builder.build(ingested.events, predictions, ingested.rejected)
        committed = committed or stages.state_writer.commit(entry)
        return PendingBatch(entry.number, committed, publications, count, arrivals, fresh=fresh)

    def _count_ingested(self, ingested: Ingested) -> None:
        """Count, and log rejections: each reason at most once in 30 seconds, never the payload."""
        self._counters.events_total += len(ingested.events) + len(ingested.rejected)
        self._counters.applied_total += len(ingested.events)
        for rejection in ingested.rejected:
            self._counters.rejected_total[rejection.reason] += 1
            self._recorder.record_rejection(rejection)
            suppressed = self._throttle.allow(rejection.reason)
            if suppressed is not None:
                topic = rejection.topic[:LOGGED_TOPIC_MAX]
                about = {"reason": rejection.reason, "topic": topic, "since": suppressed}
                logger.warning("rejected: %s", rejection.detail, extra={"about": about})

    def _mark_frozen(self, ingested: Ingested, now: float) -> None:
        """Mark the events of frozen streams."""
        freezer, events = self._stages.freezer, ingested.events
        freezer.refresh(now)
        if frozen := freezer.frozen(events.keys):
            events.marks = [m | FROZEN if f else m for m, f in zip(events.marks, frozen, strict=True)]
            self._counters.frozen_total += sum(frozen)

    def _entry(self, number: int, ingested: Ingested, admitted: Admitted) -> Entry:
        """The journal entry of a batch: everything that replay needs."""
        engine = self._stages.applier.engine
        streams = engine.memories.ids[admitted.rows].astype(np.intp)
        return Entry(
            number=number,
            model=engine.model.id,
            batch=ingested.events.batch(streams, len(engine.model.spec.features)),
            new_streams=admitted.new_streams,
            digests=np.array([ingested.topics, ingested.contents], np.uint64).T,
            rejected=ingested.rejected,
            published_through=self._broker.confirmed,
            acked_through=self._broker.acked_through,
        )


def _first(group: BaseException) -> BaseException:
    """The first plain exception in a group of groups."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
