"""Whether our client id is ours alone, at a broker that does not say so.

A broker that lets somebody else in under our id shall dismiss us with a word (MQTT 5.0, section 3.1.4,
SESSION_TAKEN_OVER), but mosquitto before 2.0.15 hangs up without one, and two services that share an id
would throw each other out for ever. So what is said on the status topic is signed, as a user property
(3.3.2.3.7), and read: of two that share an id the one that started later stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mqtt5 import PublishPacket

from stream_lstm.errors import SessionTaken
from stream_lstm.service.broker import Message

PROPERTY = "owner"
DIGITS_MAX = 15  # of milliseconds since 1970


class ClientSignature(NamedTuple):
    """Who signs: in the order in which they started, as far as their clocks agree."""

    started_ms: int
    token: str
    client_id: str

    def __str__(self) -> str:
        return f"{self.started_ms} {self.token} {self.client_id}"

    @property
    def properties(self) -> list[tuple[str, str]]:
        """The user properties that sign a message."""
        return [(PROPERTY, str(self))]


class TakeoverDetector:
    """Reads the status topic for signs of another owner.

    Args:
        topic: where it is said who is there; empty: nothing is read.
        mark: ours.
    """

    def __init__(self, topic: str, mark: ClientSignature) -> None:
        self._topic = topic
        self._latest = mark  # of ourselves and those who were here before us, whatever their clocks said
        self._served = False
        self.mark = mark

    def begin(self, *, served_before: bool) -> None:
        """A connection is being made; until one has served, signs are those of the time before us."""
        self._served = served_before

    def hear(self, messages: Iterable[Message]) -> None:
        """Read the signs among these messages.

        Raises:
            SessionTaken: one was left, with our id, by who started after us.
        """
        for mark in _marks(message for message in messages if message.topic == self._topic):
            if mark.client_id != self.mark.client_id or mark <= self._latest:
                continue
            if self._served:
                raise SessionTaken(
                    f"another service that started later uses our client id {mark.client_id!r}: "
                    "give each service its own mqtt.client_id"
                )
            self._latest = mark


def _marks(messages: Iterable[Message]) -> Iterable[ClientSignature]:
    for message in messages:
        if isinstance(message, PublishPacket):
            for name, value in message.user_properties:
                started, _, rest = value.partition(" ")
                token, _, client_id = rest.partition(" ")
                if name == PROPERTY and started.isdecimal() and len(started) <= DIGITS_MAX:
                    yield ClientSignature(int(started), token, client_id)
