"""MQTT 5 client: implements `Broker`, and reconnects until stopped.

Decides when to connect, when to give up and how to leave. What outlives a connection is in
`stream_lstm.service.mqtt.session`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

from mqtt5 import DisconnectReasonCode

from stream_lstm.errors import BrokerError, BrokerRefused, SessionTaken
from stream_lstm.service.broker import Arrival, Publication, TransportStats
from stream_lstm.service.mqtt import packets
from stream_lstm.service.mqtt.backoff import Backoff
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.granted import Granted
from stream_lstm.service.mqtt.handshake import Handshake
from stream_lstm.service.mqtt.options import ClientOptions
from stream_lstm.service.mqtt.session import Session
from stream_lstm.service.mqtt.takeover import ClientSignature, RepeatedDrops


class Observer(Protocol):
    """Receives the client's connections and disconnections."""

    def connected(self, granted: Granted) -> None:
        """A connection is established and subscribed, with these features."""

    def settled(self) -> None:
        """The broker has more publications or acknowledgements than was known."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """An attempt failed or a connection ended; the next attempt follows after `retry_seconds`."""


class MqttClient:
    """Connection to the broker over all reconnects, on one session; implements `Broker`.

    Args:
        options: broker, filters and limits.
        observer: receives connections and disconnections.
        signature: of this run; None: of a run without state.
        clock: epoch seconds, for arrival times.
        random: draws the jitter of the back-off.

    Attributes:
        granted: features of the present or the last connection; None before the first one.
        connected: True while a connection is subscribed and its unconfirmed publications are written again.
        connected_since: epoch seconds; NaN while not connected.
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        observer: Observer,
        signature: ClientSignature | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self._options = options
        self._observer = observer
        self._signature = signature or ClientSignature.of(options.client_id, started_ms=int(clock() * 1e3))
        self._session = Session(options, signature=self._signature, settled=observer.settled, clock=clock)
        self._handshake = Handshake(options, self._signature)
        self._backoff = Backoff(
            seconds_min=options.backoff_seconds_min,
            seconds_max=options.backoff_seconds_max,
            refused_seconds_min=options.refused_seconds_min,
            random=random or Random(),
            clock=time.monotonic,
        )
        self._drops = RepeatedDrops(options.client_id, clock=time.monotonic)
        self._stopping = asyncio.Event()
        self._clock = clock
        self.granted: Granted | None = None
        self.connected = False
        self.connected_since = math.nan

    async def run(self) -> None:
        """Connect, and reconnect with back-off, until `stop`.

        Raises:
            SessionTaken: another client uses our client id; reconnecting would disconnect it in turn.
        """
        while not self._stopping.is_set():
            reason = await self._attempt()
            if isinstance(reason, SessionTaken):
                raise reason
            if not self._stopping.is_set():
                lasting = isinstance(reason, BrokerRefused) and reason.lasting
                seconds = self._backoff.failed(lasting=lasting)
                hint = self._drops.ended(reason, suspected=self._session.takeover_suspected)
                self._observer.disconnected(f"{reason}{hint}", seconds)
                await self._wait(seconds)

    def resume(self, confirmed: int, *, acked_through: int = 0, last_fresh: int = 0) -> None:
        """Continue the delivery numbers of an earlier run.

        Args:
            confirmed: as it was at the end of that run.
            acked_through: likewise.
            last_fresh: its last delivery of a message that the broker may send again.
        """
        self._session.outbound.window.resume(confirmed)
        self._session.outbound.acked_through = acked_through
        self._session.outbound.last_fresh = last_fresh

    def stop_receiving(self) -> None:
        """Leave all further messages with the broker; its answers are still read."""
        self._session.inbound.stop_receiving()

    async def stop(self) -> None:
        """Wait for confirmations, at most `stop_seconds_max`, then publish `offline` and disconnect."""
        self.stop_receiving()
        with suppress(TimeoutError):  # the next start publishes the rest again
            async with asyncio.timeout(self._options.stop_seconds_max):
                await self._session.outbound.drain()
        self._stopping.set()
        if self._handshake.pending:
            self._handshake.pending.reschedule(asyncio.get_running_loop().time())
        if connection := self._session.inbound.connection:
            if self.granted and self.connected and self._options.status_topic:
                topic, retain = self._options.status_topic, self.granted.retain_available
                connection.send(
                    packets.status(topic, packets.OFFLINE, retain=retain, signature=self._signature)
                )
            connection.close(BrokerError("the client stopped"), DisconnectReasonCode.NORMAL_DISCONNECTION)
            await connection.closed()

    async def _attempt(self) -> BrokerError:
        """Open, serve and close one connection; returns the reason of its end."""
        try:
            connection = await self._handshake.open(self._session)
        except BrokerError as error:
            return error
        self._session.begin(connection)
        try:
            return await self._serve(connection)
        except BrokerError as error:
            return error
        finally:
            self.connected, self.connected_since = False, math.nan
            self._session.end(connection)
            connection.close(BrokerError("the client closed the connection"))
            await connection.closed()

    async def _serve(self, connection: Connection) -> BrokerError:
        session = self._session

        async def resumed(granted: Granted) -> None:
            await session.outbound.begin(connection, granted)

        granted = await self._handshake.establish(connection, number=session.inbound.number, resumed=resumed)
        serving = asyncio.ensure_future(connection.serve_until_ended(granted.keep_alive_seconds))
        try:
            if not granted.session_present:
                await session.outbound.begin(connection, granted)
            if session.outbound.connection:
                self.connected, self.connected_since = True, self._clock()
                self.granted = granted
                self._backoff.connected()
                self._drops.connected()
                session.serve()
                self._observer.connected(granted)
            return await serving
        finally:
            serving.cancel()

    async def _wait(self, seconds: float) -> None:
        """Wait, or return early at `stop`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # `Broker`.

    async def receive(self, messages_max: int, messages_min: Callable[[], int] = lambda: 1) -> list[Arrival]:
        """Wait for messages; see `Broker.receive`."""
        return await self._session.inbound.receive(messages_max, messages_min)

    def reconsider(self) -> None:
        """Make a waiting `receive` call `messages_min` again."""
        self._session.inbound.reconsider()

    async def deliver(
        self,
        number: int,
        publications: Sequence[Publication],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool = False,
    ) -> None:
        """Publish, then acknowledge, in one write; see `Broker.deliver`.

        Packet ids of an earlier connection are not valid any more, so its arrivals are not acknowledged; the
        broker sends them again. Waits while there is no connection, while the broker reads nothing, and while
        more than `unconfirmed_bytes_max` is unconfirmed; at QoS 1 also until the broker's Receive Maximum has
        allowed all publications.

        Args:
            number: of this delivery.
            publications: topics, which must be valid topic names, and payloads.
            arrivals: to acknowledge.
            fresh: True if at least one of their messages is not a duplicate.

        Raises:
            ValueError: the number is not above the last one's, and there are publications.
        """
        await self._session.outbound.deliver(number, publications, arrivals, fresh=fresh)

    async def confirm(self, number: int) -> None:
        """Wait until `confirmed` has reached this number."""
        await self._session.outbound.confirm(number)

    async def settle(self) -> bool:
        """Wait until the broker has everything written so far; True: it will send nothing delivered again."""
        return await self._session.outbound.settle()

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0 without confirmation; returns False if there is no connection to write it to."""
        connection = self._session.outbound.connection
        if connection is None or not connection.writable:
            return False
        connection.send(packets.publications([(topic, payload)], retain=False))
        return True

    @property
    def confirmed(self) -> int:
        """Highest number whose publications, and all before, have reached the broker."""
        return self._session.outbound.window.confirmed

    @property
    def acked_through(self) -> int:
        """Highest number whose arrivals, and all before, the broker is known to have as acknowledged."""
        return self._session.outbound.acked_through

    @property
    def stats(self) -> TransportStats:
        """Counters since the start, and levels now."""
        return self._session.stats
