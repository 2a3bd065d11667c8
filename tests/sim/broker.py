"""A broker that keeps a session, redelivers as brokers do, and a link to it that is cut now and then.

Stands in for `MqttClient`, whose own faults are tested against bytes; here it is about
what the line makes of redeliveries and cuts.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from stream_lstm.service.broker import Arrival
from tests.service.scripted import Said

IN_FLIGHT_MAX = 24
ARRIVAL = 1_700_000_000.0  # of every message, so that a fold can know it


class Broker:
    """The side that never dies: what was published to it, and what it must still hand over."""

    def __init__(self, draw: random.Random, faults: Counter[str], messages: Sequence[Said]) -> None:
        self.draw = draw
        self.faults = faults
        self.waiting = deque(messages)  # handed over from time to time
        self.queue: deque[tuple[Said, bool]] = deque()  # and whether it was sent before
        self.in_flight: dict[int, Said] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.keeps_ids = draw.random() < 0.5
        self.next_id = 0

    @property
    def done(self) -> bool:
        """All was handed over and acknowledged."""
        return not (self.waiting or self.queue or self.in_flight)

    def connect(self) -> None:
        """A client comes (again): what it has not acknowledged goes first."""
        self.faults["redelivered message"] += len(self.in_flight)
        self.queue.extendleft((said, True) for said in reversed(self.in_flight.values()))
        self.in_flight.clear()

    def hand_over(self, most: int) -> list[Said]:
        """Messages that the client gets in one read."""
        for _ in range(min(most, len(self.waiting))):
            self.queue.append((self.waiting.popleft(), False))
        out = []
        while self.queue and len(out) < most and len(self.in_flight) < IN_FLIGHT_MAX:
            said, again = self.queue.popleft()
            self.next_id += 1
            out.append(Said(said.topic, said.payload, 1, self.next_id, duplicate=again and self.keeps_ids))
            self.in_flight[self.next_id] = said
        return out


class SimLink:
    """One life's link."""

    def __init__(self, broker: Broker, *, cut_share: float, resume: int, acked_through: int) -> None:
        self._broker = broker
        self._draw = broker.draw
        self._cut_share = cut_share
        self._inbox: deque[Arrival] = deque()
        self._changed = asyncio.Event()
        self._unconfirmed: deque[tuple[int, list[tuple[str, bytes]]]] = deque()
        self._number = 0
        self._last = resume
        self.confirmed, self.acked_through = resume, acked_through
        self.alive = True
        self._connect()

    def _connect(self) -> None:
        """A new connection; what may not have arrived is written again."""
        self._number += 1
        self._broker.connect()
        again = [publication for _, publications in self._unconfirmed for publication in publications]
        if self._unconfirmed and self._draw.random() < self._cut_share:
            self._broker.faults["cut while writing again"] += 1
            self._broker.heard += again[: self._draw.randint(0, len(again))]
            self._connect()
            return
        self._broker.heard += again
        if self._unconfirmed:
            self._confirm_later(self._unconfirmed[-1][0])

    async def pump(self) -> None:
        """Messages come."""
        while True:
            await asyncio.sleep(self._draw.expovariate(100.0))
            if self._draw.random() < self._cut_share / 4:
                self._broker.faults["cut while idle"] += 1
                self._connect()
            messages = self._broker.hand_over(self._draw.randint(1, 12))
            if messages:
                self._inbox.append(Arrival(self._number, messages, ARRIVAL))
                self._wake()

    async def receive(self, events_max: int, least: Callable[[], int]) -> list[Arrival]:
        hasty = self._draw.random() < 0.5  # a link that minds, and one that makes batches overlap
        while len(self._inbox) < (1 if hasty else min(least(), 2)):
            await self._change()
        return [self._inbox.popleft() for _ in range(self._draw.randint(1, len(self._inbox)))]

    def reconsider(self) -> None:
        self._wake()

    async def deliver(
        self,
        number: int,
        publications: Sequence[tuple[str, bytes]],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool = False,
    ) -> None:
        await asyncio.sleep(self._draw.expovariate(1_000.0))
        if publications or number > self._last:
            self._last = number
            self._unconfirmed.append((number, list(publications)))
        ids = [
            packet.packet_id
            for arrival in arrivals
            if arrival.connection == self._number
            for packet in arrival.packets
        ]
        write: list[Any] = [*publications, *ids]
        cut = self._draw.random() < self._cut_share
        read = write[: self._draw.randint(0, len(write))] if cut else write
        for item in read:
            if isinstance(item, tuple):
                self._broker.heard.append(item)
            else:
                self._broker.in_flight.pop(item, None)
        if cut:
            self._broker.faults["cut within a write"] += 1
            self._connect()
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
                self._wake()

        asyncio.get_running_loop().call_later(self._draw.expovariate(200.0), confirm)

    async def confirm(self, number: int) -> None:
        while self.confirmed < number:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
