"""Hostile sensors: their cost is bounded, and they do not affect other streams."""

from __future__ import annotations

import json
import re
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
