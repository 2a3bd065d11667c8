"""The service as a whole, as a process between a real mosquitto and real clients."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import mqtt5
import pytest

from tests.brokers import Mosquitto
from tests.service.running import Running, until

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
client_id = "under-test"
reconnect_seconds_min = 0.1
reconnect_seconds_max = 0.5
[[subscribe]]
topic = "sensors/{{device}}/telemetry"
[[subscribe]]
topic = "home/#"
"""
UNLIMITED = ("max_queued_messages 0", "max_inflight_messages 0")


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto(*UNLIMITED)


@pytest.fixture
def service(broker: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        yield running


class Listener:
    """An independent client that collects predictions and rejections."""

    def __init__(self) -> None:
        self.said: dict[str, dict[int, bytes]] = {}  # by stream and seq
        self.copies = 0
        self.different = 0
        self.rejected: list[dict[str, Any]] = []

    def hear(self, topic: str, payload: bytes) -> None:
        told = json.loads(payload)
        if topic == "stream_lstm/rejected":
            self.rejected.append(told)
            return
        assert topic == f"predictions/{told['stream']}"
        of = self.said.setdefault(told["stream"], {})
        if told["seq"] in of:
            self.copies += 1
            self.different += of[told["seq"]] != payload
        of[told["seq"]] = payload

    @property
    def distinct(self) -> int:
        return sum(map(len, self.said.values()))

    def values(self, stream: str) -> list[float]:
        of = self.said[stream]
        assert sorted(of) == list(range(1, len(of) + 1))
        return [json.loads(of[seq])["value"] for seq in sorted(of)]

    async def complete(self, predictions: int, rejected: int = 0) -> None:
        async with asyncio.timeout(30):
            while self.distinct < predictions or len(self.rejected) < rejected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def client(broker: Mosquitto, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5, **options)


@asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[Listener]:
    listener = Listener()
    async with client(broker) as hears:
        await hears.subscribe("predictions/#", qos=1)
        await hears.subscribe("stream_lstm/rejected", qos=1)

        async def hear() -> None:
            async for message in hears.messages:
                listener.hear(message.topic.value, bytes(message.payload))

        task = asyncio.create_task(hear())
        yield listener
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_strangers_sensor_is_predicted_and_the_counts_add_up(
    broker: Mosquitto, service: Running
) -> None:
    async with listening(broker) as heard:
        for n in range(30):
            await asyncio.to_thread(
                broker.publish, "sensors/pump7/telemetry", json.dumps({"temperature": 71.3 + n % 3})
            )
        await asyncio.to_thread(broker.publish, "home/door/availability", "online")
        await asyncio.to_thread(broker.publish, "home/attic", "21.5")
        await heard.complete(31, 1)
    stream = "sensors/pump7/telemetry:temperature"
    assert heard.values(stream) == [71.3 + n % 3 for n in range(30)]
    told = json.loads(heard.said[stream][30])
    assert set(told) == {
        *("stream", "seq", "time", "clock", "value", "expected"),
        *("prediction", "interval", "anomaly", "alert", "kind", "trust", "model"),
    }
    assert told["clock"] == "arrival"
    assert told["interval"][0] < told["prediction"] < told["interval"][1]
    assert 0.0 <= told["anomaly"] <= 1.0
    assert told["expected"] == json.loads(heard.said[stream][29])["prediction"]
    assert heard.said["home/attic"]
    assert heard.rejected[0]["topic"] == "home/door/availability"
    found = service.metrics()
    assert found["stream_lstm_events_received_total"] == 32
    assert found["stream_lstm_predictions_published_total"] == 31
    assert found["malformed"] == 1
    assert found["stream_lstm_broker_connected"] == 1


async def test_status_is_retained_online_and_offline(broker: Mosquitto, service: Running) -> None:
    async with client(broker) as hears:
        await hears.subscribe("stream_lstm/status")
        messages = aiter(hears.messages)
        first = await asyncio.wait_for(anext(messages), 10)
        assert (bytes(first.payload), first.retain) == (b"online", True)
        service.kill()
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"offline"
        service.start()
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"online"
        assert service.stop() == 0
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"offline"


BAD = [
    b"",
    b" ",
    b"online",
    b"{",
    b'{"v": 1',
    b'{"v": }',
    b"[1, 2]",
    b"[]",
    b'"21.5"',
    b"true",
    b"null",
    b"{}",
    b'{"v": "warm"}',
    b'{"v": true}',
    b'{"v": null}',
    b'{"v": [1]}',
    b'{"v": {"w": 1}}',
    b'{"v": NaN}',
    b'{"v": Infinity}',
    b'{"v": 1e999}',
    b'{"v": 1e200}',
    b"nan",
    b"-inf",
    b"1e999",
    b"0x1F",
    b"12,5",
    b"\xff\xfe\x00",
    b'{"v": 1, "time": "yesterday"}',
    b'{"v": 1, "time": 12}',
    b'{"v": 1, "time": true}',
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"x" * 70_000,
]


async def test_300_bad_messages_between_10_000_good_ones_change_nothing_but_the_counts(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    memories, counts = [], []
    for bad in (False, True):
        with Running(tmp_path / f"bad-{bad}", SETTINGS.format(port=broker.port)) as running:
            counts.append(await send_with(broker, running, bad=bad))
            assert running.stop() == 0
        memories.append(remembered(running.state))
    assert counts == [0, 300]
    assert memories[0] == memories[1]
    assert len(memories[0]) == 10


async def send_with(broker: Mosquitto, running: Running, *, bad: bool) -> int:
    async with listening(broker) as heard, client(broker, max_inflight_messages=500) as says:
        sent_bad = 0
        for n in range(10_000):
            payload = json.dumps({"v": n * 7_919 % 1_000 / 10, "time": 1.7e9 + n})
            await says.publish(f"sensors/s{n % 10}/telemetry", payload, qos=1)
            if bad and n % 33 == 0 and sent_bad < 300:
                await says.publish(f"sensors/s{n % 10}/telemetry", BAD[sent_bad % len(BAD)], qos=1)
                sent_bad += 1
        await heard.complete(10_000, sent_bad)
    found = running.metrics()
    assert found["stream_lstm_events_received_total"] == 10_000 + sent_bad
    assert found["stream_lstm_predictions_published_total"] == 10_000
    refused = rejections(found)
    assert sum(refused.values()) == sent_bad
    if bad:
        assert {name for name, value in refused.items() if value} == {
            *(
                "empty",
                "malformed",
                "wrong_type",
                "missing_field",
                "not_finite",
                "out_of_range",
                "bad_time",
                "too_large",
            )
        }
    return sent_bad


def rejections(found: dict[str, float]) -> dict[str, float]:
    """Of the metrics, those by reason."""
    return {
        name: count
        for name, count in found.items()
        if not name.startswith(("stream_lstm", "process", "python"))
    }


def remembered(state: Path) -> dict[str, bytes]:
    """Every stream's record, from a state file that was closed cleanly."""
    from stream_lstm.store.database import Database

    database = Database.open_read_only(state)
    try:
        found = {}
        for rows in database.rows():
            size = len(rows.records) // len(rows.keys)
            for n, key in enumerate(rows.keys):
                found[key] = rows.records[n * size : (n + 1) * size]
        return found
    finally:
        database.close()


async def test_a_burst_of_1_000_qos_0_messages_in_one_segment_gives_1_000_predictions(
    broker: Mosquitto, service: Running
) -> None:
    async with listening(broker) as heard:
        burst = b"".join(
            mqtt5.PublishPacket(f"sensors/b{n % 40}/telemetry", b'{"v": %d}' % n).write()
            for n in range(1_000)
        )
        with socket.create_connection((broker.host, broker.port)) as raw:
            raw.sendall(mqtt5.ConnectPacket("burst", keep_alive=60).write())
            assert raw.recv(100)[0] == 0x20
            raw.sendall(burst)
            await heard.complete(1_000)
    assert heard.values("sensors/b7/telemetry:v") == [float(n) for n in range(7, 1_000, 40)]


async def test_sigterm_under_load_exits_0_and_every_stream_goes_on_with_the_next_seq(
    broker: Mosquitto, service: Running
) -> None:
    async with listening(broker) as heard, client(broker, max_inflight_messages=500) as says:
        talking = asyncio.create_task(talk(says, events=12_000, streams=20))
        for stopped in range(3):
            await heard.complete(2_000 * (stopped + 1))
            assert await asyncio.to_thread(service.stop) == 0
            await asyncio.to_thread(service.start)
        await talking
        await heard.complete(12_000)
    assert_exactly_once(heard, events=12_000, streams=20)
    assert heard.copies == 0


@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_missing_or_double_after_five_kills(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, qos: int
) -> None:
    broker = mosquitto(*UNLIMITED)
    rng = random.Random(qos)
    settings = SETTINGS.replace("[[subscribe]]", f"[[subscribe]]\nqos = {qos}").format(port=broker.port)
    service = Running(tmp_path / "service", settings).start()
    async with listening(broker) as heard, client(broker, max_inflight_messages=500) as says:
        talking = asyncio.create_task(talk(says, events=12_000, streams=20, qos=qos))
        for killed in range(5):
            await heard.complete(1_500 * (killed + 1) + rng.randrange(500))
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
        await talking
        await heard.complete(12_000)
        assert await asyncio.to_thread(service.stop) == 0
    assert_exactly_once(heard, events=12_000, streams=20)
    assert heard.different == 0
    with Running(
        tmp_path / "plain", SETTINGS.replace("under-test", "plain").format(port=broker.port)
    ) as plain:
        async with listening(broker) as again, client(broker, max_inflight_messages=500) as says:
            await talk(says, events=12_000, streams=20)
            await again.complete(12_000)
        assert plain.stop() == 0
    assert remembered(service.state) == remembered(plain.state)


async def talk(says: aiomqtt.Client, *, events: int, streams: int, qos: int = 1) -> None:
    for n in range(events):
        payload = json.dumps({"v": value(n), "time": 1.7e9 + n})
        await says.publish(f"sensors/s{n % streams}/telemetry", payload, qos=qos)


def value(n: int) -> float:
    return n * 7_919 % 1_000 / 10


def assert_exactly_once(heard: Listener, *, events: int, streams: int) -> None:
    for s in range(streams):
        assert heard.values(f"sensors/s{s}/telemetry:v") == [value(n) for n in range(s, events, streams)]


def flood(broker: Mosquitto, topic: str, payloads: list[str], at_once: int = 500) -> None:
    """Publish at QoS 1 as fast as it goes."""
    with socket.create_connection((broker.host, broker.port)) as raw:
        raw.sendall(mqtt5.ConnectPacket("flood", keep_alive=60).write())
        assert raw.recv(100)[0] == 0x20
        answers = raw.makefile("rb")
        for start in range(0, len(payloads), at_once):
            some = payloads[start : start + at_once]
            raw.sendall(
                b"".join(
                    mqtt5.PublishPacket(topic, said.encode(), qos=mqtt5.QoS(1), packet_id=n).write()
                    for n, said in enumerate(some, 1)
                )
            )
            for _ in some:
                assert answers.read(2)[0] == 0x40
                answers.read(2)


@pytest.mark.parametrize(("count", "in_flight"), [(100_000, 65_534), (10_000, 20)])
async def test_poison_messages_never_stall_the_good_ones(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, count: int, in_flight: int
) -> None:
    broker = mosquitto(*UNLIMITED)
    poison = [
        "",
        "{",
        "[1]",
        '{"v": NaN}',
        '{"v": "x"}',
        "online",
        '{"v": 1e999}',
        '{"v": 1, "time": "noon"}',
    ]
    payloads = [poison[n % len(poison)] + " " * (n % 7) for n in range(count)]
    settings = SETTINGS.format(port=broker.port).replace("[mqtt]", f"[mqtt]\nreceive_maximum = {in_flight}")
    settings += '\n[publish]\nrejected_topic = ""\n'
    with Running(tmp_path / "service", settings) as service:
        async with listening(broker) as heard:
            await asyncio.to_thread(flood, broker, "sensors/bad/telemetry", payloads)
            await asyncio.to_thread(broker.publish, "sensors/good/telemetry", '{"v": 1, "time": 1.7e9}')
            await heard.complete(1)
            counts = service.metrics()
            assert service.stop() == 0
            service.start()  # all of it is settled: nothing comes again
            assert service.metrics()["stream_lstm_messages_received_total"] == 0
    assert sum(rejections(counts).values()) == count
    assert counts["stream_lstm_messages_received_total"] == count + 1
    assert list(heard.said) == ["sensors/good/telemetry:v"]


async def test_it_comes_back_when_the_broker_does(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED, persistent=True)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        await asyncio.to_thread(broker.publish, "sensors/a/telemetry", '{"v": 1}')
        until(lambda: running.metrics()["stream_lstm_predictions_published_total"] == 1, running)
        broker.kill()
        until(lambda: running.get("/readyz")[0] == 503, running)
        assert "not connected to the broker" in running.get("/readyz")[1]
        assert running.get("/healthz")[0] == 200
        broker.start()
        until(lambda: running.get("/readyz")[0] == 200, running)
        async with listening(broker) as heard:
            await asyncio.to_thread(broker.publish, "sensors/a/telemetry", '{"v": 2}')
            await heard.complete(1)
        assert list(heard.said["sensors/a/telemetry:v"]) == [2]


async def test_a_second_service_on_the_same_state_is_refused(service: Running) -> None:
    second = Running(service.folder, SETTINGS.format(port=1))
    second.launch()
    assert second.wait() == 1
    assert "another service owns it" in second.log


async def test_a_second_signal_leaves_at_once(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        broker.kill()
        running.signal(signal.SIGINT)
        running.signal(signal.SIGTERM)
        assert running.wait() in (0, -signal.SIGTERM)


async def test_readings_without_a_time_that_waited_for_us_are_marked(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    async with listening(broker) as listener:
        with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
            broker.publish("home/room", "20.5")
            await listener.complete(1)
            assert service.stop() == 0
            broker.publish("home/room", "21.5")
            broker.publish("home/hall", json.dumps({"t": 19.5, "time": 1_767_225_600}))
            service.start()
            await listener.complete(3)
            await asyncio.sleep(0.2)
            broker.publish("home/room", "22.5")
            await listener.complete(4)
    room = [json.loads(listener.said["home/room"][seq]) for seq in (1, 2, 3)]
    assert [said["clock"] for said in room] == ["arrival", "uncertain", "arrival"]
    assert room[1]["anomaly"] is None
    assert room[2]["anomaly"] is not None
    assert json.loads(listener.said["home/hall:t"][1])["clock"] == "event"


async def test_topics_that_are_no_longer_wanted_are_unsubscribed(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    async with listening(broker) as listener:
        with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
            assert service.stop() == 0
        changed = SETTINGS.replace("home/#", "house/#").format(port=broker.port)
        with Running(tmp_path / "service", changed) as service:
            broker.publish("home/room", "1")
            broker.publish("house/room", "2")
            await listener.complete(1)
            assert service.stop() == 0
            broker.publish("home/room", "1")
            broker.publish("house/room", "3")
            service.start()
            await listener.complete(2)
            assert service.metrics()["stream_lstm_messages_received_total"] == 1
    assert set(listener.said) == {"house/room"}


async def test_of_two_services_with_one_client_id_the_later_one_stays(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = SETTINGS.format(port=broker.port)
    with Running(tmp_path / "a", settings) as first, Running(tmp_path / "b", settings) as second:
        assert await asyncio.to_thread(first.wait) == 1
        # mosquitto says so since 2.0.15; before, the signs on the status topic do.
        assert re.search("another (client connected with our|service .* uses our client id)", first.log)
        async with listening(broker) as listener:
            broker.publish("home/room", "20.5")
            await listener.complete(1)
        await asyncio.to_thread(until, lambda: second.get("/readyz")[0] == 200, second)
        with Running(tmp_path / "a", settings) as third:  # what was left on the status topic does not count
            assert await asyncio.to_thread(second.wait) == 1
            await asyncio.to_thread(until, lambda: third.get("/readyz")[0] == 200, third)


async def test_what_is_retained_on_the_freeze_topic_holds_over_a_restart_until_it_is_taken_back(
    broker: Mosquitto, service: Running
) -> None:
    async def frozen(value: float) -> dict[str, bool]:
        before = heard.distinct
        for pump in ("pump7", "pump8"):
            await asyncio.to_thread(broker.publish, f"sensors/{pump}/telemetry", json.dumps({"v": value}))
        await heard.complete(before + 2)
        last = [json.loads(of[max(of)]) for of in heard.said.values()]
        return {told["stream"]: told.get("frozen", False) for told in last}

    one, other = (f"sensors/{pump}/telemetry:v" for pump in ("pump7", "pump8"))
    async with listening(broker) as heard, client(broker) as operator:
        assert not any((await frozen(1.0)).values())
        await operator.publish("stream_lstm/freeze", json.dumps(["sensors/pump7/#"]), qos=1, retain=True)
        until(lambda: "freeze requested" in service.log, service)
        assert await frozen(2.0) == {one: True, other: False}
        assert service.metrics()["stream_lstm_events_frozen_total"] == 1
        assert service.stop() == 0
        service.start()
        until(lambda: service.log.count("freeze requested") >= 2, service)
        assert await frozen(3.0) == {one: True, other: False}
        await operator.publish("stream_lstm/freeze", b"", qos=1, retain=True)
        until(lambda: service.log.count("freeze requested") >= 3, service)
        assert not any((await frozen(4.0)).values())


async def test_a_sensor_that_falls_silent_is_told_and_told_again_when_it_is_back(
    broker: Mosquitto, service: Running
) -> None:
    changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear() -> None:
        async for message in hears.messages:
            changes.put_nowait(json.loads(bytes(message.payload)))  # type: ignore[arg-type]

    async with client(broker) as hears, client(broker) as sensor, asyncio.timeout(40):
        await hears.subscribe("stream_lstm/stale", qos=1)
        task = asyncio.create_task(hear())
        for n in range(30):
            await sensor.publish("sensors/pump7/telemetry", json.dumps({"v": n}), qos=1)
            await asyncio.sleep(0.02)
        silent = await changes.get()
        assert (silent["stream"], silent["stale"]) == ("sensors/pump7/telemetry:v", True)
        assert silent["silent_seconds"] > 10.0 > silent["usual_seconds"]
        assert service.metrics()["stream_lstm_streams_stale"] == 1
        await sensor.publish("sensors/pump7/telemetry", json.dumps({"v": 5}), qos=1)
        assert (await changes.get())["stale"] is False
        assert service.metrics()["stream_lstm_streams_stale"] == 0
        task.cancel()
