"""The service when the disk fails: nothing is acknowledged that is not kept, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.service.running import Running, until
from tests.service.test_service import SETTINGS, UNLIMITED, listening


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(place)], capture_output=True
        ).returncode
    ):
        pytest.skip("a file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def events(start: int, count: int) -> str:
    """Lines of payloads."""
    return "".join(json.dumps({"v": n, "time": 1.7e9 + n}) + "\n" for n in range(start, start + count))


async def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    mosquitto: Callable[..., Mosquitto], small_disk: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = SETTINGS.format(port=broker.port)
    with Running(small_disk / "service", settings, state="checkpoint_seconds = 600") as service:
        async with listening(broker) as heard:
            broker.publish_lines("home/a", events(0, 50))
            await heard.complete(50)
            ballast = small_disk / "ballast"
            with ballast.open("wb") as file:
                free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
                file.write(bytes(max(free - 60_000, 0)))
            broker.publish_lines("home/a", events(50, 5_000))
            await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 503, service)
            assert "full" in service.get("/readyz")[1]
            assert service.get("/healthz")[0] == 200
            assert service.metrics()["stream_lstm_ready"] == 0
            await asyncio.sleep(0.5)
            before = heard.distinct
            await asyncio.sleep(1.0)
            assert heard.distinct == before < 5_050  # nothing goes out that is not kept
            ballast.unlink()
            await heard.complete(5_050)
            await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 200, service)
        assert heard.values("home/a:v") == [float(n) for n in range(5_050)]
        assert service.stop() == 0


async def test_an_error_of_the_disk_ends_the_service_and_a_start_goes_on(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        async with listening(broker) as heard:
            broker.publish_lines("home/a", events(0, 50))
            await heard.complete(50)
            log = os.stat(f"{service.state}-wal").st_size
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (log, log))  # writes fail from here on
            broker.publish_lines("home/a", events(50, 3_000))
            assert await asyncio.to_thread(service.wait) == 1
            assert "see that the disk is sound" in service.log
            assert heard.distinct < 3_050
            await asyncio.to_thread(service.start)
            await heard.complete(3_050)
        assert heard.values("home/a:v") == [float(n) for n in range(3_050)]
        assert heard.different == 0
        assert service.stop() == 0
