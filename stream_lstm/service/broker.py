"""The broker as the pipeline sees it: messages in, publications and acknowledgements out, over any transport.

`MqttClient` in `stream_lstm.service.mqtt` implements it for MQTT 5. The contract that every implementation
keeps is tested in `tests/service/contract.py`.

Deliveries are numbered as their journal entries are. Two numbers say how far the broker has come: `confirmed`
for what was published, `acked_through` for what was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Publication = tuple[str, bytes]  # topic and payload


class Message(Protocol):
    """A message as the broker sent it."""

    @property
    def topic(self) -> str:
        """Its topic; empty where the bytes are not UTF-8."""

    @property
    def payload(self) -> bytes:
        """Its payload."""

    @property
    def qos(self) -> int:
        """Quality of service: 0, 1 or 2."""

    @property
    def packet_id(self) -> int | None:
        """Its number on this connection; None at QoS 0, which is not acknowledged."""

    @property
    def duplicate(self) -> bool:
        """True if the broker marks it as sent before."""

    @property
    def retain(self) -> bool:
        """True if the broker had retained it before the subscription."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Messages of one read.

    Attributes:
        connection: the connection they came over; messages of an earlier one cannot be acknowledged.
        packets: in order.
        time: of arrival, epoch seconds.
        wire_bytes: of these messages, counted on the wire.
        late: they may have waited at the broker while the client was away: `time` is not when they were sent.
        resumed: the broker had kept the session when the connection began, so they may be duplicates.
    """

    connection: int
    packets: Sequence[Message]
    time: float
    wire_bytes: int = 0
    late: bool = False
    resumed: bool = True


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Counters and levels of the transport, for metrics.

    Attributes:
        connections_total: connections that were established.
        messages_total: messages received.
        received_bytes_total: bytes received.
        dropped_messages_total: messages of QoS 0 dropped for want of space in the inbox.
        refused_publications_total: publications that the broker does not accept.
        broker_dropped_total: messages that the broker reports as dropped, for any client; None: it never did.
        inbox_messages: received and not yet taken.
        inbox_bytes: likewise, counted on the wire.
        unconfirmed_bytes: publications kept until the broker is known to have them.
        unacknowledged: received over this connection and not acknowledged.
        receive_maximum: messages that the broker may send ahead of acknowledgements.
        reading_paused: the socket is not read, so that the broker waits (backpressure).
    """

    connections_total: int = 0
    messages_total: int = 0
    received_bytes_total: int = 0
    dropped_messages_total: int = 0
    refused_publications_total: int = 0
    broker_dropped_total: int | None = None
    inbox_messages: int = 0
    inbox_bytes: int = 0
    unconfirmed_bytes: int = 0
    unacknowledged: int = 0
    receive_maximum: int = 0
    reading_paused: bool = False


class Broker(Protocol):
    """The pipeline's side of a broker."""

    @property
    def confirmed(self) -> int:
        """The highest number whose publications, and all before, are known to have reached the broker."""

    @property
    def acked_through(self) -> int:
        """The highest number whose messages, and all before, the broker is known to know as acknowledged."""

    @property
    def connected_since(self) -> float:
        """Epoch seconds; NaN while there is no connection."""

    async def receive(self, messages_max: int, least: Callable[[], int]) -> list[Arrival]:
        """Wait for messages.

        Args:
            messages_max: most messages in the answer.
            least: how many messages to wait for, at least 1; asked again when messages arrive and at each
                `reconsider`.
        """

    def reconsider(self) -> None:
        """Have a waiting `receive` ask `least` again."""

    async def deliver(
        self, number: int, publications: Sequence[Publication], arrivals: Sequence[Arrival], *, fresh: bool
    ) -> None:
        """Publish, then acknowledge; one call at a time.

        Messages of an earlier connection are not acknowledged: the broker sends them again. Waits while there
        is no connection, and while the broker accepts nothing.

        Args:
            number: of this delivery, above the last one's unless there is nothing to publish.
            publications: in the order in which they are published.
            arrivals: what these publications answer, as received, in order.
            fresh: at least one of their messages is not a duplicate. Brokers send again in order, so
                everything sent again on this connection has been delivered by then.
        """

    async def confirm(self, number: int) -> None:
        """Wait until `confirmed` has reached this number."""

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        """Publish what may be lost; returns False where there is no connection to take it."""
