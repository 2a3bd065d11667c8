"""Ingest: messages to events. Own publications, control messages, deduplication, decoding, in this order.

A message ends here in one of five ways: it gives events; it is rejected, whole or in single fields; it is a
duplicate of a committed one; it is a copy for another subscription; or it is not an event at all (a
publication of a stream_lstm service, a freeze request). Each is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from xxhash import xxh3_64_intdigest as digest

from stream_lstm.core.codec import own_messages
from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.dedup import DedupWindow, content, contents
from stream_lstm.core.overlap import CopyCounter
from stream_lstm.errors import PayloadError
from stream_lstm.events import Clock, Events
from stream_lstm.service.broker import MARK, Arrival, Message
from stream_lstm.service.log import logger
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.store.entry import Rejection

EVENT = int(Clock.EVENT)  # plain: comparing an enum is slow
TOGETHER_MIN = 3  # messages; fewer are read faster one by one
LOGGED_BYTES_MAX = 200  # of a freeze request


@dataclass(slots=True)
class Ingested:
    """The outcome of a batch of messages.

    Attributes:
        events: in order of arrival.
        ends: number of events after each message that gave some.
        messages: these messages, and when they arrived.
        rejected: messages, or fields of messages, that became no event.
        topics: digest of the topic of each message that the broker may send again …
        contents: … and of its content, see `stream_lstm.core.dedup`.
        taken: the arrivals that were read.
        rest: those that were not, since there are enough events.
    """

    events: Events = field(default_factory=Events)
    ends: list[int] = field(default_factory=list)
    messages: list[tuple[Message, float]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    topics: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    taken: list[Arrival] = field(default_factory=list)
    rest: list[Arrival] = field(default_factory=list)

    @property
    def has_fresh(self) -> bool:
        """True if a message that the broker may send again is not a duplicate."""
        return bool(self.topics)

    def reject_events(self, errors: dict[int, PayloadError], *, features: int) -> None:
        """Remove events, by position, and note the rejections of their messages."""
        for n, error in errors.items():
            message, arrived = self.messages[int(np.searchsorted(self.ends, n, side="right"))]
            self.rejected.append(
                Rejection(message.topic, message.payload, error.reason, error.detail, arrived)
            )
        self.events.remove(list(errors), features=features)
        gone = np.array(sorted(errors))
        self.ends = [end - int(np.searchsorted(gone, end)) for end in self.ends]


class Ingest:
    """Reads messages.

    Args:
        dedup: messages that the broker may send again.
        freezer: receives freeze requests.
        is_own_topic: True for topics that the service publishes to.
    """

    def __init__(
        self,
        decoder: Decoder,
        dedup: DedupWindow,
        freezer: Freezer,
        is_own_topic: Callable[[str], bool],
        counters: Counters,
    ) -> None:
        self._decoder = decoder
        self._dedup = dedup
        self._freezer = freezer
        self._is_own_topic = is_own_topic
        self._counters = counters
        self._copies = CopyCounter()
        self._connection = -1

    def read(
        self, arrivals: Sequence[Arrival], *, entry: int, acked_through: int, events_max: int
    ) -> Ingested:
        """Turn messages into events.

        Args:
            entry: number of the journal entry that will hold them.
            acked_through: the broker knows the messages of entries up to this one as acknowledged.
            events_max: a message that would exceed this number of events, or reaches it, ends the batch.
        """
        out = Ingested()
        self._dedup.settle(acked_through)
        for arrival in arrivals:
            if out.rest or len(out.events) >= events_max:
                out.rest.append(arrival)
                continue
            self._follow_connection(arrival, acked_through)
            known = len(out.topics)
            few = len(arrival.packets) < TOGETHER_MIN
            if few or not self._read_together(arrival, out, events_max):
                self._read_singly(arrival, out, events_max)
            self._dedup.remember(zip(out.topics[known:], out.contents[known:], repeat(entry)))
        return out

    def _follow_connection(self, arrival: Arrival, acked_through: int) -> None:
        """A new connection opens the dedup window if the broker has kept the session, else it closes it."""
        if arrival.connection == self._connection:
            return
        self._connection = arrival.connection
        if arrival.resumed:
            self._dedup.open(acked_through)
        else:
            self._dedup.close()

    def _read_together(self, arrival: Arrival, out: Ingested, events_max: int) -> bool:
        """Decode all messages at once, if none of them is special: the common case, and the fast one."""
        events, each = out.events, self._decoder.events_each(arrival.packets[0].topic)
        fitting = (events_max - len(events)) // each if each else 0
        if fitting < TOGETHER_MIN:
            return False
        messages = arrival.packets[:fitting]
        assured = [message.packet_id is not None for message in messages]
        repeatable = all(assured)
        if arrival.late or self._dedup.is_open or (not repeatable and any(assured)):
            return False
        if any(m.retain or m.user_properties or m.subscription_ids for m in messages):
            return False
        topics, payloads = [m.topic for m in messages], [m.payload for m in messages]
        if own_messages.may_be_own(payloads):
            return False
        before = len(events)
        each = self._decoder.decode_all(topics, payloads, arrival.time, events)  # knows no own topic
        if not each:
            return False
        out.ends.extend(range(before + each, len(events) + 1, each))
        out.messages.extend(zip(messages, repeat(arrival.time)))
        if repeatable:
            timed = events.marks[before] == EVENT
            out.topics += map(digest, map(str.encode, topics))
            out.contents += contents(map(digest, payloads), timed=timed)
        if fitting < len(arrival.packets):
            arrival, rest = arrival.split(fitting)
            out.rest.append(rest)
        out.taken.append(arrival)
        return True

    def _read_singly(self, arrival: Arrival, out: Ingested, events_max: int) -> None:
        """Decode messages one by one, until there are enough events."""
        for n, message in enumerate(arrival.packets):
            if len(out.events) >= events_max:
                arrival, rest = arrival.split(n)
                out.rest.append(rest)
                break
            if self._is_own(message):
                self._counters.own_messages_total += 1
            elif message.topic == self._freezer.topic:
                self._freeze(message, arrival.time, out)
            else:
                self._read_one(message, arrival, out)
        out.taken.append(arrival)

    def _is_own(self, message: Message) -> bool:
        """True if a service like this one has published it, on whatever topic."""
        return (
            self._is_own_topic(message.topic)
            or MARK in message.user_properties
            or own_messages.is_own(message.payload)
        )

    def _read_one(self, message: Message, arrival: Arrival, out: Ingested) -> None:
        topic, payload, events = message.topic, message.payload, out.events
        repeatable, before = message.qos != 0, len(events.keys)
        digests = digest(topic.encode()), digest(payload)
        if repeatable and self._dedup.is_open and self._dedup.is_duplicate(*digests):
            self._counters.duplicates_total += 1
            if not (message.duplicate or self._dedup.is_timed(*digests)):
                self._counters.uncertain_duplicates_total += 1
            return
        if message.subscription_ids and self._copies.is_copy(*digests, message.subscription_ids):
            self._counters.copies_total += 1
            if repeatable:  # remembered, so that it is recognised if the broker sends it again
                out.topics.append(digests[0])
                out.contents.append(content(digests[1], timed=False))
            return
        try:
            problems = self._decoder.decode(topic, payload, arrival.time, events)
        except PayloadError as error:
            problems = (error.without_traceback(),)
        for problem in problems:
            out.rejected.append(Rejection(topic, payload, problem.reason, problem.detail, arrival.time))
        if repeatable:
            timed = before < len(events.marks) and events.marks[before] == EVENT
            out.topics.append(digests[0])
            out.contents.append(content(digests[1], timed=timed))
            if timed:
                self._dedup.keep(*digests)
        if len(events.keys) > before:
            if message.retain or (arrival.late and message.qos != 0):
                events.mark_uncertain(before)
            out.ends.append(len(events.keys))
            out.messages.append((message, arrival.time))

    def _freeze(self, message: Message, arrived: float, out: Ingested) -> None:
        try:
            self._freezer.apply_message(message.payload)
        except PayloadError as error:
            out.rejected.append(
                Rejection(message.topic, message.payload, error.reason, error.detail, arrived)
            )
        else:
            about = {"streams": message.payload[:LOGGED_BYTES_MAX].decode("utf-8", "replace") or "none"}
            logger.info("freeze requested", extra={"about": about})
