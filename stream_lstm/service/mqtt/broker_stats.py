"""The broker's own count of dropped messages, over all of its clients.

mosquitto publishes the count, retained, at `$SYS/broker/publish/messages/dropped`. It is read at QoS 0, so it
is neither acknowledged nor kept in the session, and it is never an event.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.service.broker import Message

DIGITS_MAX = 20  # of a count of 64 bits


class BrokerStats:
    """Latest count of dropped messages.

    Args:
        topic: of the count; empty: the count is not read.

    Attributes:
        total: dropped since the broker's start, at the last report; None before the first report.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.total: int | None = None

    def update(self, messages: Sequence[Message]) -> None:
        """Take the latest count among these messages; ignore payloads that are not plain digits."""
        for message in reversed(messages):
            payload = message.payload
            if message.topic == self.topic and payload.isdigit() and len(payload) <= DIGITS_MAX:
                self.total = int(payload)
                return
