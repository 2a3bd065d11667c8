"""Runtime: built from a recovered state, stopped at any time, topic filters noted for the next start."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from stream_lstm.errors import DiskFailed, DiskFull, StateLocked
from stream_lstm.service import runtime
from stream_lstm.service.app import Service
from stream_lstm.service.settings import Settings
from stream_lstm.store.database import Database
from tests.brokers import free_port

SECONDS_MAX = 20.0


def settings(folder: Path, *topics: str) -> Settings:
    """Of a service without HTTP, whose broker does not answer."""
    return Settings(
        mqtt={"url": f"mqtt://127.0.0.1:{free_port()}", "dropped_topic": ""},
        subscribe=[{"topic": topic} for topic in topics],
        state={"path": folder / "s.db"},
        http={"enabled": False},
    )


async def run(service: Service) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        await service.run()


def noted_filters(folder: Path) -> list[str]:
    with closing(Database.open_read_only(folder / "s.db")) as database:
        return database.filters


async def test_a_stop_request_before_recovery_ends_the_service(tmp_path: Path) -> None:
    service = Service(settings(tmp_path, "a/#"))
    service.stop()
    await run(service)


async def test_it_is_ready_when_memory_is_recovered_and_stops_without_a_broker(tmp_path: Path) -> None:
    ports: list[int] = []

    def on_ready(port: int) -> None:
        ports.append(port)
        service.stop()

    service = Service(settings(tmp_path, "a/#"), on_ready=on_ready)
    await run(service)
    assert ports == [0]


async def test_topic_filters_are_noted_before_the_first_connection(tmp_path: Path) -> None:
    for topics in (("a/#",), ("b/#", "c/+")):
        await run(service := Service(settings(tmp_path, *topics), on_ready=lambda _: service.stop()))
    control = ["stream_lstm/freeze", "stream_lstm/status"]
    assert noted_filters(tmp_path) == ["a/#", "b/#", "c/+", *control]  # the session may still have `a/#`


async def test_the_state_file_is_closed_when_the_runtime_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("no recovery")

    monkeypatch.setattr("stream_lstm.service.startup.recover", failing)
    with pytest.raises(RuntimeError, match="no recovery"):
        await run(Service(settings(tmp_path, "a/#")))


async def test_a_stop_does_not_wait_for_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "CLOSE_SECONDS_MAX", 0.1)
    begun, may_end, databases = threading.Event(), threading.Event(), []

    def hanging(database: Database, _: object) -> None:
        databases.append(database)
        begun.set()
        may_end.wait()

    monkeypatch.setattr(Database, "note_filters", hanging)
    service = Service(settings(tmp_path, "a/#"))
    running = asyncio.create_task(run(service))
    await asyncio.to_thread(begun.wait)
    service.stop()
    await running
    assert "disk does not answer" in caplog.text
    may_end.set()
    monkeypatch.undo()
    for _ in range(1_000):
        with suppress(StateLocked):
            Database.open(tmp_path / "s.db", databases[0].identity).close()
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the state file was not closed")


async def test_a_disk_that_fails_before_the_first_connection_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise DiskFailed("note", "s.db", "disk I/O error", "check that the disk is sound")

    monkeypatch.setattr(Database, "note_filters", failing)
    with pytest.raises(DiskFailed):
        await run(Service(settings(tmp_path, "a/#")))


async def test_topic_filters_that_a_full_disk_does_not_take_are_noted_at_a_later_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise DiskFull("note", "s.db", "no space", "make space")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "note_filters", full)
        await run(service := Service(settings(tmp_path, "a/#"), on_ready=lambda _: service.stop()))
    assert "topic filters not noted" in caplog.text
    assert noted_filters(tmp_path) == []
    await run(service := Service(settings(tmp_path, "a/#"), on_ready=lambda _: service.stop()))
    assert "a/#" in noted_filters(tmp_path)
