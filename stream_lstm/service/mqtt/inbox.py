"""Bounded queue of arrivals, in order, in the reads in which they came.

Holds no socket: the caller stops reading when the inbox is `full` and resumes when it is `low`.
"""

from __future__ import annotations

from collections import deque

from stream_lstm.service.broker import Arrival

TAKEN_BYTES = 1_048_576  # at once: bounds for how long decoding a batch blocks the event loop


class Inbox:
    """Queue of arrivals, oldest first.

    Args:
        messages_max: number of messages from which on it is full; the read that fills it is kept whole.
        bytes_max: likewise, in bytes on the wire.

    Attributes:
        messages: number of messages in the queue.
        wire_bytes: their size on the wire.
    """

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._arrivals: deque[Arrival] = deque()
        self.messages = 0
        self.wire_bytes = 0

    @property
    def full(self) -> bool:
        """True if the caller should stop reading."""
        return self.messages >= self._messages_max or self.wire_bytes >= self._bytes_max

    @property
    def overfull(self) -> bool:
        """True if the caller must drop messages: twice either limit is used."""
        return self.messages >= 2 * self._messages_max or self.wire_bytes >= 2 * self._bytes_max

    @property
    def low(self) -> bool:
        """True if the caller may read again: at most half of each limit is used."""
        return self.messages * 2 <= self._messages_max and self.wire_bytes * 2 <= self._bytes_max

    def put(self, arrival: Arrival) -> None:
        """Append an arrival."""
        self._arrivals.append(arrival)
        self.messages += len(arrival.packets)
        self.wire_bytes += arrival.wire_bytes

    def take(self, messages_max: int) -> list[Arrival]:
        """Remove and return the oldest arrivals; may split the last.

        They have at most `messages_max` messages, and end with the read that reaches `TAKEN_BYTES`.
        """
        taken: list[Arrival] = []
        wanted_bytes = TAKEN_BYTES
        while self._arrivals and messages_max > 0 and wanted_bytes > 0:
            arrival = self._arrivals.popleft()
            if len(arrival.packets) > messages_max:
                arrival, rest = arrival.split(messages_max)
                self._arrivals.appendleft(rest)
            taken.append(arrival)
            messages_max -= len(arrival.packets)
            wanted_bytes -= arrival.wire_bytes
            self.messages -= len(arrival.packets)
            self.wire_bytes -= arrival.wire_bytes
        return taken
