"""Detection of a second client with our client id, at brokers that do not report it.

A broker that accepts another client with the same id must send the first one DISCONNECT with reason 0x8E
(MQTT 5.0, section 3.1.4, "Session taken over"). mosquitto before 2.0.15 closes the connection without it, and
two services that share an id would disconnect each other endlessly. So every message on the status topic
carries a signature as a user property (3.3.2.3.7), which the other service reads: of two services that share
an id the one that started later stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mqtt5 import PublishPacket

from stream_lstm.errors import BrokerError, ConnectionDropped, SessionTaken
from stream_lstm.service.broker import Message

PROPERTY = "owner"
DIGITS_MAX = 15  # of milliseconds since 1970

# Without a readable signature, repeated drops are the only sign. They may also come from a broker that
# restarts repeatedly, so the log only asks. Trade-off: higher limits delay the question, lower ones ask it
# after ordinary disturbances.
TAKEOVER_DROPS_MIN = 5
TAKEOVER_SECONDS_MAX = 60.0


class ClientSignature(NamedTuple):
    """Signature of one run of a client; orders runs by their start, as far as their clocks agree."""

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
    """Reads the status topic for signatures of a later client with the same id.

    Args:
        topic: the status topic; empty: nothing is read.
        signature: of this client.
    """

    def __init__(self, topic: str, signature: ClientSignature) -> None:
        self._topic = topic
        self._latest = signature  # of this client and those before it, whatever their clocks were
        self._served = False
        self.signature = signature

    def begin(self, *, served_before: bool) -> None:
        """Begin a connection; before the first one that serves, signatures are those of earlier clients."""
        self._served = served_before

    def check(self, messages: Iterable[Message]) -> None:
        """Check the signatures among these messages.

        Raises:
            SessionTaken: a client with the same id started later.
        """
        for signature in _signatures(message for message in messages if message.topic == self._topic):
            if signature.client_id != self.signature.client_id or signature <= self._latest:
                continue
            if self._served:
                raise SessionTaken(
                    f"another service that started later uses our client id {signature.client_id!r}: "
                    "give each service its own mqtt.client_id"
                )
            self._latest = signature


class RepeatedDrops:
    """Counts connections in a row that the broker closed without a reason soon after they began to serve.

    Args:
        client_id: to name in the hint.
        clock: seconds, monotonic.
    """

    def __init__(self, client_id: str, *, clock: Callable[[], float]) -> None:
        self._client_id = client_id
        self._clock = clock
        self._connected = float("-inf")
        self._count = 0

    def connected(self) -> None:
        """Note that a connection serves."""
        self._connected = self._clock()

    def ended(self, reason: BrokerError) -> str:
        """Note the end of a connection or a failed attempt.

        Returns:
            A hint for the log if a takeover is suspected (section 4.13.1), otherwise an empty string.
        """
        soon = self._clock() - self._connected < TAKEOVER_SECONDS_MAX
        if isinstance(reason, ConnectionDropped) and soon:
            self._count += 1
        else:  # also a refused connection, as from a broker while it restarts
            self._count = 0
        if self._count < TAKEOVER_DROPS_MIN:
            return ""
        return (
            f", {TAKEOVER_DROPS_MIN} times or more in a row within {TAKEOVER_SECONDS_MAX:g} s of connecting: "
            f"does another client use {self._client_id!r}? Give each service its own mqtt.client_id"
        )


def _signatures(messages: Iterable[Message]) -> Iterable[ClientSignature]:
    for message in messages:
        if isinstance(message, PublishPacket):
            for name, value in message.user_properties:
                started, _, rest = value.partition(" ")
                token, _, client_id = rest.partition(" ")
                if name == PROPERTY and started.isdecimal() and len(started) <= DIGITS_MAX:
                    yield ClientSignature(int(started), token, client_id)
