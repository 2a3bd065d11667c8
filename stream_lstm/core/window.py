"""Recognises messages that a broker sends again: the replay window.

After a restart or a reconnect, a broker sends again what it holds unacknowledged; some of that we have
committed before. Whether it does so is not to be read off the DUP flag or the packet id (some brokers send
neither as they were), so a copy is recognised by content: its topic's and its payload's digest. The window
opens with a new connection, and closes topic by topic with the first message that is not known, since
brokers send again in order (MQTT 5.0, 4.4 and 4.6). It is bounded: no broker holds more unacknowledged
messages of a connection than its packet ids can name.

What it cannot tell apart: a sensor that says the same bytes again and again, without time or counter, right
after a crash. `docs/guarantees.md` says what that costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

MESSAGES_MAX = 65_536


class ReplayWindow:
    """The latest committed messages, and which of them may come again now.

    Args:
        committed: (topic digest, content digest) of messages from before, oldest first.
    """

    def __init__(self, committed: Iterable[tuple[int, int]] = ()) -> None:
        self._recent = deque(committed, MESSAGES_MAX)
        self._open: dict[int, tuple[list[int], int]] = {}  # topic: contents, and where to look on

    @property
    def is_open(self) -> bool:
        """Whether any topic's messages may still be copies."""
        return bool(self._open)

    def open(self) -> None:
        """A new connection has begun: all that is remembered may come again."""
        contents: dict[int, list[int]] = {}
        for topic, content in self._recent:
            contents.setdefault(topic, []).append(content)
        self._open = {topic: (seen, 0) for topic, seen in contents.items()}

    def close(self) -> None:
        """Nothing can come again: the broker has no session of ours."""
        self._open = {}

    def is_copy(self, topic: int, content: int) -> bool:
        """Whether this message was committed before; if not, its topic's window closes."""
        found = self._open.get(topic)
        if found is None:
            return False
        contents, start = found
        try:
            position = contents.index(content, start)
        except ValueError:
            del self._open[topic]
            return False
        if position + 1 == len(contents):
            del self._open[topic]
        else:
            self._open[topic] = contents, position + 1
        return True

    def remember(self, topic: int, content: int) -> None:
        """Note a message that is about to be committed."""
        self._recent.append((topic, content))
