"""Paced publishing: due times on the test's clock, lost connections by a scripted client, a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import aiomqtt
import pytest

from stream_lstm.demo import publisher as module
from stream_lstm.demo.client import SESSION_TAKEN_OVER
from stream_lstm.demo.publisher import Publisher, ScheduledMessage, publications
from stream_lstm.errors import SessionTaken, SettingsError
from stream_lstm.recordings import Reading, Recording, schedule
from stream_lstm.service.mqtt import ClientOptions
from tests.brokers import Mosquitto

OPTIONS = ClientOptions(host="127.0.0.1", client_id="test")
SECONDS_MAX = 20.0


class Code(int):
    """A reason code as paho has it."""

    @property
    def value(self) -> int:
        return int(self)


class Time:
    """A clock that sleeping advances."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 6))
        self.now += seconds
        await asyncio.sleep(0)


class ScriptedClient:
    """A client whose connections acknowledge so many publications each, and then end.

    Args:
        lives: publications that each connection acknowledges, or the error of the attempt.
    """

    receive_maximum, max_qos = 65_535, 2

    def __init__(self, lives: Iterable[int | Exception], time: Time | None = None) -> None:
        self._lives = iter(lives)
        self._time = time or Time()
        self.acknowledged: list[tuple[float, bytes]] = []
        self.in_flight = self.in_flight_max = 0

    def __call__(self, options: ClientOptions) -> Any:
        return self

    async def __aenter__(self) -> ScriptedClient:
        life = next(self._lives, 1_000_000)
        if isinstance(life, Exception):
            raise life
        self._left, self._ended = life, asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def messages(self) -> AsyncIterator[None]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[None]:
        await self._ended.wait()
        raise aiomqtt.MqttError("Disconnected during message iteration") from aiomqtt.MqttCodeError(None)
        yield

    async def publish(self, topic: str, payload: bytes, *, qos: int, timeout: float) -> None:
        assert qos == 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(0)
            if not self._left:
                self._ended.set()
                await asyncio.Event().wait()  # as aiomqtt: no PUBACK comes any more
            self._left -= 1
            self.acknowledged.append((self._time.now, payload))
        finally:
            self.in_flight -= 1


def messages(*dues: float) -> list[ScheduledMessage]:
    return [ScheduledMessage(at, "t", b"%d" % n) for n, at in enumerate(dues)]


def publisher(
    client: ScriptedClient, source: Sequence[ScheduledMessage], time: Time | None = None, **options: Any
) -> Publisher:
    time = time or Time()
    return Publisher(OPTIONS, source, connect=client, clock=time.clock, sleep=time.sleep, **options)


async def test_each_message_is_published_when_it_is_due() -> None:
    time = Time()
    client = ScriptedClient([], time)
    await publisher(client, messages(0.0, 0.0, 1.5, 4.0), time).run()
    assert client.acknowledged == [(100.0, b"0"), (100.0, b"1"), (101.5, b"2"), (104.0, b"3")]
    assert time.sleeps == [1.5, 2.5]


async def test_messages_that_are_overdue_are_published_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_MAX", 3)
    time = Time()
    client = ScriptedClient([], time)
    made = publisher(
        client, messages(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), time, progress=lambda n: counts.append(n)
    )
    counts: list[int] = []
    made._begun = 96.5  # of an earlier connection
    await made.run()
    assert counts == [3, 1, 1, 1]
    assert time.sleeps == [0.5, 1.0]
    assert made.done
    assert made.published == 6


async def test_only_messages_without_puback_are_published_again() -> None:
    lines: list[str] = []
    client = ScriptedClient([2, 3])
    made = publisher(client, messages(*[0.0] * 9), report=lines.append)
    await made.run()
    assert sorted(payload for _, payload in client.acknowledged) == [b"%d" % n for n in range(9)]
    assert made.published == 9
    assert [line.split(";")[0] for line in lines] == [
        *("connected", "not connected: the connection was closed") * 2,
        "connected",
    ]


@pytest.mark.parametrize(("receive_maximum", "in_flight"), [(3, 3), (65_535, module.IN_FLIGHT_MAX)])
async def test_no_more_are_in_flight_than_the_broker_accepts(receive_maximum: int, in_flight: int) -> None:
    client = ScriptedClient([])
    client.receive_maximum = receive_maximum
    await publisher(client, messages(*[0.0] * 300)).run()
    assert client.in_flight_max == in_flight


async def test_attempts_are_repeated_with_waits() -> None:
    time, lines = Time(), list[str]()
    refusal = aiomqtt.MqttCodeError(Code(0x97))  # type: ignore[arg-type]
    client = ScriptedClient([refusal, SettingsError("mqtt.ca_file", "x cannot be read"), refusal])
    await publisher(client, messages(0.0), time, report=lines.append).run()
    assert len(time.sleeps) == 3
    assert max(time.sleeps) <= 4.0
    assert [line.split("; retry in ")[0] for line in lines] == [
        "not connected: the broker closed the connection: 151 (0x97)",
        "not connected: mqtt.ca_file: x cannot be read",
        "not connected: the broker closed the connection: 151 (0x97)",
        "connected",
    ]


async def test_a_broker_without_qos_1_is_an_error_that_lasts() -> None:
    time, lines = Time(), list[str]()
    client = ScriptedClient([])
    client.max_qos = 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(publisher(client, messages(0.0), time, report=lines.append).run(), 0.05)
    assert lines[0].startswith("not connected: the broker supports QoS 0 only; retry in ")
    assert min(time.sleeps) >= OPTIONS.refused_seconds_min


async def test_a_client_id_in_use_is_not_retried() -> None:
    taken = aiomqtt.MqttCodeError(Code(SESSION_TAKEN_OVER))  # type: ignore[arg-type]
    with pytest.raises(SessionTaken):
        await publisher(ScriptedClient([taken]), messages(0.0)).run()


async def test_a_broker_that_does_not_answer_disconnect_is_no_error() -> None:
    class Mute(ScriptedClient):
        async def __aexit__(self, *_: object) -> None:
            raise aiomqtt.MqttError("Operation timed out")

    made = publisher(Mute([]), messages(0.0))
    await made.run()
    assert made.published == 1


async def test_nothing_to_publish_needs_no_connection() -> None:
    await publisher(ScriptedClient([AssertionError()]), []).run()


def test_readings_become_json_on_the_topic_of_their_recording() -> None:
    readings = [Reading(0.0, "2026-01-01", 20.5), Reading(60.0, "2026-01-02", 21.0)]
    dues = schedule([Recording("pump", readings)], speed=60.0, seconds=None)
    assert list(publications(dues, topic="plant/{name}", field="t")) == [
        ScheduledMessage(0.0, "plant/pump", b'{"timestamp":"2026-01-01","t":20.5}'),
        ScheduledMessage(1.0, "plant/pump", b'{"timestamp":"2026-01-02","t":21.0}'),
    ]


# A real broker


async def received(port: int, count: int, subscribed: asyncio.Event) -> list[bytes]:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("t", qos=1)
        subscribed.set()
        found: list[bytes] = []
        async for message in client.messages:
            found.append(bytes(message.payload))
            if len(set(found)) == count:
                break
        return found


async def test_a_real_broker_gets_every_message_in_order(mosquitto: Callable[..., Mosquitto]) -> None:
    broker, subscribed = mosquitto("max_inflight_messages 5"), asyncio.Event()
    receiving = asyncio.create_task(received(broker.port, 200, subscribed))
    await asyncio.wait_for(subscribed.wait(), SECONDS_MAX)
    options = ClientOptions(host=broker.host, port=broker.port, client_id="test")
    made = Publisher(options, messages(*[0.0] * 200))
    await asyncio.wait_for(made.run(), SECONDS_MAX)
    assert await asyncio.wait_for(receiving, SECONDS_MAX) == [b"%d" % n for n in range(200)]


async def test_publishing_continues_when_a_broker_is_restarted(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    lines: list[str] = []
    options = ClientOptions(
        host=broker.host,
        port=broker.port,
        client_id="test",
        backoff_seconds_min=0.01,
        backoff_seconds_max=0.1,
    )
    made = Publisher(options, messages(0.0, 0.0, 3_600.0), report=lines.append)
    running = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while made.published < 2:  # noqa: ASYNC110 - a poll is simple
                await asyncio.sleep(0.01)
            broker.kill()
            while len(lines) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            broker.start()
            while lines[-1] != "connected":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert lines[0] == "connected"
    assert lines[1].startswith("not connected: the connection was closed; retry in ")
