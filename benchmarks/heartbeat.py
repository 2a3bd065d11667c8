"""The longest time for which the service's event loop is busy with one thing, under hostile and large loads.

While it is, no request is answered and no PINGREQ sent. The service runs in this process, beside a task that
wakes every millisecond; the loads come from another process, by way of mosquitto and HTTP. Two figures: the
longest delay, to which a busy machine adds (a process that only wakes shows how much), and the most processor
time that the loop's thread took between two wakes.

    python -m benchmarks.heartbeat
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from benchmarks import machine
from benchmarks.filled import fill, name
from stream_lstm.demo.broker import free_port
from stream_lstm.service.app import Service
from stream_lstm.service.settings import Settings
from tests.brokers import Mosquitto

STREAMS = 200_000
BEAT_SECONDS = 0.001
CHECKPOINT_SECONDS = 5.0
QUIET_SECONDS = 3.0  # after a load, for what it has left to do
CONTROL = "none: an idle loop in another process"


def small_events() -> Iterator[tuple[str, bytes]]:
    """One event for each stream, so that a checkpoint has all of them to write."""
    for n in range(STREAMS):
        yield name(n).removesuffix(":v"), b'{"v": %d.5, "time": 1700001000}' % (n % 90)


def many_numbers() -> Iterator[tuple[str, bytes]]:
    """Messages with as many numbers as are accepted, in 60 kB each."""
    for n in range(500):
        values = {f"{'field' * 10}{k}": n + k for k in range(1_000)}
        yield "plant/large", json.dumps(values | {"time": 1_700_001_000 + n}).encode()


def too_many_numbers() -> Iterator[tuple[str, bytes]]:
    """Messages of 56 kB with 7,000 numbers each, which are rejected."""
    for _ in range(1_000):
        yield "plant/refused", json.dumps({f"{k}": 1 for k in range(7_000)}).encode()[:65_000]


def wrong_fields() -> Iterator[tuple[str, bytes]]:
    """Messages of which every field is wrong."""
    for _ in range(1_000):
        yield "plant/wrong", json.dumps({f"{k}": "x" for k in range(4_000)}).encode()


def nested() -> Iterator[tuple[str, bytes]]:
    """Deep nesting, long numbers, long texts, bytes that are not UTF-8."""
    kinds = [
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"9" * 60_000,
        b'{"v": "' + b"\\u00e4" * 10_000 + b'"}',
        b"\xff" * 60_000,
    ]
    for n in range(1_000):
        yield "plant/nested", kinds[n % len(kinds)]


def megabytes() -> Iterator[tuple[str, bytes]]:
    """Messages of almost the largest packet size."""
    for _ in range(100):
        yield "plant/huge", b"x" * 1_048_000


MESSAGES: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
    f"{STREAMS:,} events, and the checkpoint of as many streams": small_events,
    "500 messages of 1,000 numbers (60 kB)": many_numbers,
    "1,000 messages of 7,000 numbers, rejected": too_many_numbers,
    "1,000 messages of 4,000 wrong fields": wrong_fields,
    "1,000 deep, long and binary payloads": nested,
    "100 messages of 1 MB": megabytes,
}
REQUESTS = {
    "20 requests for a page of the list, sorted by name": "/api/streams?sort=name&limit=500",
    "20 searches in all names": "/api/streams?search=9999&sort=anomaly",
    "20 scrapes": "/metrics",
}


class Heartbeat:
    """A task that wakes every millisecond.

    Attributes:
        longest_seconds: the longest delay since `reset` …
        busiest_seconds: … and the most processor time of this thread between two wakes.
    """

    def __init__(self) -> None:
        self.longest_seconds = self.busiest_seconds = 0.0

    def reset(self) -> None:
        """Begin to measure."""
        self.longest_seconds = self.busiest_seconds = 0.0

    async def beat(self) -> None:
        """Measure until cancelled."""
        last, spent = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now, busy = time.perf_counter(), time.thread_time()
            self.longest_seconds = max(self.longest_seconds, now - last - BEAT_SECONDS)
            self.busiest_seconds = max(self.busiest_seconds, busy - spent)
            last, spent = now, busy


@asynccontextmanager
async def service(folder: Path, port: int, http: int) -> AsyncIterator[None]:
    """A running service with many streams."""
    settings = Settings(
        mqtt={"url": f"mqtt://127.0.0.1:{port}"},
        subscribe=[{"topic": "plant/#"}],
        state={"path": folder / "state.db", "checkpoint_seconds": CHECKPOINT_SECONDS},
        http={"port": http},
        limits={"streams_max": STREAMS + 10_000, "new_streams_per_second": 10_000.0},
    )
    ready = asyncio.Event()
    running = Service(settings, on_ready=lambda _: ready.set())
    task = asyncio.create_task(running.run())
    await ready.wait()
    try:
        yield
    finally:
        running.stop()
        await task


async def publish(port: int, load: str) -> None:
    """Send a load; in a process of its own."""
    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=1_000) as client:
        for topic, payload in MESSAGES[load]():
            await client.publish(topic, payload, qos=1, timeout=60)


def request(http: int, load: str) -> None:
    """Make requests; in a process of its own."""
    for _ in range(20):
        with urllib.request.urlopen(f"http://127.0.0.1:{http}{REQUESTS[load]}", timeout=60) as answer:
            answer.read()


async def idle(seconds: float) -> float:
    """The longest delay of a loop that does nothing else."""
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.beat())
    await asyncio.sleep(seconds)
    beating.cancel()
    return heartbeat.longest_seconds


async def measure(port: int, http: int) -> dict[str, dict[str, float]]:
    """The longest delay and the most processor time under each load, in milliseconds."""
    heartbeat = Heartbeat()
    found: dict[str, dict[str, float]] = {CONTROL: {"longest_ms": 0.0, "busiest_ms": 0.0}}
    beating = asyncio.create_task(heartbeat.beat())
    for load in (*MESSAGES, *REQUESTS):
        await asyncio.sleep(QUIET_SECONDS)
        control = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.heartbeat", "--idle", "3"), stdout=subprocess.PIPE
        )
        heartbeat.reset()
        sender = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.heartbeat", "--send", load, str(port), str(http))
        )
        assert await sender.wait() == 0
        await asyncio.sleep(CHECKPOINT_SECONDS + QUIET_SECONDS)
        found[load] = {
            "longest_ms": heartbeat.longest_seconds * 1e3,
            "busiest_ms": heartbeat.busiest_seconds * 1e3,
        }
        said, _ = await control.communicate()
        found[CONTROL]["longest_ms"] = max(found[CONTROL]["longest_ms"], float(said))
    beating.cancel()
    for load, figures in found.items():
        print("{longest_ms:8.1f} ms {busiest_ms:8.1f} ms".format_map(figures) + f"  {load}", flush=True)
    return found


async def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, http = Path(place), free_port()
        broker = Mosquitto(folder, "max_queued_messages 0", "max_inflight_messages 0").start()
        try:
            fill(folder / "state.db", STREAMS)
            async with service(folder, broker.port, http):
                found = await measure(broker.port, http)
        finally:
            broker.kill()
    machine.keep("heartbeat", {"loads": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--idle", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=3, metavar=("LOAD", "PORT", "HTTP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.idle:
        print(asyncio.run(idle(options.idle)) * 1e3)
    elif options.send:
        load, port, http = options.send[0], int(options.send[1]), int(options.send[2])
        if load in MESSAGES:
            asyncio.run(publish(port, load))
        else:
            request(http, load)
    else:
        asyncio.run(run())


if __name__ == "__main__":
    main()
