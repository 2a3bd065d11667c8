"""The service on a failing disk: it acknowledges only what is committed, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.service.end_to_end import SETTINGS, UNLIMITED, subscribing
from tests.service.running import Running, command, until

SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class Disk:
    """A file system in a file, mounted for a test."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.place = folder / "disk"
        self.place.mkdir()
        with self._image.open("wb") as image:
            image.truncate(33_554_432)
        if (
            os.geteuid()
            or not shutil.which("mkfs.ext4", path=SBIN)
            or not shutil.which("fsfreeze", path=SBIN)
        ):
            pytest.skip("a file system can only be made and mounted by root")
        self._run("mkfs.ext4", "-q", str(self._image))
        try:
            self.mount()
        except subprocess.CalledProcessError:
            pytest.skip("no loop device")

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": SBIN}, timeout=30)

    def mount(self) -> None:
        self._run("mount", "-o", "loop", str(self._image), str(self.place))

    def unmount(self) -> None:
        self._run("umount", str(self.place))

    def break_down(self) -> None:
        """Make it read-only, as the kernel does when it finds an error."""
        self._run("mount", "-o", "remount,abort", str(self.place))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend every write."""
        self._run("fsfreeze", "--freeze", str(self.place))
        try:
            yield
        finally:
            self._run("fsfreeze", "--unfreeze", str(self.place))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    subprocess.run(["umount", "-l", str(disk.place)], check=True)


def events(start: int, count: int) -> str:
    """Lines of payloads."""
    return "".join(json.dumps({"v": n, "time": 1.7e9 + n}) + "\n" for n in range(start, start + count))


async def test_a_full_disk_holds_the_service_and_nothing_is_lost(
    mosquitto: Callable[..., Mosquitto], small_disk: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = SETTINGS.format(port=broker.port)
    with Running(small_disk / "service", settings, state="checkpoint_seconds = 600") as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
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
            before = subscriber.distinct
            await asyncio.sleep(1.0)
            assert subscriber.distinct == before < 5_050  # only committed events are published
            ballast.unlink()
            await subscriber.complete(5_050)
            await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 200, service)
        assert subscriber.values("home/a:v") == [float(n) for n in range(5_050)]
        assert service.stop() == 0


async def test_a_disk_error_ends_the_service_and_a_restart_continues(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
            log = os.stat(f"{service.state}-wal").st_size
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (log, log))  # writes fail from here on
            broker.publish_lines("home/a", events(50, 3_000))
            assert await asyncio.to_thread(service.wait) == 1
            assert "check that the disk is sound" in service.log
            assert subscriber.distinct < 3_050
            await asyncio.to_thread(service.start)
            await subscriber.complete(3_050)
        assert subscriber.values("home/a:v") == [float(n) for n in range(3_050)]
        assert subscriber.different == 0
        assert service.stop() == 0


async def test_a_read_only_disk_ends_the_service_and_a_restart_after_the_repair_continues(
    mosquitto: Callable[..., Mosquitto], disk: Disk, tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port), place=disk.place) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
            disk.break_down()
            broker.publish_lines("home/a", events(50, 100))
            assert await asyncio.to_thread(service.wait) == 1
            assert "check that the disk is sound and the folder writable" in service.log
            assert subscriber.distinct == 50  # only committed events were published
            service.launch()
            assert await asyncio.to_thread(service.wait) == 1
            disk.unmount()
            disk.mount()
            await asyncio.to_thread(service.start)
            await subscriber.complete(150)
        assert subscriber.values("home/a:v") == [float(n) for n in range(150)]
        assert service.stop() == 0


async def test_a_disk_that_stalls_makes_the_service_not_ready_until_it_continues(
    mosquitto: Callable[..., Mosquitto], disk: Disk, tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port), place=disk.place) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
            with disk.frozen():
                broker.publish_lines("home/a", events(50, 2_000))
                await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 503, service)
                assert "the disk has not answered for" in service.get("/readyz")[1]
                begun = time.monotonic()
                assert service.metrics()["stream_lstm_ready"] == 0
                assert service.get("/healthz")[0] == 200
                assert time.monotonic() - begun < 1.0
                await asyncio.sleep(1.0)
                assert subscriber.distinct == 50
            await subscriber.complete(2_050)
            await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 200, service)
        assert subscriber.values("home/a:v") == [float(n) for n in range(2_050)]
        assert subscriber.copies == 0
        assert service.stop() == 0


def lose(service: Running) -> None:
    service.state.unlink()


def replace(service: Running) -> None:
    command("snapshot", str(service.folder / "copy.db"), "--state", str(service.state))
    (service.folder / "copy.db").rename(service.state)


def overwrite(service: Running) -> None:
    command("snapshot", str(service.folder / "copy.db"), "--state", str(service.state))
    shutil.copyfile(service.folder / "copy.db", service.state)


def cut(service: Running) -> None:
    os.truncate(service.state, 0)


def move(service: Running) -> None:
    service.state.parent.rename(service.state.parent.with_name("moved"))


LOSSES = [
    (lose, "was deleted or moved"),
    (replace, "was replaced by another file"),
    (overwrite, "was overwritten"),
    (cut, "was cut from"),
    (move, "was deleted or moved"),
]


@pytest.mark.parametrize(("harm", "told"), LOSSES, ids=[harm.__name__ for harm, _ in LOSSES])
async def test_a_state_file_lost_while_nothing_happens_ends_the_service_within_two_seconds(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, harm: Callable[[Running], None], told: str
) -> None:
    broker, place = mosquitto(*UNLIMITED), tmp_path / "state"
    place.mkdir()
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port), place=place) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
        await asyncio.to_thread(until, lambda: service.metrics()["stream_lstm_wal_bytes"] > 0, service)
        harm(service)
        assert await asyncio.to_thread(service.wait) == 1
        last = service.log.splitlines()[-1]
        assert last.startswith("error: ")
        assert f" {service.state}: {told}" in last


async def test_no_event_is_acknowledged_after_the_state_file_was_deleted(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
            service.state.unlink()
            broker.publish_lines("home/a", events(50, 2_000))
            assert await asyncio.to_thread(service.wait) == 1
            assert "was deleted or moved while the service had it open; move it back" in service.log
            assert subscriber.distinct == 50
        assert not service.state.exists()
        service.launch()
        assert await asyncio.to_thread(service.wait) == 1  # its log is there: nothing starts anew unasked
        assert f"is missing or empty, but its write-ahead log {service.state}-wal is there" in service.log
        os.unlink(f"{service.state}-wal")
        async with subscribing(broker) as subscriber:
            await asyncio.to_thread(service.start)
            await subscriber.complete(2_000)
        assert subscriber.values("home/a:v") == [float(n) for n in range(50, 2_050)]
        (warning,) = [line for line in service.lines if "a session of our client id" in line["message"]]
        assert (warning["path"], warning["client_id"]) == (str(service.state), "under-test")
        assert service.stop() == 0


async def test_a_deleted_log_ends_the_service_and_loses_nothing(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        async with subscribing(broker) as subscriber:
            broker.publish_lines("home/a", events(0, 50))
            await subscriber.complete(50)
            os.unlink(f"{service.state}-wal")
            broker.publish_lines("home/a", events(50, 2_000))
            assert await asyncio.to_thread(service.wait) == 1
            assert f"{service.state}-wal: was deleted or moved" in service.log
            await asyncio.to_thread(service.start)
            await subscriber.complete(2_050)
        assert subscriber.values("home/a:v") == [float(n) for n in range(2_050)]
        assert subscriber.different == 0
        assert service.stop() == 0


def test_a_folder_that_does_not_exist_is_a_wrong_setting(tmp_path: Path) -> None:
    found = command("run", STREAM_LSTM__STATE__PATH=str(tmp_path / "no" / "s.db"))
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == (
        f"error: state.path: there is no folder {tmp_path}/no; create it, or correct the path"
    )
    assert list(tmp_path.iterdir()) == []
