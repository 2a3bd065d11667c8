"""A link that says what a test has written down, and remembers what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_lstm.service.broker import Arrival, Message


@dataclass(frozen=True)
class Said:
    """A message as a broker sends it."""

    topic: str
    payload: bytes
    qos: int = 1
    packet_id: int | None = 1
    duplicate: bool = False
    retain: bool = False


class ScriptedLink:
    """Stands in for `MqttClient`: arrivals are put in by the test, deliveries are taken out."""

    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[Arrival] = asyncio.Queue()
        self.delivered: list[tuple[int, list[tuple[str, bytes]], list[Message]]] = []
        self.confirmed = 0
        self.acked_through = 0  # the worst case: nothing is known
        self.connected_since = 1.0
        self.happened = asyncio.Event()

    def say(self, *messages: Said, connection: int = 1, time: float = 1_700_000_000.0, **more: bool) -> None:
        """Messages that come in one read; `more` as in `Arrival`."""
        self.arrivals.put_nowait(Arrival(connection, messages, time, **more))

    async def receive(self, events_max: int, least: Callable[[], int]) -> list[Arrival]:
        return [await self.arrivals.get()]

    def reconsider(self) -> None:
        """Every arrival is taken at once."""

    async def deliver(
        self,
        number: int,
        publications: Sequence[tuple[str, bytes]],
        arrivals: Sequence[Arrival],
        *,
        fresh: bool = False,
    ) -> None:
        messages = [message for arrival in arrivals for message in arrival.packets]
        self.delivered.append((number, list(publications), messages))
        self.confirmed = number
        self.happened.set()

    async def confirm(self, number: int) -> None:
        while self.confirmed < number:
            self.happened.clear()
            await self.happened.wait()

    async def until_delivered(self, count: int, seconds: float = 10.0) -> None:
        """Wait until so many batches have been delivered."""
        async with asyncio.timeout(seconds):
            while len(self.delivered) < count:
                self.happened.clear()
                await self.happened.wait()

    @property
    def publications(self) -> list[tuple[str, bytes]]:
        return [publication for _, publications, _ in self.delivered for publication in publications]

    @property
    def acknowledged(self) -> list[Message]:
        return [message for _, _, messages in self.delivered for message in messages]
