"""Startup: a stop does not wait for a step, and what it leaves behind harms no later start."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from stream_lstm.compiler import variables
from stream_lstm.errors import StateError
from stream_lstm.service import startup
from stream_lstm.service.app import Service
from tests.service.running import Running, until
from tests.service.test_runtime import run, settings

ATTEMPTS_MAX = 1_000


@pytest.mark.parametrize("step", ["compile_service", "recover"])
async def test_a_stop_leaves_the_step_to_its_thread_and_the_next_start_finds_nothing_of_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    genuine = getattr(startup, step)

    def slow(*args: object, **named: object) -> object:
        begun.set()
        may_end.wait()
        return genuine(*args, **named)

    monkeypatch.setattr(startup, step, slow)
    service = Service(settings(tmp_path, "a/#"))
    running = asyncio.create_task(run(service))
    await asyncio.to_thread(begun.wait)
    service.stop()
    await running  # though the step has not ended
    may_end.set()
    monkeypatch.undo()
    await until_started(tmp_path)


async def until_started(folder: Path) -> None:
    """Start and stop a service as soon as no step of an earlier one has the state open."""
    for _ in range(ATTEMPTS_MAX):
        if await started(folder):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the state file was not closed")


async def started(folder: Path) -> bool:
    """Start and stop a service; false while another owns the state."""
    service = Service(settings(folder, "a/#"), on_ready=lambda _: service.stop())
    try:
        await run(service)
    except StateError as error:
        if "owns it" not in str(error):
            raise
        return False
    return True


async def test_a_start_that_is_cancelled_says_so(tmp_path: Path) -> None:
    running = asyncio.create_task(run(Service(settings(tmp_path, "a/#"))))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_started(tmp_path)


def test_sigterm_while_the_engine_is_compiled_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that was stopped in its first seconds was killed: compilation went on."""
    cache = tmp_path / "empty"
    monkeypatch.setenv(variables.FOLDER, str(cache))
    service = Running(tmp_path, '[mqtt]\nurl = "mqtt://127.0.0.1:9"\n[[subscribe]]\ntopic = "a"')
    service.launch()
    assert service.stop() == 0
    assert service.lines[-1]["message"] == "stopped"
    assert service.lines[-1]["while"] == startup.COMPILING
    monkeypatch.delenv(variables.FOLDER)
    service.launch()
    try:
        until(lambda: "memory recovered" in service.log, service)
        assert service.stop() == 0
    finally:
        service.kill()
