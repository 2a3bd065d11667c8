"""Nothing lost, nothing twice: the service as a process under bad input, load and kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import mqtt5
import pytest

from tests.brokers import Mosquitto
from tests.service.end_to_end import SETTINGS, UNLIMITED, Subscriber, client, subscribing
from tests.service.running import Running

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


async def publish_events(publisher: aiomqtt.Client, *, events: int, streams: int, qos: int = 1) -> None:
    for n in range(events):
        payload = json.dumps({"v": value(n), "time": 1.7e9 + n})
        await publisher.publish(f"sensors/s{n % streams}/telemetry", payload, qos=qos)


async def send_with(broker: Mosquitto, running: Running, *, bad: bool) -> int:
    async with subscribing(broker) as subscriber, client(broker, max_inflight_messages=500) as publisher:
        sent_bad = 0
        for n in range(10_000):
            payload = json.dumps({"v": n * 7_919 % 1_000 / 10, "time": 1.7e9 + n})
            await publisher.publish(f"sensors/s{n % 10}/telemetry", payload, qos=1)
            if bad and n % 33 == 0 and sent_bad < 300:
                await publisher.publish(f"sensors/s{n % 10}/telemetry", BAD[sent_bad % len(BAD)], qos=1)
                sent_bad += 1
        await subscriber.complete(10_000, sent_bad)
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


def value(n: int) -> float:
    return n * 7_919 % 1_000 / 10


def assert_exactly_once(subscriber: Subscriber, *, events: int, streams: int) -> None:
    for s in range(streams):
        assert subscriber.values(f"sensors/s{s}/telemetry:v") == [value(n) for n in range(s, events, streams)]


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


async def test_300_rejected_messages_among_10_000_change_only_the_counts(
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


async def test_a_burst_of_1_000_qos_0_messages_in_one_segment_gives_1_000_predictions(
    broker: Mosquitto, service: Running
) -> None:
    async with subscribing(broker) as subscriber:
        burst = b"".join(
            mqtt5.PublishPacket(f"sensors/b{n % 40}/telemetry", b'{"v": %d}' % n).write()
            for n in range(1_000)
        )
        with socket.create_connection((broker.host, broker.port)) as raw:
            raw.sendall(mqtt5.ConnectPacket("burst", keep_alive=60).write())
            assert raw.recv(100)[0] == 0x20
            raw.sendall(burst)
            await subscriber.complete(1_000)
    assert subscriber.values("sensors/b7/telemetry:v") == [float(n) for n in range(7, 1_000, 40)]


async def test_sigterm_under_load_exits_0_and_every_stream_goes_on_with_the_next_seq(
    broker: Mosquitto, service: Running
) -> None:
    async with subscribing(broker) as subscriber, client(broker, max_inflight_messages=500) as publisher:
        publishing = asyncio.create_task(publish_events(publisher, events=12_000, streams=20))
        for stopped in range(3):
            await subscriber.complete(2_000 * (stopped + 1))
            assert await asyncio.to_thread(service.stop) == 0
            await asyncio.to_thread(service.start)
        await publishing
        await subscriber.complete(12_000)
    assert_exactly_once(subscriber, events=12_000, streams=20)
    assert subscriber.copies == 0


@pytest.mark.parametrize("qos", [1, 2])
async def test_five_kills_lose_nothing_and_double_nothing(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, qos: int
) -> None:
    broker = mosquitto(*UNLIMITED)
    rng = random.Random(qos)
    settings = SETTINGS.replace("[[subscribe]]", f"[[subscribe]]\nqos = {qos}").format(port=broker.port)
    service = Running(tmp_path / "service", settings).start()
    async with subscribing(broker) as subscriber, client(broker, max_inflight_messages=500) as publisher:
        publishing = asyncio.create_task(publish_events(publisher, events=12_000, streams=20, qos=qos))
        for killed in range(5):
            await subscriber.complete(1_500 * (killed + 1) + rng.randrange(500))
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
        await publishing
        await subscriber.complete(12_000)
        assert await asyncio.to_thread(service.stop) == 0
    assert_exactly_once(subscriber, events=12_000, streams=20)
    assert subscriber.different == 0
    with Running(
        tmp_path / "plain", SETTINGS.replace("under-test", "plain").format(port=broker.port)
    ) as plain:
        async with subscribing(broker) as again, client(broker, max_inflight_messages=500) as publisher:
            await publish_events(publisher, events=12_000, streams=20)
            await again.complete(12_000)
        assert plain.stop() == 0
    assert remembered(service.state) == remembered(plain.state)


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
        async with subscribing(broker) as subscriber:
            await asyncio.to_thread(flood, broker, "sensors/bad/telemetry", payloads)
            await asyncio.to_thread(broker.publish, "sensors/good/telemetry", '{"v": 1, "time": 1.7e9}')
            await subscriber.complete(1)
            counts = service.metrics()
            assert service.stop() == 0
            service.start()  # all of it is settled: nothing comes again
            assert service.metrics()["stream_lstm_messages_received_total"] == 0
    assert sum(rejections(counts).values()) == count
    assert counts["stream_lstm_messages_received_total"] == count + 1
    assert list(subscriber.predictions) == ["sensors/good/telemetry:v"]


async def test_constant_readings_without_a_time_survive_a_kill_in_quiet(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """All were settled before the kill, so none of the next ones can be taken for a duplicate."""
    broker, rooms = mosquitto(*UNLIMITED), 50
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        async with client(broker) as publisher, subscribing(broker) as subscriber:
            for turn in range(1, 5):
                for room in range(rooms):
                    await publisher.publish(f"home/{room}", "21.5", qos=1)
                await subscriber.complete(turn * rooms)
                await asyncio.sleep(0.3)
                running.kill()
                running.start()
        assert running.metrics()["stream_lstm_messages_redelivered_uncertain_total"] == 0
        assert running.metrics()["stream_lstm_predictions_resent_total"] == 0


async def test_equal_readings_in_flight_at_a_kill_are_counted_as_uncertain(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """Killed before the broker's answer is known: the next equal reading may be the last one, sent again."""
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        async with subscribing(broker) as subscriber:
            broker.publish("home/room", "21.5")
            await subscriber.complete(1)
            await asyncio.sleep(0.3)
            running.kill()
            os.truncate(f"{running.state}.lock", 0)  # as if the kill had come before the answer
            running.start()
            broker.publish("home/room", "21.5")
            broker.publish("home/room", "21.5")
            await subscriber.complete(2)
        found = running.metrics()
        assert found["stream_lstm_messages_redelivered_total"] == 1
        assert found["stream_lstm_messages_redelivered_uncertain_total"] == 1
