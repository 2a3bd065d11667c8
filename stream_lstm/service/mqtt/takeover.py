"""Detection of a second client with our client id, at brokers that do not report it.

A broker that accepts another client with the same id must send the first one DISCONNECT with reason 0x8E
(MQTT 5.0, section 3.1.4, "Session taken over"). mosquitto before 2.0.15 closes the connection without it, and
two services that share an id would disconnect each other endlessly. So every message on the status topic
carries a signature as a user property (3.3.2.3.7), which the other service reads: of two services that share
an id and a state, one file and a copy of it, the one that started later stays.

The signature is a message authentication code (HMAC, RFC 2104); its key is in the state file. So no other
client can make one. The time of the start rises with every run, so a signature that is sent once more has no
effect. An invalid signature, of a service with another state or of any client that may publish to the topic,
ends nothing: when the broker then closes a connection without a reason, the log names it as a possible cause.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mqtt5 import PublishPacket

from stream_lstm.errors import BrokerError, ConnectionDropped, SessionTaken
from stream_lstm.service.broker import MARK, Message

PROPERTY = "owner"
DIGITS_MAX = 15  # of milliseconds since 1970
MAC_DIGITS = 32  # 128 bits
TOKEN_BYTES = 4

# Without a verified signature, repeated drops are the only sign. They may also come from a broker that
# restarts repeatedly, so the log only asks. Trade-off: higher limits delay the question, lower ones ask it
# after ordinary disturbances.
TAKEOVER_DROPS_MIN = 5
TAKEOVER_SECONDS_MAX = 60.0


class Run(NamedTuple):
    """One run of a client; runs are ordered by their starts."""

    started_ms: int
    token: str
    client_id: str


@dataclass(frozen=True, slots=True)
class ClientSignature:
    """Signature of one run of a client.

    Attributes:
        run: the run.
        key: secret of the state file.
    """

    run: Run
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, client_id: str, *, started_ms: int, key: bytes = b"") -> ClientSignature:
        """Sign a run that begins; without a key, as one that has no state."""
        run = Run(started_ms, secrets.token_hex(TOKEN_BYTES), client_id)
        return cls(run, key or secrets.token_bytes())

    def __str__(self) -> str:
        started_ms, token, client_id = self.run
        return f"{started_ms} {token} {self._mac(self.run)} {client_id}"

    @property
    def properties(self) -> list[tuple[str, str]]:
        """The user properties that sign a message of ours."""
        return [MARK, (PROPERTY, str(self))]

    def is_valid(self, run: Run, mac: str) -> bool:
        """True if a run was signed with our key."""
        return hmac.compare_digest(self._mac(run).encode(), mac.encode())

    def _mac(self, run: Run) -> str:
        content = "\0".join(map(str, run)).encode()
        return hmac.new(self.key, content, hashlib.sha256).hexdigest()[:MAC_DIGITS]


class TakeoverDetector:
    """Reads the status topic for signatures of a later run with the same id.

    Args:
        topic: the status topic; empty: nothing is read.
        signature: of this client.

    Attributes:
        suspected: True if an invalid signature with our client id has come on this connection.
    """

    def __init__(self, topic: str, signature: ClientSignature) -> None:
        self._topic = topic
        self._signature = signature
        self._latest = signature.run  # of this run and those before it, whatever their clocks were
        self._served = False
        self.suspected = False

    def begin(self, *, served_before: bool) -> None:
        """Begin a connection; before the first one that serves, signatures are those of earlier runs."""
        self._served, self.suspected = served_before, False

    def check(self, messages: Iterable[Message]) -> None:
        """Check the signatures among these messages.

        Raises:
            SessionTaken: a run with the same id and state started later.
        """
        client_id = self._signature.run.client_id
        for run, mac in _signed(message for message in messages if message.topic == self._topic):
            if run.client_id != client_id or run <= self._latest:
                continue
            if not self._signature.is_valid(run, mac):
                self.suspected = True
            elif self._served:
                raise SessionTaken(
                    f"another service that started later uses our client id {client_id!r} and a copy of our "
                    "state: give each service its own state.path and mqtt.client_id"
                )
            else:
                self._latest = run


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

    def ended(self, reason: BrokerError, *, suspected: bool) -> str:
        """Note the end of a connection or a failed attempt.

        Args:
            suspected: True if another client has signed with our id meanwhile; the first drop then counts.

        Returns:
            A hint for the log if a takeover is suspected (section 4.13.1), otherwise an empty string.
        """
        soon = self._clock() - self._connected < TAKEOVER_SECONDS_MAX
        if isinstance(reason, ConnectionDropped) and soon:
            self._count += 1
        else:  # also a refused connection, as from a broker while it restarts
            self._count = 0
        if self._count < (1 if suspected else TAKEOVER_DROPS_MIN):
            return ""
        times = "once" if self._count == 1 else f"{self._count} times in a row"
        return (
            f", {times} within {TAKEOVER_SECONDS_MAX:g} s of connecting: "
            f"does another client use {self._client_id!r}? Give each service its own mqtt.client_id"
        )


def _signed(messages: Iterable[Message]) -> Iterator[tuple[Run, str]]:
    """Runs that sign messages, each with the code that should prove it."""
    for message in messages:
        if isinstance(message, PublishPacket):
            for name, value in message.user_properties:
                started, token, mac, client_id = (value.split(" ", 3) + [""] * 3)[:4]
                if name == PROPERTY and started.isdecimal() and len(started) <= DIGITS_MAX:
                    yield Run(int(started), token, client_id), mac
