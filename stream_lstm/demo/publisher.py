"""Paced publishing to a broker at QoS 1: recorded readings when they are due, many in flight at once.

At least once: a publication without a PUBACK is published again on the next connection.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from typing import NamedTuple

import aiomqtt
import msgspec

from stream_lstm.demo.client import Client, broker_error, qos_not_supported
from stream_lstm.errors import BrokerError, SessionTaken, SettingsError
from stream_lstm.recordings import Due
from stream_lstm.service.mqtt import ClientOptions
from stream_lstm.service.mqtt.backoff import Backoff
from stream_lstm.service.tasks import run_until_first_ends

# aiomqtt compares each publication with all in flight: more cost more processor time than they save waiting.
IN_FLIGHT_MAX = 64
GROUP_MAX = 1_024  # publications published together; bounds what is published again after a lost connection


class ScheduledMessage(NamedTuple):
    """A message, due `at` so many seconds after the start."""

    at: float
    topic: str
    payload: bytes


def publications(dues: Iterable[Due], *, topic: str, field: str) -> Iterator[ScheduledMessage]:
    """Readings as JSON objects of `timestamp` and a value.

    Args:
        topic: {name} stands for the recording's name.
        field: of the value.
    """
    for due in dues:
        payload = msgspec.json.encode({"timestamp": due.reading.time, field: due.reading.value})
        yield ScheduledMessage(due.at, topic.replace("{name}", due.name), payload)


class Publisher:
    """Publishes each message when it is due, over as many connections as it takes.

    Args:
        options: broker, client id, credentials and waits between connections.
        source: messages in the order in which they are due.
        report: called with a line on each connection made or lost.
        progress: called with the number of messages that the broker has newly acknowledged.
        connect: makes the client of a connection.
        clock: seconds, monotonic.
        sleep: waits so many seconds.

    Attributes:
        published: messages that the broker has acknowledged.
    """

    def __init__(
        self,
        options: ClientOptions,
        source: Iterable[ScheduledMessage],
        *,
        report: Callable[[str], None] = lambda line: None,
        progress: Callable[[int], None] = lambda count: None,
        connect: Callable[[ClientOptions], Client] = Client,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._source = iter(source)
        self._next = next(self._source, None)
        self._report = report
        self._progress = progress
        self._connect = connect
        self._clock = clock
        self._sleep = sleep
        self._unacknowledged: list[ScheduledMessage] = []
        self._begun = math.nan  # of the first connection, on the clock
        self.published = 0

    @property
    def done(self) -> bool:
        """True if every message is acknowledged."""
        return self._next is None and not self._unacknowledged

    async def run(self) -> None:
        """Publish all messages.

        Raises:
            SessionTaken: another client uses the client id, and a retry would disconnect it in turn.
        """
        backoff = Backoff(
            seconds_min=self._options.backoff_seconds_min,
            seconds_max=self._options.backoff_seconds_max,
            refused_seconds_min=self._options.refused_seconds_min,
            random=Random(),
            clock=self._clock,
        )
        while not self.done:
            try:
                await self._attempt(backoff)
            except (BrokerError, SettingsError) as error:
                if self.done:  # the broker did not answer DISCONNECT
                    return
                if isinstance(error, SessionTaken):
                    raise
                seconds = backoff.failed(lasting=getattr(error, "lasting", False))
                self._report(f"not connected: {error}; retry in {seconds:.1f} s")
                await self._sleep(seconds)

    async def _attempt(self, backoff: Backoff) -> None:
        """Publish over one connection, until all is acknowledged or the connection ends."""
        try:
            async with self._connect(self._options) as client:
                if client.max_qos < 1:
                    raise qos_not_supported()
                backoff.connected()
                self._report("connected")
                await run_until_first_ends(_until_disconnected(client), self._publish_all(client))
        except aiomqtt.MqttError as error:
            raise broker_error(error, self._options) from None

    async def _publish_all(self, client: Client) -> None:
        if math.isnan(self._begun):
            self._begun = self._clock()
        while not self.done:
            if not self._unacknowledged:
                await self._take_due()
            await self._publish(client)

    async def _take_due(self) -> None:
        """Wait for the next message, and take all that are due by then."""
        assert self._next
        ahead = self._begun + self._next.at - self._clock()
        if ahead > 0:
            await self._sleep(ahead)
        horizon = max(self._clock() - self._begun, self._next.at)
        while self._next and self._next.at <= horizon and len(self._unacknowledged) < GROUP_MAX:
            self._unacknowledged.append(self._next)
            self._next = next(self._source, None)

    async def _publish(self, client: Client) -> None:
        """Publish what is not acknowledged, and wait for the PUBACKs."""
        window = asyncio.Semaphore(min(IN_FLIGHT_MAX, client.receive_maximum))

        async def publish(message: ScheduledMessage) -> None:
            async with window:
                await client.publish(message.topic, message.payload, qos=1, timeout=math.inf)

        group = self._unacknowledged
        tasks = [asyncio.create_task(publish(message)) for message in group]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            self._unacknowledged = [
                message for message, outcome in zip(group, outcomes, strict=True) if outcome is not None
            ]
            acknowledged = len(group) - len(self._unacknowledged)
            self.published += acknowledged
            self._progress(acknowledged)


async def _until_disconnected(client: Client) -> None:
    """Wait for the end of the connection, which a pending `publish` of aiomqtt does not notice."""
    async for _ in client.messages:
        pass
