"""Outbound side of the client: writes publications and acknowledgements, and tracks their confirmation.

Standard: MQTT 5.0, sections 4.6 (order), 4.9 (flow control), 3.12 (PINGREQ). For the reason why a PINGRESP
confirms see `stream_lstm.service.mqtt.inflight`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream_lstm.service.broker import Arrival, Publication
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.granted import Granted
from stream_lstm.service.mqtt.inbound import Inbound
from stream_lstm.service.mqtt.inflight import InflightWindow, Qos0Window, Qos1Window
from stream_lstm.service.mqtt.options import ClientOptions

# Waits after which reading goes on despite a full inbox. Trade-offs: a shorter wait gives up backpressure for
# an answer that was about to come; a longer one delays deliveries.
ANSWER_WAIT_SECONDS = 0.05  # an awaited answer may be behind messages that the inbox has no space for
WRITE_WAIT_SECONDS = 1.0  # a broker that reads nothing may itself be blocked until the client reads


class Barrier(NamedTuple):
    """A PINGREQ, by count, and what its PINGRESP confirms.

    Attributes:
        ping: count of PINGREQ packets of the connection, this one included.
        published: highest delivery number whose publications were written before it.
        acknowledged: highest delivery number whose acknowledgements were written before it.
    """

    ping: int
    published: int
    acknowledged: int


class Outbound:
    """Publications and acknowledgements to the broker, over all connections.

    Args:
        options: of the client.
        inbound: encodes acknowledgements, and reads on while an answer is awaited.
        settled: called when the broker is known to have more than before.

    Attributes:
        connection: the present one once it serves; None if there is none.
        window: unconfirmed publications.
        acked_through: highest number whose arrivals, and all before, the broker is known to have as
            acknowledged.
        last_fresh: highest number with an arrival that the broker sends again unless it is acknowledged.
    """

    def __init__(self, options: ClientOptions, inbound: Inbound, *, settled: Callable[[], None]) -> None:
        self._options = options
        self._settled = settled
        self._inbound = inbound
        self._progress = asyncio.Event()  # set for a moment to make waiting calls check their conditions
        self._barrier: Barrier | None = None
        self._acknowledged = 0  # last fresh delivery acknowledged on this connection
        self._session_began = 0  # number of the connection with which the broker began the present session
        self.last_fresh = 0
        self.acked_through = 0
        self._barrier_time = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.connection: Connection | None = None
        window = Qos1Window if options.publish_qos else Qos0Window
        self.window: InflightWindow = window(retain=options.publish_retain)

    async def begin(self, connection: Connection, granted: Granted) -> None:
        """Write all unconfirmed publications again, then serve; returns early if the connection ends."""
        self.window.reopen(granted)
        if not granted.session_present:  # the broker has forgotten what it had sent
            self.last_fresh, self._session_began = 0, self._inbound.number
        while piece := self.window.outgoing():
            connection.send(piece)
            while not (connection.writable or connection.ended.done()):
                await self._progress.wait()
        if not connection.ended.done():
            self.connection = connection
            self._request_barrier()
            self.progressed()

    def end(self) -> None:
        """The connection has ended."""
        self.connection = self._barrier = None
        self._acknowledged = 0
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.progressed()

    async def deliver(
        self, number: int, publications: Sequence[Publication], arrivals: Sequence[Arrival], *, fresh: bool
    ) -> None:
        """Publish, then acknowledge; see `stream_lstm.service.mqtt.client.MqttClient.deliver`."""
        connection = await self._wait_until(self._has_space)
        self.window.add(number, publications)
        piece = self.window.outgoing()
        if not self.window.idle:  # `progressed` writes the rest as the broker's Receive Maximum allows
            connection.send(piece)
            piece = b""
            connection = await self._wait_until(lambda: self.window.idle)
        connection.send(piece + self._inbound.acknowledge(arrivals))
        if fresh and any(arrival.connection >= self._session_began for arrival in arrivals):
            self.last_fresh = number
        if fresh and self._inbound.all_present(arrivals):
            self._acknowledged = number
        self._request_barrier()

    async def confirm(self, number: int) -> None:
        """Wait until everything up to this number is confirmed.

        An eviction waits here within a batch, so the inbox is not taken meanwhile: reading goes on.
        """
        if self.window.confirmed >= number:
            return
        with self._inbound.keep_reading(after_seconds=ANSWER_WAIT_SECONDS):
            while self.window.confirmed < number:
                await self._progress.wait()

    async def settle(self) -> bool:
        """Wait until the broker has read everything written so far, or the connection ends.

        Call it after the last delivery: a PINGREQ that follows every publication and acknowledgement, also
        those of duplicates, is answered after them (section 4.6).

        Returns:
            True if the broker has every acknowledgement, and will send nothing again that was delivered.
        """
        connection, acknowledged = self.connection, self._acknowledged
        if connection is None:
            return False
        connection.ping()
        last = connection.pings_sent
        while connection.pings_answered < last:
            if self.connection is not connection:
                return False
            await self._progress.wait()
        self.acked_through = max(self.acked_through, acknowledged)
        return self.acked_through >= self.last_fresh

    async def drain(self) -> None:
        """Wait until everything is confirmed, or there is no connection."""
        while self.connection and self.window.confirmed < self.window.last:
            await self._progress.wait()

    def progressed(self) -> None:
        """Evaluate the barrier, write on, and wake waiting calls."""
        connection, barrier = self.connection, self._barrier
        if connection and barrier and connection.pings_answered >= barrier.ping:
            self._barrier = None
            self.window.confirm(barrier.published)
            self.acked_through = max(self.acked_through, barrier.acknowledged)
            self._settled()
            self._request_barrier()
        if connection and connection.writable:
            connection.send(self.window.outgoing())
        self._progress.set()
        self._progress.clear()

    def _has_space(self) -> bool:
        return self.window.bytes < self._options.unconfirmed_bytes_max

    async def _wait_until(self, ready: Callable[[], bool]) -> Connection:
        """Wait until there is a writable connection and `ready()` is True; returns the connection."""
        while not ((connection := self.connection) and connection.writable and ready()):
            after_seconds = WRITE_WAIT_SECONDS if ready() else ANSWER_WAIT_SECONDS
            with self._inbound.keep_reading(after_seconds=after_seconds):
                await self._progress.wait()
        return connection

    def _request_barrier(self) -> None:
        """Send a PINGREQ that confirms what is written: now, or `barrier_seconds_min` after the last one."""
        published = self.window.barrier()
        nothing_new = published is None and self._acknowledged <= self.acked_through
        if self.connection is None or nothing_new or self._barrier or self._timer:
            return
        loop = asyncio.get_running_loop()
        due = self._barrier_time + self._options.barrier_seconds_min
        if loop.time() < due:
            self._timer = loop.call_at(due, self._barrier_due)
        else:
            self._barrier_time = loop.time()
            self.connection.ping()
            self._barrier = Barrier(self.connection.pings_sent, published or 0, self._acknowledged)

    def _barrier_due(self) -> None:
        self._timer = None
        self._barrier_time = float("-inf")
        self._request_barrier()
