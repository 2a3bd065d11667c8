"""Deduplication of redelivered messages, by content and within a window.

After a restart or a reconnect, a broker sends again the messages that it holds as unacknowledged; some of
them were committed before. Neither the DUP flag nor the packet id tells which (some brokers change both), so
a duplicate is recognised by content: the digests of its topic and its payload. The window opens with a new
connection. It closes topic by topic with the first message that was never committed, because brokers send
again in order (MQTT 5.0, sections 4.4 and 4.6). For payloads with a time it stays open for `TIMED_MORE` new
messages, and takes these in: a sensor, too, sends again what its broker did not answer.

Only a time in the payload distinguishes two equal measurements. A payload with a time is one event, however
often it comes while the window is open: a broker that crashed may have forgotten our acknowledgements, or a
sensor may send again what its broker did not acknowledge. Payloads without a time may repeat legitimately (a
room that stays at 21.5 °C). So of these only those messages can be duplicates that the broker may not know as
acknowledged, each once and in order; once it knows all of them, no such message is a duplicate.

The window is bounded: a broker has no more unacknowledged messages per connection than there are packet ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

MESSAGES_MAX = 65_536  # packet ids are 16 bits (MQTT 5.0, section 2.2.1)
TIMED_MORE = 20  # messages; as many as most clients have unanswered at a time
TIMED = 1  # lowest bit of a content digest: the payload has a time

# A message: digest of its topic, of its content (see `content`), number of its journal entry.
Committed = tuple[int, int, int]


@dataclass(slots=True)
class _Topic:
    """Possible duplicates of one topic.

    Attributes:
        timed: contents of payloads with a time.
        untimed: contents of payloads without one that the broker may not know as acknowledged, in order.
        known: contents of all payloads without one.
        position: in `untimed`, where the search for the next duplicate starts.
        left: new messages until the topic closes.
    """

    timed: set[int] = field(default_factory=set)
    untimed: list[int] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    position: int = 0
    left: int = TIMED_MORE


def content(digest: int, *, timed: bool) -> int:
    """The digest of a payload, with a bit that is set if the payload has a time."""
    return digest & ~TIMED | timed


def contents(digests: Iterable[int], *, timed: bool) -> list[int]:
    """The same of many payloads."""
    return [digest & ~TIMED | timed for digest in digests]


class DedupWindow:
    """The last committed messages, and which of them may come again now.

    Args:
        committed: messages before the start, oldest first.
    """

    def __init__(self, committed: Iterable[Committed] = ()) -> None:
        self._committed: deque[Committed] = deque(committed, MESSAGES_MAX)
        self._open: dict[int, _Topic] = {}
        self._untimed_through = 0  # last entry with a possible duplicate without a time; 0: there is none

    @property
    def is_open(self) -> bool:
        """True if a message of any topic may be a duplicate."""
        return bool(self._open)

    def open(self, acked_through: int) -> None:
        """Open the window, on a new connection with the same session.

        Args:
            acked_through: the broker knows the messages of entries up to this one as acknowledged.
        """
        topics: dict[int, _Topic] = {}
        self._untimed_through = 0
        for topic, content, entry in self._committed:
            found = topics.setdefault(topic, _Topic())
            if content & TIMED:
                found.timed.add(content & ~TIMED)
                continue
            found.known.add(content)
            if entry > acked_through:
                found.untimed.append(content)
                self._untimed_through = entry
        self._open = {topic: found for topic, found in topics.items() if found.timed or found.untimed}

    def settle(self, acked_through: int) -> None:
        """Close the window for payloads without a time once the broker knows all acknowledgements.

        A broker sends again when a client reconnects and at no other time (section 4.4), before what is new.

        Args:
            acked_through: the broker knows the messages of entries up to this one as acknowledged.
        """
        if self._untimed_through and acked_through >= self._untimed_through:
            self._untimed_through = 0
            self._open = {topic: found for topic, found in self._open.items() if found.timed}
            for found in self._open.values():
                found.position = len(found.untimed)

    def close(self) -> None:
        """Close the window, on a new connection without a session: no message can come again."""
        self._open = {}

    def is_duplicate(self, topic: int, digest: int) -> bool:
        """True if this message is a duplicate; one that was never committed closes its topic's window."""
        found = self._open.get(topic)
        if found is None:
            return False
        content = digest & ~TIMED
        if content in found.timed:
            return True
        try:
            found.position = found.untimed.index(content, found.position) + 1
        except ValueError:
            found.position = len(found.untimed)
            if content not in found.known:  # a known one may be sent again by a broker that crashed
                found.left -= 1
            if not found.timed or found.left < 0:
                del self._open[topic]
            return False
        return True

    def keep(self, topic: int, digest: int) -> None:
        """Recognise a new message with a time, if it comes again while its topic is open."""
        if found := self._open.get(topic):
            found.timed.add(digest & ~TIMED)

    def is_timed(self, topic: int, digest: int) -> bool:
        """True if a duplicate has a time, which tells it from an equal reading."""
        found = self._open.get(topic)
        return found is not None and digest & ~TIMED in found.timed

    def remember(self, messages: Iterable[Committed]) -> None:
        """Add messages that are about to be committed, in order."""
        self._committed.extend(messages)

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: names the invariant that does not hold.
        """
        assert self._committed.maxlen == MESSAGES_MAX, "the window is not bounded"
        entries = (entry for _, _, entry in self._committed)
        assert all(before <= after for before, after in pairwise(entries)), "entries are not in order"
        for topic in self._open.values():
            assert topic.timed or topic.untimed, "a topic without a possible duplicate is open"
            assert 0 <= topic.position <= len(topic.untimed), "a position lies outside the list"
            digests = (*topic.timed, *topic.untimed)
            assert not any(digest & TIMED for digest in digests), "a content digest is marked as timed"
