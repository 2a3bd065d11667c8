"""Simulated broker that keeps a session and sends again, and a client whose connection is cut at random.

`SimBrokerClient` stands in for `MqttClient`, whose own faults are tested against bytes; here the subject is
the pipeline, under messages sent again and cuts.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence

from stream_lstm.service.broker import Arrival, Publication
from tests.service.scripted import SentMessage

IN_FLIGHT_MAX = 24
ARRIVAL = 1_700_000_000.0  # of the first message, epoch seconds


class SimBroker:
    """The broker, which outlives all clients.

    Args:
        draw: decides faults.
        faults: counts them by kind.
        messages: handed over in order.
        choose: called with each message when it is handed over for the first time; may change it.

    Attributes:
        clock: epoch seconds, for arrivals.
        sent: messages handed over, each once, in order.
        published: publications, in the order in which they were read.
        read: publications, and the messages acknowledged among them, in order.
    """

    def __init__(
        self,
        draw: random.Random,
        faults: Counter[str],
        messages: Sequence[SentMessage],
        choose: Callable[[SentMessage], SentMessage] = lambda message: message,
    ) -> None:
        self.draw = draw
        self.faults = faults
        self.clock: Callable[[], float] = lambda: ARRIVAL
        self.sent: list[SentMessage] = []
        self._choose = choose
        self.waiting = deque(messages)  # not yet handed over for the first time
        self.queue: deque[tuple[SentMessage, bool]] = deque()  # and True if sent before
        self.in_flight: dict[int, SentMessage] = {}
        self.published: list[Publication] = []
        self.read: list[Publication | SentMessage] = []
        self.keeps_ids = draw.random() < 0.5
        self.next_id = 0

    @property
    def done(self) -> bool:
        """True if every message was handed over and acknowledged."""
        return not (self.waiting or self.queue or self.in_flight)

    def connect(self) -> None:
        """Accept a connection: unacknowledged messages are sent again first."""
        self.faults["redelivered message"] += len(self.in_flight)
        self.queue.extendleft((message, True) for message in reversed(self.in_flight.values()))
        self.in_flight.clear()

    def hand_over(self, most: int) -> list[SentMessage]:
        """Messages that the client gets in one read."""
        for _ in range(min(most, len(self.waiting))):
            message = self._choose(self.waiting.popleft())
            self.sent.append(message)
            self.queue.append((message, False))
        out = []
        while self.queue and len(out) < most and len(self.in_flight) < IN_FLIGHT_MAX:
            message, again = self.queue.popleft()
            self.next_id += 1
            out.append(
                SentMessage(
                    message.topic, message.payload, 1, self.next_id, duplicate=again and self.keeps_ids
                )
            )
            self.in_flight[self.next_id] = message
        return out

    def publish(self, publications: Sequence[Publication]) -> None:
        """Read publications."""
        self.published += publications
        self.read += publications

    def acknowledge(self, packet_id: int | None) -> None:
        """Read the acknowledgement of a message."""
        message = self.in_flight.pop(packet_id, None)
        if message:
            self.read.append(message)


class SimBrokerClient:
    """Implements `Broker` for one life of the service; may return more than `messages_max` messages.

    Args:
        broker: to connect to.
        cut_share: probability that a write, and a write after a reconnect, is cut.
        outages: probability that the next connection does not follow at once, and the rate at which it does.
        resume: number that an earlier life confirmed.
        acked_through: likewise.

    Attributes:
        alive: False stops late confirmations of an earlier life.
        settled: called after each confirmation.
        held: a list collects confirmations instead of applying them; None: they apply after a random delay.
    """

    def __init__(
        self,
        broker: SimBroker,
        *,
        cut_share: float,
        resume: int,
        acked_through: int,
        outages: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self._broker = broker
        self._outages = outages
        self._draw = broker.draw
        self._cut_share = cut_share
        self._inbox: deque[Arrival] = deque()
        self._changed = asyncio.Event()
        self._unconfirmed: deque[tuple[int, list[Publication]]] = deque()
        self._number = 0
        self._last = resume
        self.confirmed, self.acked_through = resume, acked_through
        self.connected_since = ARRIVAL
        self.alive = True
        self.settled: Callable[[], None] = lambda: None
        self.held: list[Callable[[], None]] | None = None
        self.connect()

    @property
    def connection(self) -> int:
        """Number of the present or the last connection."""
        return self._number

    def connect(self) -> None:
        """Begin a connection; unconfirmed publications are written again."""
        if math.isnan(self.connected_since):
            self._wake()
        self._number += 1
        self.connected_since = ARRIVAL
        self._broker.connect()
        again = [publication for _, publications in self._unconfirmed for publication in publications]
        if self._unconfirmed and self._draw.random() < self._cut_share:
            self._broker.faults["cut while writing again"] += 1
            self._broker.publish(again[: self._draw.randint(0, len(again))])
            self.connect()
            return
        self._broker.publish(again)
        if self._unconfirmed:
            self._confirm_later(self._unconfirmed[-1][0])

    def disconnect(self) -> None:
        """End the connection."""
        self.connected_since = math.nan

    def _cut_off(self) -> None:
        """End the connection, and begin another, at once or later."""
        share, rate = self._outages
        if self._draw.random() >= share:
            self.connect()
            return
        self._broker.faults["outage"] += 1
        self.disconnect()
        self._number += 1  # nothing of the old one counts any more
        asyncio.get_running_loop().call_later(self._draw.expovariate(rate), self._reconnect)

    def _reconnect(self) -> None:
        if self.alive:
            self.connect()

    async def pump(self) -> None:
        """Read messages at random times."""
        while True:
            await asyncio.sleep(self._draw.expovariate(100.0))
            if math.isnan(self.connected_since):
                continue
            if self._draw.random() < self._cut_share / 4:
                self._broker.faults["cut while idle"] += 1
                self._cut_off()
                continue
            self.read(self._draw.randint(1, 12))

    def read(self, most: int) -> None:
        """Read at most this many messages."""
        messages = self._broker.hand_over(most)
        if messages:
            self._inbox.append(Arrival(self._number, messages, self._broker.clock()))
            self._wake()

    async def receive(self, messages_max: int, least: Callable[[], int]) -> list[Arrival]:
        hasty = self._draw.random() < 0.5  # does not wait for more, so that batches overlap
        while not self._inbox or len(self._inbox) < (1 if hasty else min(least(), 2)):
            await self._change()
        return [self._inbox.popleft() for _ in range(self._draw.randint(1, len(self._inbox)))]

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
        await asyncio.sleep(self._draw.expovariate(1_000.0))
        while math.isnan(self.connected_since):
            await self._change()
        if publications and number <= self._last:
            raise ValueError(f"delivery number {number} is not above the last one, {self._last}")
        if publications or number > self._last:
            self._last = number
            self._unconfirmed.append((number, list(publications)))
        ids = [
            packet.packet_id
            for arrival in arrivals
            if arrival.connection == self._number
            for packet in arrival.packets
        ]
        count = len(publications) + len(ids)
        cut = self._draw.random() < self._cut_share
        written = self._draw.randint(0, count) if cut else count
        self._broker.publish(publications[:written])
        for packet_id in ids[: max(written - len(publications), 0)]:
            self._broker.acknowledge(packet_id)
        if cut:
            self._broker.faults["cut within a write"] += 1
            self._cut_off()
        else:
            fresh = fresh and all(arrival.connection == self._number for arrival in arrivals)
            self._confirm_later(number, acked_through=number if fresh else 0)

    def _confirm_later(self, number: int, *, acked_through: int = 0) -> None:
        connection = self._number

        def confirm() -> None:
            if self.alive and connection == self._number:
                self.confirmed = max(self.confirmed, number)
                self.acked_through = max(self.acked_through, acked_through)
                while self._unconfirmed and self._unconfirmed[0][0] <= number:
                    self._unconfirmed.popleft()
                self.settled()
                self._wake()

        delay_seconds = self._draw.expovariate(200.0)
        if self.held is None:
            asyncio.get_running_loop().call_later(delay_seconds, confirm)
        else:
            self.held.append(confirm)

    async def confirm(self, number: int) -> None:
        while self.confirmed < number:
            await self._change()

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        if math.isnan(self.connected_since):
            return False
        self._broker.publish([(topic, payload)])
        return True

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
