"""The service's one link to its broker, over as many connections as it takes.

Each connection stands on the session that the broker keeps for our client id: what was not acknowledged
comes again, and what was not confirmed is written again (MQTT 5.0, section 4.4). The way in is
`stream_lstm.service.mqtt.inbound`, the way out `stream_lstm.service.mqtt.outbound`; here is what joins them:
when to connect, when to give up, and how to leave.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

from mqtt5 import DisconnectReasonCode

from stream_lstm.errors import BrokerError, BrokerRefused, ConnectionDropped, SessionTaken
from stream_lstm.service.broker import Arrival, Message, TransportStats
from stream_lstm.service.mqtt import packets
from stream_lstm.service.mqtt.backoff import Backoff
from stream_lstm.service.mqtt.broker_stats import BrokerStats
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.granted import Granted
from stream_lstm.service.mqtt.handshake import Handshake
from stream_lstm.service.mqtt.inbound import Inbound
from stream_lstm.service.mqtt.options import ClientOptions
from stream_lstm.service.mqtt.outbound import Outbound
from stream_lstm.service.mqtt.takeover import ClientSignature, TakeoverDetector

# Where nothing is to be read of another owner (`stream_lstm.service.mqtt.takeover`), one who is hung up on
# again and again may have one all the same, or a broker that ends again and again: all we can do is ask.
THROWN_OUT_TIMES = 5
THROWN_OUT_SECONDS_MAX = 60.0
THROWN_OUT = (
    f", {THROWN_OUT_TIMES} times in a row soon after it had let us in: "
    "does another client use {!r}? Give each service its own mqtt.client_id"
)


class Observer(Protocol):
    """Is told how the link fares."""

    def connected(self, verdict: Granted) -> None:
        """A connection stands, subscribed, and this is what the broker grants."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """An attempt failed or a connection ended; the next attempt comes after so many seconds."""


class MqttClient:
    """One service's link to its broker, for as long as the service lives.

    Args:
        options: broker, filters and limits.
        observer: told of connections made and lost.
        clock: epoch seconds, for the time of arrival.
        random: draws the jitter of the waits.

    Attributes:
        verdict: of the present or the last connection.
        connected: subscribed, and what was unconfirmed is written again.
        connected_since: epoch seconds; NaN while it is not.
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        observer: Observer,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self._options = options
        self._observer = observer
        self._intake = Inbound(options, clock=clock)
        self._courier = Outbound(options, self._intake)
        mark = ClientSignature(int(clock() * 1e3), secrets.token_hex(4), options.client_id)
        self._ownership = TakeoverDetector(options.status_topic, mark)
        self._broker_stats = BrokerStats(options.dropped_topic)
        # What is said there at QoS 0 is for us and goes no further; # is no topic.
        self._aside = options.status_topic or "#", options.dropped_topic or "#"
        self._handshake = Handshake(options, mark)
        self._backoff = Backoff(
            seconds_min=options.backoff_seconds_min,
            seconds_max=options.backoff_seconds_max,
            refused_seconds_min=options.refused_seconds_min,
            random=random or Random(),
            clock=time.monotonic,
        )
        self._stopping = asyncio.Event()
        self._bytes_before = 0
        self._connected_at = float("-inf")
        self._hung_up = 0  # times in a row
        self.verdict: Granted | None = None
        self._connections_total = 0
        self.connected = False
        self.connected_since = math.nan
        self._clock = clock

    async def run(self) -> None:
        """Connect, serve, and connect again until `stop`.

        Raises:
            SessionTaken: another client uses our client id; to try again would throw it out in turn.
        """
        while not self._stopping.is_set():
            why = await self._attempt()
            if isinstance(why, SessionTaken):
                raise why
            if not self._stopping.is_set():
                lasting = isinstance(why, BrokerRefused) and why.lasting
                seconds = self._backoff.failed(lasting=lasting)
                hint = THROWN_OUT.format(self._options.client_id) if self._thrown_out(why) else ""
                self._observer.disconnected(f"{why}{hint}", seconds)
                await self._rest(seconds)

    async def receive(self, events_max: int, least: Callable[[], int] = lambda: 1) -> list[Arrival]:
        """What has arrived.

        Args:
            events_max: most messages in the answer.
            least: how many are waited for, at least 1; asked again whenever messages come and at each
                `reconsider`.
        """
        return await self._intake.receive(events_max, least)

    def reconsider(self) -> None:
        """Ask whoever receives again how many messages are waited for."""
        self._intake.reconsider()

    async def deliver(
        self,
        number: int,
        publications: Sequence[tuple[str, bytes]],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool = False,
    ) -> None:
        """Publish and then acknowledge, in one write; one call at a time.

        What came over an earlier connection is not acknowledged: its ids mean nothing now, and the broker
        sends it again. Waits while there is no connection, while the broker takes nothing, and while too
        much is unconfirmed; at QoS 1 also until the broker's Receive Maximum has let all of it out.

        Args:
            number: of this delivery, above the last one's unless there is nothing to publish.
            publications: topics, which must be valid ones to publish to, and payloads.
            arrivals: what these publications answer, as received, in order.
            fresh: they hold a message that was never delivered on before. Brokers send again in order, so
                all that came again on this connection was delivered on by then.

        Raises:
            ValueError: the number is not above the last one's.
        """
        await self._courier.deliver(number, publications, arrivals, fresh=fresh)

    async def confirm(self, number: int) -> None:
        """Wait until everything up to this number is known to have reached the broker."""
        await self._courier.confirm(number)

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0 what may as well be lost; returns whether there was a connection to take it."""
        connection = self._courier.connection
        if connection is None or not connection.writable:
            return False
        connection.send(packets.publications([(topic, payload)], retain=False))
        return True

    def resume(self, confirmed: int, *, acked_through: int = 0) -> None:
        """Take up the numbers where an earlier run ended.

        Args:
            confirmed: up to this one, everything has reached the broker.
            settled: up to this one, the broker knows what it sent us as acknowledged.
        """
        self._courier.window.resume(confirmed)
        self._courier.acked_through = acked_through

    def stop_receiving(self) -> None:
        """Nobody will `receive` again: hear the broker's answers, and leave its messages with it."""
        self._intake.stop_receiving()

    async def stop(self) -> None:
        """Leave: wait a little for what is unconfirmed, say that we are offline, and close."""
        self.stop_receiving()
        with suppress(TimeoutError):  # the next start publishes it again
            async with asyncio.timeout(self._options.stop_seconds_max):
                await self._courier.finish()
        self._stopping.set()
        if self._handshake.pending:
            self._handshake.pending.reschedule(asyncio.get_running_loop().time())
        if connection := self._intake.connection:
            if self.verdict and self.connected and self._options.status_topic:
                topic, retain = self._options.status_topic, self.verdict.retain_available
                mark = self._ownership.mark
                connection.send(packets.status(topic, packets.OFFLINE, retain=retain, mark=mark))
            connection.close(BrokerError("we have left"), DisconnectReasonCode.NORMAL_DISCONNECTION)
            await connection.closed()

    async def _attempt(self) -> BrokerError:
        """One connection, from its making to its end; returns why it ended."""
        try:
            connection = await self._handshake.open(self)
        except BrokerError as error:
            return error
        self._intake.begin(connection)
        self._ownership.begin(served_before=self._connections_total > 0)
        try:
            return await self._serve(connection)
        except BrokerError as error:
            return error
        finally:
            self.connected, self.connected_since = False, math.nan
            self._bytes_before += connection.bytes_received
            self._intake.end()
            self._courier.end()
            connection.close(BrokerError("given up"))
            await connection.closed()

    async def _serve(self, connection: Connection) -> BrokerError:
        async def resumed(verdict: Granted) -> None:
            await self._courier.begin(connection, verdict)

        verdict = await self._handshake.greet(connection, number=self._intake.number, resumed=resumed)
        staying = asyncio.ensure_future(connection.stay(verdict.keep_alive_seconds))
        try:
            if not verdict.session_present:
                await self._courier.begin(connection, verdict)
            if self._courier.connection:
                self.connected, self.connected_since = True, self._clock()
                self.verdict = verdict
                self._connections_total += 1
                self._backoff.connected()
                self._connected_at = time.monotonic()
                self._intake.serve()
                self._observer.connected(verdict)
            return await staying
        finally:
            staying.cancel()

    def _thrown_out(self, why: BrokerError) -> bool:
        """Whether somebody else seems to use our client id, at a broker that does not say so (4.13.1)."""
        if (
            isinstance(why, ConnectionDropped)
            and time.monotonic() - self._connected_at < THROWN_OUT_SECONDS_MAX
        ):
            self._hung_up += 1
        else:  # a broker that is restarted refuses connections for a moment, and these count, too
            self._hung_up = 0
        return self._hung_up >= THROWN_OUT_TIMES

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # What a connection tells.

    def arrived(self, messages: list[Message], wire_bytes: int) -> None:
        """Messages came in one read."""
        one, other = self._aside  # by name: a container's lookup would take twice the time, for every event
        said = [m for m in messages if ((topic := m.topic) == one or topic == other) and m.packet_id is None]
        if said:  # seldom
            messages = [m for m in messages if m.topic not in self._aside or m.packet_id is not None]
            self._broker_stats.hear(said)
            try:
                self._ownership.hear(said)
            except SessionTaken as taken:
                if self._intake.connection:
                    self._intake.connection.close(taken, DisconnectReasonCode.NORMAL_DISCONNECTION)
                return
        if messages:
            self._intake.arrived(messages, wire_bytes)

    def acknowledged(self, packet_id: int, *, taken: bool) -> None:
        """A publication of QoS 1 has come to its end."""
        self._courier.window.acknowledge(packet_id, taken=taken)

    def moved(self) -> None:
        """More may be written, or more is confirmed, than a moment ago."""
        self._courier.moved()

    # What metrics and the journal ask.

    @property
    def confirmed(self) -> int:
        """The highest number whose publications, and all before, are known to have reached the broker."""
        return self._courier.window.confirmed

    @property
    def acked_through(self) -> int:
        """The highest number whose arrivals, and all before, the broker is known to know as acknowledged."""
        return self._courier.acked_through

    @property
    def stats(self) -> TransportStats:
        """Counters since the start, and levels now."""
        inbound, window = self._intake, self._courier.window
        connection = inbound.connection
        return TransportStats(
            connections_total=self._connections_total,
            messages_total=inbound.received_total,
            received_bytes_total=self._bytes_before + (connection.bytes_received if connection else 0),
            dropped_messages_total=inbound.left_out_total,
            refused_publications_total=window.refused_total,
            broker_dropped_total=self._broker_stats.total,
            inbox_messages=inbound.inbox.messages,
            inbox_bytes=inbound.inbox.wire_bytes,
            unconfirmed_bytes=window.bytes,
            unacknowledged=inbound.unacknowledged,
            receive_maximum=self._options.receive_maximum,
            reading_paused=connection is not None and connection.reading_paused,
        )
