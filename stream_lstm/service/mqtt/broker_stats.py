"""How many messages the broker says it has dropped, for any of its clients.

mosquitto keeps the count, retained, at `$SYS/broker/publish/messages/dropped`. It comes at QoS 0, so there is
nothing to acknowledge and nothing that a session would keep; it is never an event.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.service.broker import Message

DIGITS_MAX = 20  # of 64 bits


class BrokerStats:
    """Reads the count.

    Args:
        topic: where it is said; empty: nowhere.

    Attributes:
        total: since the broker's start, as last heard; None: never heard.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.total: int | None = None

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the latest count among these messages; what is not a plain one says nothing."""
        for message in reversed(messages):
            payload = message.payload
            if message.topic == self.topic and payload.isdigit() and len(payload) <= DIGITS_MAX:
                self.total = int(payload)
                return
