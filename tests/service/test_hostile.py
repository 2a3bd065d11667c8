"""Hostile sensors, and floods of legal ones: their cost is bounded; other streams are not affected."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

import aiomqtt

from tests.brokers import Mosquitto
from tests.service.end_to_end import UNLIMITED, client, subscribing
from tests.service.running import Running
from tests.service.test_exactly_once import remembered

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "plant/+"
[[subscribe]]
topic = "open/#"
stream = "open-{{payload.id}}"
[limits]
streams_max = 400
new_streams_per_second = 10.0
payload_bytes_max = 4096
key_bytes_max = 64
"""
NAMES = 12_000
GROWTH_BYTES_MAX = 100_000_000
HOSTILE = [
    b'{"id": "../../#", "v": 1}',
    b'{"id": "a/+/#", "v": 1}',
    b'{"id": "$SYS/broker", "v": 1}',
    b'{"id": "\\u0000\\n\\u202e\\ud800", "v": 1}',
    b'{"id": "' + b"n" * 3_000 + b'", "v": 1}',
    b'{"id": 1e400, "v": 1}',
    b'{"id": "x", "v": 1e400}',
    b'{"id": "x", "v": ' + b"9" * 4_000 + b"}",
    b"[" * 4_000,
    b'{"v":' * 800,
    b"\xff\xfe\x00" * 100,
    b"x" * 200_000,
    b'{"id": "x", "v": NaN}',
    b'{"id": "x", "v": 1, "time": 9e99}',
]


async def topics_of(broker: Mosquitto, running: Running, *, attacked: bool) -> list[str]:
    """Send 300 honest events, under attack or not; returns the topics of all predictions."""
    topics: list[str] = []
    async with subscribing(broker) as subscriber, client(broker, max_inflight_messages=2_000) as sender:
        original = subscriber.receive

        def receive(topic: str, payload: bytes) -> None:
            topics.append(topic)
            if topic.startswith("predictions/plant/"):
                original(topic, payload)

        subscriber.receive = receive  # type: ignore[method-assign]
        for part in range(3):
            for n in range(100):
                payload = json.dumps({"v": float(n * 7 % 13), "time": 1.7e9 + part * 100 + n})
                await sender.publish("plant/honest", payload, qos=1)
            if attacked and part < 2:
                await attack(sender, part)
        await subscriber.complete(300)
    return topics


async def attack(sender: aiomqtt.Client, part: int) -> None:
    """Send new stream names, invalid payloads of every kind, and retained messages."""
    for n in range(NAMES // 2):
        payload = b'{"id": "n%d", "v": 1}' % (part * NAMES + n)
        await sender.publish("open/x", HOSTILE[n % len(HOSTILE)] if n % 5 == 0 else payload, qos=1)
        if n % 50 == 0:
            await sender.publish(f"open/{n}", payload, qos=1, retain=True)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4_096


async def test_an_attack_costs_bounded_memory_and_leaves_other_streams_unchanged(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker, memories = mosquitto(*UNLIMITED), []
    for attacked in (False, True):
        with Running(tmp_path / f"attacked-{attacked}", SETTINGS.format(port=broker.port)) as running:
            before = resident(running.pid)
            topics = await topics_of(broker, running, attacked=attacked)
            assert resident(running.pid) - before < GROWTH_BYTES_MAX
            found = running.metrics()
            assert running.stop() == 0
        memories.append(remembered(running.state)["plant/honest:v"])
    assert memories[0] == memories[1]
    assert len(memories[0]) > 0
    assert found["new_streams"] > NAMES * 0.7
    assert all(
        found[reason] > 0 for reason in ("bad_key", "too_large", "malformed", "not_finite", "bad_time")
    )
    foreign = {topic for topic in topics if topic.startswith("predictions/open-")}
    assert foreign
    assert not [topic for topic in foreign if re.search(r"[+#$\x00-\x1f]|/.*/", topic)]


# A flood of legal messages with thousands of numbers each, in an address space with a limit.

FIELDS, MESSAGES = 7_000, 150  # 56 kB each; their predictions together take some 400 MB
BEYOND_BYTES = 512 << 20  # of address space, beyond that at the start
SILENT_SECONDS_MAX = 5.0  # without an answer of /healthz: generous, the machine of a test is busy
FIRST, LAST = "plant/wide:f0", f"plant/wide:f{FIELDS - 1}"
WIDE_SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "plant/#"
[limits]
fields_max = 10000
streams_max = 10000
new_streams_per_second = 1000000.0
payload_bytes_max = 1000000
"""


def address_space(pid: int) -> int:
    found = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1_024


async def longest_silence(running: Running, done: asyncio.Event) -> float:
    """The longest time that /healthz took, seconds, until `done`."""
    longest = 0.0
    while not done.is_set():
        begun = time.monotonic()
        await asyncio.to_thread(running.get, "/healthz")
        longest = max(longest, time.monotonic() - begun)
        await asyncio.sleep(0.02)
    return longest


async def test_a_flood_of_wide_messages_costs_bounded_memory_also_at_the_next_start(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    seen: dict[str, set[int]] = {FIRST: set(), LAST: set()}
    with Running(tmp_path, WIDE_SETTINGS.format(port=broker.port)) as running:
        limit = address_space(running.pid) + BEYOND_BYTES
        resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
        async with client(broker) as receiver, client(broker, max_inflight_messages=1_000) as sender:
            for key in seen:
                await receiver.subscribe(f"predictions/{key}")

            async def receive() -> None:
                async for message in receiver.messages:
                    prediction = json.loads(bytes(message.payload))
                    seen[prediction["stream"]].add(prediction["seq"])

            async def until_seen(count: int) -> None:
                async with asyncio.timeout(120):
                    while min(map(len, seen.values())) < count:
                        await asyncio.sleep(0.02)
                        assert not running.ended, running.log

            receiving, done = asyncio.create_task(receive()), asyncio.Event()
            silence = asyncio.create_task(longest_silence(running, done))
            for n in range(MESSAGES):
                payload = json.dumps({f"f{m}": n for m in range(FIELDS)}, separators=(",", ":"))
                await sender.publish("plant/wide", payload, qos=1)
            await until_seen(MESSAGES // 3)
            done.set()
            assert await silence < SILENT_SECONDS_MAX
            running.kill()
            running.launch()
            resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
            await until_seen(MESSAGES)
            receiving.cancel()
        assert seen == {key: set(range(1, MESSAGES + 1)) for key in seen}
        assert running.stop() == 0
