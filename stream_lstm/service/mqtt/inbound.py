"""Takes in what arrives, and holds the broker back when there is enough.

The inbox's limit stops the reading of the socket, so that messages wait with the broker. One thing goes
against that: an answer of the broker's (a PUBACK, a PINGRESP) lies in the same stream as the messages that
nobody takes while they wait for it. So while somebody waits for an answer, reading goes on. The inbox then
fills to twice its limit, and beyond that messages are left out: those of QoS 0 are lost, as QoS 0 may be,
and counted; for the others the connection is made anew once there is room, and the broker, which has no
acknowledgement for them, sends them again (MQTT 5.0, section 4.4).
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

# What waited at the broker comes in one go. So it has all come when nothing came for a moment and nothing is
# left to acknowledge; and, where messages never cease, after as long a time as we were away.
QUIET_SECONDS = 0.1
LATE_SECONDS_MIN, LATE_SECONDS_MAX = 1.0, 60.0


class Inbound:
    """The way in, over all connections.

    Args:
        clock: epoch seconds, for the time of arrival.

    Attributes:
        connection: the present one, if any, whether or not it has begun to serve.
        number: which one it is, from 1.
        received_total: messages.
        left_out_total: of QoS 0, lost for want of room.
        unacknowledged: messages of this connection, of any QoS, that were not settled.
    """

    def __init__(self, options: ClientOptions, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrived = asyncio.Event()
        self._serving = False
        self._listeners = 0
        self._leaving_out = False  # one that the broker must send again did not fit: nor may any after it
        self._done = False
        self._late = False
        self._late_until = self._last_arrival = 0.0
        self._away_since: float | None = None if options.session_expected else float("inf")
        self.inbox = Inbox(messages_max=options.inbox_messages_max, bytes_max=options.inbox_bytes_max)
        self.connection: Connection | None = None
        self.number = 0
        self.received_total = 0
        self.left_out_total = 0
        self.unacknowledged = 0

    def begin(self, connection: Connection) -> None:
        """A connection is being made; until it serves, its answers must be heard."""
        self.connection = connection
        self.number += 1
        self._serving = self._leaving_out = False
        self.unacknowledged = 0
        now = self._last_arrival = asyncio.get_running_loop().time()
        away = LATE_SECONDS_MAX if self._away_since is None else now - self._away_since
        self._late = away >= 0.0
        self._late_until = now + min(max(away, LATE_SECONDS_MIN), LATE_SECONDS_MAX)

    def serve(self) -> None:
        """The connection serves."""
        self._serving = True
        self._balance()

    def end(self) -> None:
        """There is no connection now; what came over it stays to be taken."""
        if self._serving:
            self._away_since = asyncio.get_running_loop().time()
            self._serving = False
        self.connection = None
        self.unacknowledged = 0

    async def receive(self, messages_max: int, least: Callable[[], int]) -> list[Arrival]:
        """What is there, once there is so much; `reconsider` asks for the number anew."""
        while self.inbox.messages < least():
            self._arrived.clear()
            await self._arrived.wait()
        taken = self.inbox.take(messages_max)
        self._balance()
        return taken

    def reconsider(self) -> None:
        """Whoever receives may want fewer messages now."""
        self._arrived.set()

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Keep what came in one read."""
        self.received_total += len(messages)
        if self._leaving_out or self._done or self.inbox.overfull:
            self._leave_out(messages)
            return
        resumed = self.connection is not None and self.connection.session_present
        late = resumed and self._may_be_late()  # without a session nothing has waited for us
        self.unacknowledged += len(messages)
        self.inbox.put(Arrival(self.number, messages, self._clock(), wire_bytes, late, resumed))
        self._arrived.set()
        if self.inbox.full:
            self._balance()

    def _may_be_late(self) -> bool:
        """Whether what comes now may have waited at the broker while we were away."""
        if self._late:
            now, last = asyncio.get_running_loop().time(), self._last_arrival
            quiet = not self.unacknowledged and now - last >= QUIET_SECONDS
            self._late = not quiet and now < self._late_until
            self._last_arrival = now
        return self._late

    def settle(self, arrivals: Sequence[Arrival]) -> bytes:
        """Acknowledgements for what came over this connection; an earlier one's ids mean nothing now."""
        out = []
        for arrival in arrivals:
            if arrival.connection == self.number:
                self.unacknowledged -= len(arrival.packets)
                out.append(packets.acknowledgements(arrival.packets))
        return b"".join(out)

    def of_now(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether these came over the present connection, all of them."""
        return all(arrival.connection == self.number for arrival in arrivals)

    @contextmanager
    def listening(self, *, patience_seconds: float) -> Iterator[None]:
        """Read on, however full the inbox is, once the wait inside has taken this long."""
        begun: list[bool] = []

        def listen() -> None:
            begun.append(True)
            self._listeners += 1
            self._balance()

        timer = asyncio.get_running_loop().call_later(patience_seconds, listen)
        try:
            yield
        finally:
            timer.cancel()
            self._listeners -= len(begun)
            self._balance()

    def stop_receiving(self) -> None:
        """Nobody will receive again: hear the broker's answers, and leave the messages with it."""
        self._done = True
        self._balance()

    def _balance(self) -> None:
        """Read, or do not."""
        connection = self.connection
        if connection is None:
            return
        if self._listeners or self._done or not self._serving or self.inbox.low:
            connection.resume_reading()
        elif self.inbox.full:
            connection.pause_reading()
        if self._leaving_out and self._serving and self.inbox.low and not self._done:
            connection.close(
                BrokerError("more arrived than there was room for; the broker sends it again"),
                DisconnectReasonCode.NORMAL_DISCONNECTION,
            )

    def _leave_out(self, messages: Sequence[Message]) -> None:
        lost = sum(message.packet_id is None for message in messages)
        if not self._done:
            self.left_out_total += lost
        self._leaving_out = self._leaving_out or lost < len(messages)
