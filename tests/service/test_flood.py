"""A flood of legal messages with thousands of numbers each, in an address space with a limit."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

from tests.brokers import Mosquitto
from tests.service.end_to_end import UNLIMITED, client
from tests.service.running import Running

FIELDS, MESSAGES = 7_000, 150  # 56 kB each; their predictions together take some 400 MB
BEYOND_BYTES = 512 << 20  # of address space, beyond that at the start
SILENT_SECONDS_MAX = 5.0  # without an answer of /healthz: generous, the machine of a test is busy
FIRST, LAST = "plant/wide:f0", f"plant/wide:f{FIELDS - 1}"
SETTINGS = """[mqtt]
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
    with Running(tmp_path, SETTINGS.format(port=broker.port)) as running:
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
