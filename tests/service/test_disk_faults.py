"""The service on a disk whose writes and syncs fail or take their time: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_lstm.service.runtime import CLOSE_SECONDS_MAX
from tests.brokers import Mosquitto
from tests.faulty_disk.control import FOREVER
from tests.faulty_disk.disk import FaultyDisk
from tests.faulty_disk.vfs import NoLibrary, library
from tests.service.end_to_end import SETTINGS, subscribing
from tests.service.running import Running, until
from tests.service.test_disk import events

SHUTDOWN_SECONDS_MAX = 3.0
DISK_SECONDS = 2.0  # of a slow call
BUSY_SECONDS = 10.0  # that a busy machine may add to a limit
LIMITS = f"\n[limits]\nshutdown_seconds_max = {SHUTDOWN_SECONDS_MAX}\n"


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    try:
        library()
    except NoLibrary as reason:
        pytest.skip(str(reason))
    return FaultyDisk(tmp_path / "disk")


@pytest.fixture
def start(broker: Mosquitto, disk: FaultyDisk, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts the service on the disk: `start(*lines of [state])`."""
    made: list[Running] = []

    def start(state: str = "checkpoint_seconds = 600") -> Running:
        settings = SETTINGS.format(port=broker.port) + LIMITS
        made.append(
            Running(tmp_path / "service", settings, state=state, place=disk.place, program=disk.program)
        )
        return made[-1].start()

    yield start
    for service in made:
        service.kill()
        assert "Exception ignored" not in service.log  # of the disk


@pytest.mark.parametrize("fsync", [True, False])
async def test_every_commit_is_synced_unless_that_is_switched_off(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running], fsync: bool
) -> None:
    service = start(f"checkpoint_seconds = 600\nfsync = {str(fsync).lower()}")
    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 1))
        await subscriber.complete(1)
        commits = service.metrics()["stream_lstm_commit_seconds_count"]
        syncs, writes = disk.control["log_syncs"], disk.control["log_writes"]
        for n in range(1, 11):
            broker.publish_lines("home/a", events(n, 1))
            await subscriber.complete(n + 1)
        commits = service.metrics()["stream_lstm_commit_seconds_count"] - commits
        assert commits >= 10
        assert disk.control["log_writes"] >= writes + commits
        if fsync:
            assert disk.control["log_syncs"] >= syncs + commits
        else:
            assert disk.control["log_syncs"] == syncs
            assert disk.control["file_syncs"] <= 1  # of the empty file


async def test_no_prediction_is_published_before_the_sync(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running]
) -> None:
    service = start()
    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 10))
        await subscriber.complete(10)
        disk.control["sync_seconds"] = FOREVER
        writes = disk.control["log_writes"]
        broker.publish_lines("home/a", events(10, 10))
        await asyncio.to_thread(until, lambda: disk.control["log_writes"] > writes, service)
        await asyncio.sleep(1.0)
        assert subscriber.distinct == 10
        disk.control["sync_seconds"] = 0
        await subscriber.complete(20)
    assert subscriber.values("home/a:v") == [float(n) for n in range(20)]


@pytest.mark.parametrize(
    ("faults", "code", "failing"),
    [
        ("sync_errors", sqlite3.SQLITE_IOERR_FSYNC, 1),
        ("sync_errors", sqlite3.SQLITE_IOERR_FSYNC, FOREVER),
        ("write_errors", sqlite3.SQLITE_IOERR_WRITE, 1),
        ("write_errors", sqlite3.SQLITE_IOERR_WRITE, FOREVER),
    ],
    ids=["one sync", "all syncs", "one write", "all writes"],
)
async def test_a_failed_call_ends_the_service_and_a_power_cut_after_the_restart_loses_nothing(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running], faults: str, code: int, failing: float
) -> None:
    service = start()
    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 50))
        await subscriber.complete(50)
        disk.control["write_code"], disk.control[faults] = code, failing
        broker.publish_lines("home/a", events(50, 50))
        assert await asyncio.to_thread(service.wait) == 1
        assert "check that the disk is sound" in service.log
        assert subscriber.distinct == 50  # what was not synced is neither published nor acknowledged
        if failing == FOREVER:
            service.launch()
            assert await asyncio.to_thread(service.wait) == 1
            assert subscriber.distinct == 50
        disk.control[faults] = 0
        await asyncio.to_thread(service.start)
        await subscriber.complete(100)
        broker.publish_lines("home/a", events(100, 50))
        await subscriber.complete(150)
        service.kill()
        disk.cut_power()
        await asyncio.to_thread(service.start)
        broker.publish_lines("home/a", events(150, 50))
        await subscriber.complete(200)
        assert service.stop() == 0
    assert subscriber.values("home/a:v") == [float(n) for n in range(200)]
    assert subscriber.different == 0


async def test_a_disk_that_is_full_for_a_while_holds_the_service_and_nothing_is_lost(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running]
) -> None:
    service = start("checkpoint_seconds = 1.0")
    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 50))
        await subscriber.complete(50)
        disk.control["write_code"], disk.control["write_errors"] = sqlite3.SQLITE_FULL, FOREVER
        broker.publish_lines("home/a", events(50, 500))
        await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 503, service)
        assert "is full" in service.get("/readyz")[1]
        await asyncio.sleep(2.0)  # checkpoints fail as well
        assert subscriber.distinct == 50
        assert service.get("/healthz")[0] == 200
        disk.control["write_errors"] = 0
        await subscriber.complete(550)
        await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 200, service)
        service.kill()
        disk.cut_power()
        await asyncio.to_thread(service.start)
        broker.publish_lines("home/a", events(550, 10))
        await subscriber.complete(560)
        assert service.stop() == 0
    assert subscriber.values("home/a:v") == [float(n) for n in range(560)]
    assert subscriber.different == 0


@pytest.mark.parametrize(("what", "count"), [("sync_seconds", 3), ("write_seconds", 1)])
async def test_a_disk_that_takes_two_seconds_a_call_delays_events_and_nothing_else(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running], what: str, count: int
) -> None:
    service = start()
    took = []

    def check() -> None:
        for _ in range(20):
            begun = time.monotonic()
            assert service.get("/healthz")[0] == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.1)

    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 10))
        await subscriber.complete(10)
        disk.control[what] = DISK_SECONDS
        for n in range(10, 10 + count):
            broker.publish_lines("home/a", events(n, 1))
            await asyncio.sleep(0.2)
        await asyncio.to_thread(check)
        assert subscriber.distinct < 10 + count
        await subscriber.complete(10 + count)
        begun = time.monotonic()
        assert await asyncio.to_thread(service.stop) == 0
        assert time.monotonic() - begun < SHUTDOWN_SECONDS_MAX + CLOSE_SECONDS_MAX + BUSY_SECONDS
        assert sorted(took)[-2] < DISK_SECONDS  # no request waits for the disk
        disk.control[what] = 0
        await asyncio.to_thread(service.start)
        broker.publish_lines("home/a", events(10 + count, 10))
        await subscriber.complete(20 + count)
        assert service.stop() == 0
    assert subscriber.values("home/a:v") == [float(n) for n in range(20 + count)]
    assert subscriber.different == 0


async def test_a_stop_does_not_wait_for_a_disk_that_hangs_and_the_next_start_continues(
    broker: Mosquitto, disk: FaultyDisk, start: Callable[..., Running]
) -> None:
    service = start("checkpoint_seconds = 0.2")
    async with subscribing(broker) as subscriber:
        broker.publish_lines("home/a", events(0, 50))
        await subscriber.complete(50)
        disk.control["sync_seconds"] = FOREVER
        broker.publish_lines("home/a", events(50, 50))
        await asyncio.to_thread(until, lambda: "not answered" in service.get("/readyz")[1], service)
        begun = time.monotonic()
        assert await asyncio.to_thread(service.stop) == 0
        assert time.monotonic() - begun < SHUTDOWN_SECONDS_MAX + CLOSE_SECONDS_MAX + BUSY_SECONDS
        assert "the next start expects and publishes the rest" in service.log
        assert "disk does not answer: the state file is left as by a kill" in service.log
        assert service.lines[-1]["cleanly"] is False
        assert subscriber.distinct == 50
        disk.cut_power()
        service.launch()  # it hangs at once
        assert service.get("/healthz")[0] == 200
        assert await asyncio.to_thread(service.stop) == 0
        disk.control["sync_seconds"] = 0
        await asyncio.to_thread(service.start)
        await subscriber.complete(100)
        assert service.stop() == 0
    assert subscriber.values("home/a:v") == [float(n) for n in range(100)]
    assert subscriber.different == 0
