"""Carries publications and acknowledgements out, and learns what the broker has.

Standard: MQTT 5.0, sections 4.6 (order), 4.9 (flow control), 3.12 (PINGREQ). Why a ping confirms: see
`stream_lstm.service.mqtt.inflight`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream_lstm.service.broker import Arrival
from stream_lstm.service.mqtt.connection import Connection
from stream_lstm.service.mqtt.granted import Granted
from stream_lstm.service.mqtt.inbound import Inbound
from stream_lstm.service.mqtt.inflight import AtLeastOnce, AtMostOnce, InflightWindow
from stream_lstm.service.mqtt.options import ClientOptions

ANSWER_PATIENCE_SECONDS = 0.05  # an answer that takes longer may lie behind what the inbox has no room for
WRITE_PATIENCE_SECONDS = 1.0  # a broker that takes nothing may itself be waiting for us to read


class Barrier(NamedTuple):
    """A ping, by count, and what its answer tells to have been read: deliveries, and acknowledgements."""

    ping: int
    written: int
    answered: int


class Outbound:
    """The way out, over all connections.

    Args:
        intake: reads on while an answer is awaited.

    Attributes:
        connection: one that serves, None while there is none.
        window: what is not confirmed.
        settled: the broker knows the arrivals up to this delivery as acknowledged.
    """

    def __init__(self, options: ClientOptions, intake: Inbound) -> None:
        self._options = options
        self._intake = intake
        self._pulse = asyncio.Event()  # set for a moment whenever a waiting call should look again
        self._barrier: Barrier | None = None
        self._answered = 0  # the last delivery whose arrivals were acknowledged on this connection
        self.acked_through = 0
        self._barrier_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.connection: Connection | None = None
        window = AtLeastOnce if options.publish_qos else AtMostOnce
        self.window: InflightWindow = window(retain=options.publish_retain)

    async def begin(self, connection: Connection, verdict: Granted) -> None:
        """Write again what the broker may not have, and then serve; returns early if the connection ends."""
        self.window.reopen(verdict)
        while piece := self.window.outgoing():
            connection.send(piece)
            while not (connection.writable or connection.ended.done()):
                await self._pulse.wait()
        if not connection.ended.done():
            self.connection = connection
            self._ask()
            self.moved()

    def end(self) -> None:
        """There is no connection now."""
        self.connection = self._barrier = None
        self._answered = 0
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.moved()

    async def deliver(
        self,
        number: int,
        publications: Sequence[tuple[str, bytes]],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool,
    ) -> None:
        """Publish, then acknowledge; see `stream_lstm.service.mqtt.client.Link.deliver`."""
        connection = await self._when(self._may_take)
        self.window.add(number, publications)
        piece = self.window.outgoing()
        if not self.window.idle:  # the rest is written as the broker makes room, in `moved`
            connection.send(piece)
            piece = b""
            connection = await self._when(lambda: self.window.idle)
        connection.send(piece + self._intake.settle(arrivals))
        if fresh and self._intake.of_now(arrivals):
            self._answered = number
        self._ask()

    async def confirm(self, number: int) -> None:
        """Wait until everything up to this number has reached the broker."""
        while self.window.confirmed < number:
            await self._pulse.wait()

    async def finish(self) -> None:
        """Wait until everything has reached the broker, or there is no connection."""
        while self.connection and self.window.confirmed < self.window.last:
            await self._pulse.wait()

    def moved(self) -> None:
        """Go on with whatever waited for the broker."""
        connection, barrier = self.connection, self._barrier
        if connection and barrier and connection.pings_answered >= barrier.ping:
            self._barrier = None
            self.window.confirm(barrier.written)
            self.acked_through = max(self.acked_through, barrier.answered)
            self._ask()
        if connection and connection.writable:
            connection.send(self.window.outgoing())
        self._pulse.set()
        self._pulse.clear()

    def _may_take(self) -> bool:
        return self.window.bytes < self._options.unconfirmed_bytes_max

    async def _when(self, ready: Callable[[], bool]) -> Connection:
        """The connection, as soon as there is one that takes bytes and this is so."""
        while not ((connection := self.connection) and connection.writable and ready()):
            patience = ANSWER_PATIENCE_SECONDS if ready() is False else WRITE_PATIENCE_SECONDS
            with self._intake.listening(patience_seconds=patience):
                await self._pulse.wait()
        return connection

    def _ask(self) -> None:
        """Have what is written confirmed by a ping: now, or when the last one is long enough ago."""
        written = self.window.barrier()
        nothing_new = written is None and self._answered <= self.acked_through
        if self.connection is None or nothing_new or self._barrier or self._timer:
            return
        loop = asyncio.get_running_loop()
        due = self._barrier_at + self._options.barrier_seconds_min
        if loop.time() < due:
            self._timer = loop.call_at(due, self._ask_now)
        else:
            self._barrier_at = loop.time()
            self.connection.ping()
            self._barrier = Barrier(self.connection.pings_sent, written or 0, self._answered)

    def _ask_now(self) -> None:
        self._timer = None
        self._barrier_at = float("-inf")
        self._ask()
