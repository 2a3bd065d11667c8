"""Messages that have arrived and are not yet taken: bounded, in order, in the pieces in which they came.

Holds no socket: whoever puts asks `full` and stops reading, whoever takes asks `low` and reads on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from stream_lstm.service.broker import Arrival


class Inbox:
    """Arrivals, oldest first.

    Args:
        messages_max: from here on it is full; the read that fills it is kept whole.
        bytes_max: likewise, as counted on the wire.
    """

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._arrivals: deque[Arrival] = deque()
        self.messages = 0
        self.wire_bytes = 0

    @property
    def full(self) -> bool:
        """No more should be read."""
        return self.messages >= self._messages_max or self.wire_bytes >= self._bytes_max

    @property
    def overfull(self) -> bool:
        """No more can be kept."""
        return self.messages >= 2 * self._messages_max or self.wire_bytes >= 2 * self._bytes_max

    @property
    def low(self) -> bool:
        """Reading may go on: at most half of either limit is used."""
        return self.messages * 2 <= self._messages_max and self.wire_bytes * 2 <= self._bytes_max

    def put(self, arrival: Arrival) -> None:
        """Keep what arrived."""
        self._arrivals.append(arrival)
        self.messages += len(arrival.packets)
        self.wire_bytes += arrival.wire_bytes

    def take(self, messages_max: int) -> list[Arrival]:
        """The oldest arrivals, at most so many messages; the last is cut if it holds more."""
        taken: list[Arrival] = []
        while self._arrivals and messages_max > 0:
            arrival = self._arrivals.popleft()
            if len(arrival.packets) > messages_max:
                arrival, rest = _cut(arrival, messages_max)
                self._arrivals.appendleft(rest)
            taken.append(arrival)
            messages_max -= len(arrival.packets)
            self.messages -= len(arrival.packets)
            self.wire_bytes -= arrival.wire_bytes
        return taken


def _cut(arrival: Arrival, messages: int) -> tuple[Arrival, Arrival]:
    """An arrival in two; the bytes are shared out by the number of messages."""
    share = arrival.wire_bytes * messages // len(arrival.packets)
    first = replace(arrival, packets=arrival.packets[:messages], wire_bytes=share)
    rest = replace(arrival, packets=arrival.packets[messages:], wire_bytes=arrival.wire_bytes - share)
    return first, rest
