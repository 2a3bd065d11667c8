"""In-memory broker for tests of the pipeline: the test feeds arrivals, and reads deliveries."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stream_lstm.service.broker import Arrival, Message, Publication


@dataclass(frozen=True)
class SentMessage:
    """Message as received from a broker."""

    topic: str
    payload: bytes
    qos: int = 1
    packet_id: int | None = 1
    duplicate: bool = False
    retain: bool = False
    user_properties: tuple[tuple[str, str], ...] = ()
    subscription_ids: tuple[int, ...] = ()


class ScriptedBroker:
    """Implements `Broker` in memory, on one session.

    By default every arrival can be received at once, whatever `messages_min` asks for, and every delivery is
    confirmed at once, while `acked_through` stays as it is: the least that a broker can know.

    Args:
        hasty: False: `receive` waits for as many messages as `messages_min` asks for.
        confirms: False: deliveries are confirmed by `confirm_all` only.

    Attributes:
        delivered: number, publications and acknowledged messages of each delivery, in order.
        read: publications, also those published again, and acknowledged messages, as the broker reads them.
        connection: number of the present or the last connection.
        connected: True if there is a connection.
    """

    def __init__(self, *, hasty: bool = True, confirms: bool = True) -> None:
        self._hasty = hasty
        self._confirms = confirms
        self._arrivals: deque[Arrival] = deque()
        self._unacknowledged: list[SentMessage] = []
        self._unconfirmed: list[tuple[int, list[Publication]]] = []
        self._last = self._fresh = 0
        self._changed = asyncio.Event()
        self.delivered: list[tuple[int, list[Publication], list[Message]]] = []
        self.read: list[Publication | Message] = []
        self.confirmed = 0
        self.acked_through = 0
        self.connection = 1
        self.connected = True
        self.connected_since = 1.0

    def feed(
        self,
        *messages: SentMessage,
        connection: int | None = None,
        time: float = 1_700_000_000.0,
        **more: bool,
    ) -> None:
        """Feed messages that arrive in one read.

        Args:
            messages: in order.
            connection: number; None: the present one.
            time: of arrival, epoch seconds.
            more: as in `Arrival`.
        """
        self._unacknowledged += [message for message in messages if message.qos]
        if self.connected:
            self._arrivals.append(Arrival(connection or self.connection, messages, time, **more))
            self._wake()

    def disconnect(self) -> None:
        """End the connection."""
        self.connected, self.connected_since = False, math.nan

    def connect(self) -> None:
        """Begin a connection on the kept session: both sides send again what is open."""
        self.connection += 1
        self.connected, self.connected_since, self._fresh = True, 1.0, 0
        self.read += [publication for _, entry in self._unconfirmed for publication in entry]
        again, self._unacknowledged = self._unacknowledged, []
        if again:
            self.feed(*(replace(message, duplicate=True) for message in again))
        self._wake()

    async def receive(self, messages_max: int, messages_min: Callable[[], int]) -> list[Arrival]:
        while not self._arrivals or not (self._hasty or self._messages >= messages_min()):
            await self._change()
        return [self._arrivals.popleft()]

    def reconsider(self) -> None:
        self._wake()

    async def deliver(
        self,
        number: int,
        publications: Sequence[Publication],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool = False,
    ) -> None:
        while not self.connected:
            await self._change()
        if publications and number <= self._last:
            raise ValueError(f"delivery number {number} is not above the last one, {self._last}")
        present = [arrival for arrival in arrivals if arrival.connection >= self.connection]
        messages = [message for arrival in present for message in arrival.packets]
        self.delivered.append((number, list(publications), messages))
        self.read += [*publications, *messages]
        for message in messages:
            self._acknowledge(message)
        self._last = max(self._last, number)
        self._unconfirmed.append((number, list(publications)))
        if fresh and len(present) == len(arrivals):
            self._fresh = number
        if self._confirms:
            self._confirm()
        self._wake()

    def confirm_all(self) -> None:
        """Confirm all publications and acknowledgements so far."""
        self._confirm()
        self.acked_through = max(self.acked_through, self._fresh)
        self._wake()

    async def confirm(self, number: int) -> None:
        while self.confirmed < number:
            await self._change()

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        if self.connected:
            self.read.append((topic, payload))
        return self.connected

    async def until_delivered(self, count: int, seconds: float = 10.0) -> None:
        """Wait until there are this many deliveries."""
        async with asyncio.timeout(seconds):
            while len(self.delivered) < count:
                await self._change()

    async def until_acknowledged(self, count: int, seconds: float = 10.0) -> None:
        """Wait until so many messages are acknowledged."""
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < count:
                await self._change()

    @property
    def publications(self) -> list[Publication]:
        """Publications of all deliveries, each once."""
        return [publication for _, publications, _ in self.delivered for publication in publications]

    @property
    def acknowledged(self) -> list[Message]:
        """Messages acknowledged, in order."""
        return [message for _, _, messages in self.delivered for message in messages]

    @property
    def _messages(self) -> int:
        return sum(len(arrival.packets) for arrival in self._arrivals)

    def _confirm(self) -> None:
        self.confirmed = max(self.confirmed, self._last)
        self._unconfirmed.clear()

    def _acknowledge(self, message: Message) -> None:
        for n, unacknowledged in enumerate(self._unacknowledged):
            if unacknowledged is message:
                del self._unacknowledged[n]
                return

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
