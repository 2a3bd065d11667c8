"""Session state of the client: all that outlives a connection (MQTT 5.0, section 4.1).

`Session` joins the inbound and the outbound side, and listens to the present connection. The broker keeps its
part under our client id: it sends unacknowledged messages again on the next connection, and the client writes
unconfirmed publications again (section 4.4).
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import DisconnectReasonCode

from stream_lstm.errors import SessionTaken
from stream_lstm.service.broker import Message, TransportStats
from stream_lstm.service.mqtt.broker_stats import BrokerStats
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.inbound import Inbound
from stream_lstm.service.mqtt.options import ClientOptions
from stream_lstm.service.mqtt.outbound import Outbound
from stream_lstm.service.mqtt.takeover import ClientSignature, TakeoverDetector


class Session:
    """Inbound and outbound state over all connections; implements `ConnectionListener`.

    Args:
        options: of the client.
        signature: of this client, to tell its status messages from another's.
        settled: called when the broker is known to have more than before.
        clock: epoch seconds, for arrival times.

    Attributes:
        inbound: messages.
        outbound: publications and acknowledgements.
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        signature: ClientSignature,
        settled: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.inbound = Inbound(options, clock=clock)
        self.outbound = Outbound(options, self.inbound, settled=settled)
        self._takeover = TakeoverDetector(options.status_topic, signature)
        self._broker_stats = BrokerStats(options.dropped_topic)
        # Messages of QoS 0 on these topics are for the client itself, not events; # is not a topic.
        self._own_topics = options.status_topic or "#", options.dropped_topic or "#"
        self._receive_maximum = options.receive_maximum
        self._connections_total = 0
        self._bytes_before = 0

    def begin(self, connection: Connection) -> None:
        """Begin a handshake."""
        self.inbound.begin(connection)
        self._takeover.begin(served_before=self._connections_total > 0)

    def serve(self) -> None:
        """The handshake is complete."""
        self._connections_total += 1
        self.inbound.serve()

    def end(self, connection: Connection) -> None:
        """The connection has ended, or is about to be closed."""
        self._bytes_before += connection.bytes_received
        self.inbound.end()
        self.outbound.end()

    # Calls of the connection.

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Messages of one read."""
        one, other = self._own_topics  # unpacked: a container's lookup takes twice the time, for every event
        own = [m for m in messages if ((topic := m.topic) == one or topic == other) and m.packet_id is None]
        if own:  # rare
            messages = [m for m in messages if m.topic not in self._own_topics or m.packet_id is not None]
            self._broker_stats.update(own)
            try:
                self._takeover.check(own)
            except SessionTaken as taken:
                if self.inbound.connection:
                    self.inbound.connection.close(taken, DisconnectReasonCode.NORMAL_DISCONNECTION)
                return
        if messages:
            self.inbound.arrived(messages, wire_bytes)

    def acknowledged(self, packet_id: int, *, accepted: bool) -> None:
        """The broker acknowledged a publication of QoS 1."""
        self.outbound.window.acknowledge(packet_id, accepted=accepted)

    def progressed(self) -> None:
        """Writing may be possible again, or more may be confirmed."""
        self.outbound.progressed()

    @property
    def takeover_suspected(self) -> bool:
        """True if a status message of the last connection had our client id and an invalid signature."""
        return self._takeover.suspected

    @property
    def stats(self) -> TransportStats:
        """Counters since the start, and levels now."""
        inbound, window = self.inbound, self.outbound.window
        connection = inbound.connection
        return TransportStats(
            connections_total=self._connections_total,
            messages_total=inbound.received_total,
            received_bytes_total=self._bytes_before + (connection.bytes_received if connection else 0),
            dropped_messages_total=inbound.dropped_total,
            refused_publications_total=window.refused_total,
            broker_dropped_total=self._broker_stats.total,
            inbox_messages=inbound.inbox.messages,
            inbox_bytes=inbound.inbox.wire_bytes,
            unconfirmed_bytes=window.bytes,
            unacknowledged=inbound.unacknowledged,
            receive_maximum=self._receive_maximum,
            reading_paused=connection is not None and connection.reading_paused,
        )
