"""Recognises messages that come again: the replay window.

After a restart or a reconnect, a broker sends again what it holds unacknowledged; some of that we have
committed before. Whether it does so is not to be read off the DUP flag or the packet id (some brokers send
neither as they were), so a copy is recognised by content: its topic's and its payload's digest. The window
opens with a new connection, and closes topic by topic with the first message that is not known, since
brokers send again in order (MQTT 5.0, 4.4 and 4.6).

Two readings of one payload are only told apart by a time in it. A payload with a time is one event, whenever
and however often it comes while the window is open: even where a broker that crashed has forgotten our
acknowledgements, or a sensor sends again what its broker did not answer. Payloads without one may honestly
repeat (a room that stays at 21.5), so of these only those count that the broker may not know to be
acknowledged, each once and in order.

The window is bounded: no broker holds more unacknowledged messages of a connection than its packet ids name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

MESSAGES_MAX = 65_536
TIMED = 1  # a content digest's lowest bit: the payload has a time


Committed = tuple[int, int, int]  # a message: digest of its topic, of its content (see `content`), its entry


@dataclass(slots=True)
class _Topic:
    timed: set[int] = field(default_factory=set)
    untimed: list[int] = field(default_factory=list)
    position: int = 0  # in `untimed`: where the next copy is looked for


def content(digest: int, *, timed: bool) -> int:
    """A payload's digest, and whether it has a time of its own."""
    return digest & ~TIMED | timed


def contents(digests: Iterable[int], *, timed: bool) -> list[int]:
    """The same of many payloads."""
    return [digest & ~TIMED | timed for digest in digests]


class DedupWindow:
    """The latest committed messages, and which of them may come again now.

    Args:
        committed: messages from before, oldest first.
    """

    def __init__(self, committed: Iterable[Committed] = ()) -> None:
        self._recent: deque[Committed] = deque(committed, MESSAGES_MAX)
        self._open: dict[int, _Topic] = {}

    @property
    def is_open(self) -> bool:
        """Whether any topic's messages may still be copies."""
        return bool(self._open)

    def open(self, acknowledged: int) -> None:
        """A new connection has begun.

        Args:
            acknowledged: the broker knows that the messages up to this entry are.
        """
        topics: dict[int, _Topic] = {}
        for topic, content, entry in self._recent:
            if content & TIMED:
                topics.setdefault(topic, _Topic()).timed.add(content & ~TIMED)
            elif entry > acknowledged:
                topics.setdefault(topic, _Topic()).untimed.append(content)
        self._open = topics

    def close(self) -> None:
        """Nothing can come again: the broker has no session of ours."""
        self._open = {}

    def is_duplicate(self, topic: int, digest: int) -> bool:
        """Whether this message was committed before; if not, its topic's window closes."""
        found = self._open.get(topic)
        if found is None:
            return False
        content = digest & ~TIMED
        if content in found.timed:
            return True
        try:
            found.position = found.untimed.index(content, found.position) + 1
        except ValueError:
            del self._open[topic]
            return False
        return True

    def remember(self, messages: Iterable[Committed]) -> None:
        """Note messages that are about to be committed, in order."""
        self._recent.extend(messages)
