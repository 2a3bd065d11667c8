"""Broker interface of the pipeline, for any transport: messages in, publications and acknowledgements out.

`stream_lstm.service.mqtt.MqttClient` implements it for MQTT 5. `tests/service/test_contract.py` tests all
implementations.

A delivery has the number of its journal entry. Two numbers give the broker's progress: `confirmed` for
publications, `acked_through` for acknowledgements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

Publication = tuple[str, bytes]  # topic, payload
MARK = ("by", "stream_lstm")  # user property of all that the service publishes


class Message(Protocol):
    """Message as received from the broker."""

    @property
    def topic(self) -> str:
        """Topic name; empty if its bytes are not UTF-8."""

    @property
    def payload(self) -> bytes:
        """Payload."""

    @property
    def qos(self) -> int:
        """Quality of service: 0, 1 or 2."""

    @property
    def packet_id(self) -> int | None:
        """Identifier for its acknowledgement on this connection; None at QoS 0, which has none."""

    @property
    def duplicate(self) -> bool:
        """True if the broker may have sent it before."""

    @property
    def retain(self) -> bool:
        """True if it is a retained message, sent because of the subscription."""

    @property
    def user_properties(self) -> Sequence[tuple[str, str]]:
        """Names and values that its publisher has added."""

    @property
    def subscription_ids(self) -> Sequence[int]:
        """Identifiers of the subscriptions for which it was sent, of those that have one."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Messages of one read.

    Attributes:
        connection: number of their connection; messages of an earlier connection cannot be acknowledged.
        packets: the messages, in order.
        time: arrival time, epoch seconds.
        wire_bytes: size of the messages on the wire.
        late: True if they may have waited at the broker while the client was disconnected, so that `time` may
            be later than they were sent.
        resumed: True if the broker kept the session from the connection before, so that they may be
            duplicates.
    """

    connection: int
    packets: Sequence[Message]
    time: float
    wire_bytes: int = 0
    late: bool = False
    resumed: bool = True

    def split(self, messages: int) -> tuple[Arrival, Arrival]:
        """Split it after so many messages; the bytes are divided in proportion to them."""
        share = self.wire_bytes * messages // len(self.packets)
        first = replace(self, packets=self.packets[:messages], wire_bytes=share)
        rest = replace(self, packets=self.packets[messages:], wire_bytes=self.wire_bytes - share)
        return first, rest


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Counters and levels of the transport, for metrics.

    Attributes:
        connections_total: connections established.
        messages_total: messages received.
        received_bytes_total: bytes received.
        dropped_messages_total: messages of QoS 0 dropped because the inbox was full.
        refused_publications_total: publications that the broker refused.
        broker_dropped_total: the broker's count of messages dropped for any client; None: not reported.
        inbox_messages: messages received and not yet taken.
        inbox_bytes: their size on the wire.
        unconfirmed_bytes: size of the unconfirmed publications.
        unacknowledged: messages of the present connection not yet acknowledged.
        receive_maximum: messages that the broker may send ahead of acknowledgements.
        reading_paused: True if the socket is not read, so that the broker waits (backpressure).
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
    """Client of a broker, as the pipeline uses it."""

    @property
    def confirmed(self) -> int:
        """Highest number whose publications, and all before, have reached the broker; never decreases."""

    @property
    def acked_through(self) -> int:
        """Highest number whose messages, and all before, the broker has as acknowledged; never decreases."""

    @property
    def connected_since(self) -> float:
        """Start of the present connection, epoch seconds; NaN if there is none."""

    async def receive(self, messages_max: int, messages_min: Callable[[], int]) -> list[Arrival]:
        """Wait for messages.

        Args:
            messages_max: highest number of messages to return.
            messages_min: returns the number of messages to wait for, at least 1; called as soon as there is a
                message, again when as many have arrived, and after each `reconsider`.

        Returns:
            Arrivals in order; also those of a connection that has ended since.
        """

    def reconsider(self) -> None:
        """Make a waiting `receive` call `messages_min` again."""

    async def deliver(
        self, number: int, publications: Sequence[Publication], arrivals: Sequence[Arrival], *, fresh: bool
    ) -> None:
        """Publish, then acknowledge; one call at a time.

        Publications that are unconfirmed when the connection ends are published again on the next one, the
        same bytes in the same order. Messages of an earlier connection are not acknowledged: the broker sends
        them again. Waits while there is no connection, and while the broker accepts nothing.

        Args:
            number: of this delivery, above the last one's unless there is nothing to publish.
            publications: in order.
            arrivals: to acknowledge, as received, in order.
            fresh: True if at least one of their messages is not a duplicate. Brokers send again in order, so
                everything sent again on this connection has been delivered by then.

        Raises:
            ValueError: the number is not above the last one's, and there are publications.
        """

    async def confirm(self, number: int) -> None:
        """Wait until `confirmed` is at least this number."""

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        """Publish a message that may be lost; returns False if there is no connection to write it to."""
