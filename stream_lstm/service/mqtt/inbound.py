"""Inbound side of the client: queues arrivals, and applies backpressure when the inbox is full.

A full inbox stops the reading of the socket, so that messages wait at the broker. An answer of the broker
(PUBACK, PINGRESP), however, comes in the same stream, behind messages that are not taken while the client
waits for it. So reading continues while an answer is awaited. The inbox then fills to twice its limit;
messages beyond that are dropped. At QoS 0 they are lost, as QoS 0 allows, and counted. At higher QoS the
client reconnects once the inbox has space, and the broker sends the unacknowledged messages again (MQTT 5.0,
section 4.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mqtt5 import DisconnectReasonCode

from stream_lstm.errors import BrokerError
from stream_lstm.service.broker import Arrival, Message
from stream_lstm.service.mqtt import packets
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.inbox import Inbox
from stream_lstm.service.mqtt.options import ClientOptions

# MQTT does not mark messages that waited at the broker, so the end of their burst is a rule of ours: nothing
# came for a moment while nothing is unacknowledged; or, under constant traffic, as much time has passed as
# the client was disconnected, within these limits. A trade-off: longer times mark more live messages as late
# (docs/decisions/0006).
QUIET_SECONDS = 0.1
LATE_SECONDS_MIN, LATE_SECONDS_MAX = 1.0, 60.0


class Inbound:
    """Messages from the broker, over all connections.

    Args:
        options: of the client.
        clock: epoch seconds, for arrival times.

    Attributes:
        inbox: messages received and not yet taken.
        connection: the present one, also during its handshake; None if there is none.
        number: of the present or the last connection, from 1.
        received_total: messages.
        dropped_total: messages of QoS 0 dropped because the inbox was full.
        unacknowledged: messages of the present connection, of any QoS, not yet acknowledged.
    """

    def __init__(self, options: ClientOptions, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self._wanted = 1  # number of messages for which a `receive` waits
        self._serving = False
        self._awaiting_answer = 0  # number of waits that need reading to continue
        self._dropping = False  # a message of QoS 1 or 2 was dropped: to keep the order, so are all after it
        self._stopped = False
        self._late = False
        self._late_until = self._last_arrival = 0.0
        self._disconnected_since: float | None = None if options.session_expected else float("inf")
        self.inbox = Inbox(messages_max=options.inbox_messages_max, bytes_max=options.inbox_bytes_max)
        self.connection: Connection | None = None
        self.number = 0
        self.received_total = 0
        self.dropped_total = 0
        self.unacknowledged = 0

    def begin(self, connection: Connection) -> None:
        """Begin a handshake; until `serve`, reading never pauses, since its answers are awaited."""
        self.connection = connection
        self.number += 1
        self._serving = self._dropping = False
        self.unacknowledged = 0
        now = self._last_arrival = asyncio.get_running_loop().time()
        since = self._disconnected_since
        disconnected_seconds = LATE_SECONDS_MAX if since is None else now - since
        self._late = disconnected_seconds >= 0.0
        self._late_until = now + min(max(disconnected_seconds, LATE_SECONDS_MIN), LATE_SECONDS_MAX)

    def serve(self) -> None:
        """The handshake is complete."""
        self._serving = True
        self._update_reading()

    def end(self) -> None:
        """The connection has ended; its messages stay in the inbox."""
        if self._serving:
            self._disconnected_since = asyncio.get_running_loop().time()
            self._serving = False
        self.connection = None
        self.unacknowledged = 0

    async def receive(self, messages_max: int, messages_min: Callable[[], int]) -> list[Arrival]:
        """Wait for messages; see `stream_lstm.service.broker.Broker.receive`."""
        while self.inbox.messages < (wanted := messages_min() if self.inbox.messages else 1):
            self._wanted = wanted
            self._changed.clear()
            await self._changed.wait()
        taken = self.inbox.take(messages_max)
        self._update_reading()
        return taken

    def reconsider(self) -> None:
        """Make a waiting `receive` call `messages_min` again, now or when the next message arrives."""
        self._wanted = 1
        if self.inbox.messages:
            self._changed.set()

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Queue the messages of one read."""
        self.received_total += len(messages)
        if self._dropping or self._stopped or self.inbox.overfull:
            self._drop(messages)
            return
        resumed = self.connection is not None and self.connection.session_present
        late = resumed and self._may_be_late()  # without a session no message waited at the broker
        self.unacknowledged += len(messages)
        self.inbox.put(Arrival(self.number, messages, self._clock(), wire_bytes, late, resumed))
        if self.inbox.messages >= self._wanted:  # waking the task for less would cost as much as a message
            self._changed.set()
        if self.inbox.full:
            self._update_reading()

    def _may_be_late(self) -> bool:
        """True if messages that come now may have waited at the broker."""
        if self._late:
            now, last = asyncio.get_running_loop().time(), self._last_arrival
            quiet = not self.unacknowledged and now - last >= QUIET_SECONDS
            self._late = not quiet and now < self._late_until
            self._last_arrival = now
        return self._late

    def acknowledge(self, arrivals: Sequence[Arrival]) -> bytes:
        """Encode acknowledgements, but not of an earlier connection, whose packet ids are invalid now."""
        out = []
        for arrival in arrivals:
            if arrival.connection == self.number:
                self.unacknowledged -= len(arrival.packets)
                out.append(packets.acknowledgements(arrival.packets))
        return b"".join(out)

    def all_present(self, arrivals: Sequence[Arrival]) -> bool:
        """True if all of these came over the present connection."""
        return all(arrival.connection == self.number for arrival in arrivals)

    @contextmanager
    def keep_reading(self, *, after_seconds: float) -> Iterator[None]:
        """Read on despite a full inbox if the body of the context takes longer than `after_seconds`."""
        begun: list[bool] = []

        def begin() -> None:
            begun.append(True)
            self._awaiting_answer += 1
            self._update_reading()

        timer = asyncio.get_running_loop().call_later(after_seconds, begin)
        try:
            yield
        finally:
            timer.cancel()
            self._awaiting_answer -= len(begun)
            self._update_reading()

    def stop_receiving(self) -> None:
        """Drop all further messages: they stay with the broker; its answers are still read."""
        self._stopped = True
        self._update_reading()

    def _update_reading(self) -> None:
        """Pause or resume reading, and reconnect after a drop once the inbox has space."""
        connection = self.connection
        if connection is None:
            return
        if self._awaiting_answer or self._stopped or not self._serving or self.inbox.low:
            connection.resume_reading()
        elif self.inbox.full:
            connection.pause_reading()
        if self._dropping and self._serving and self.inbox.low and not self._stopped:
            connection.close(
                BrokerError("messages were dropped because the inbox was full; the broker sends them again"),
                DisconnectReasonCode.NORMAL_DISCONNECTION,
            )

    def _drop(self, messages: Sequence[Message]) -> None:
        lost = sum(message.packet_id is None for message in messages)
        if not self._stopped:
            self.dropped_total += lost
        self._dropping = self._dropping or lost < len(messages)
