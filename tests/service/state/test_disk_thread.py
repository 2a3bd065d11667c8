"""Disk thread: calls in order, their results and errors, and its end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from stream_lstm.service.state.disk_thread import DiskThread


async def test_calls_are_made_in_order_in_one_other_thread() -> None:
    thread, made = DiskThread("disk"), list[tuple[int, str]]()
    calls = [thread.submit(lambda n: made.append((n, threading.current_thread().name)), n) for n in range(50)]
    await asyncio.gather(*calls)
    assert made == [(n, "disk") for n in range(50)]
    thread.end()


async def test_a_future_has_the_result_or_what_was_raised() -> None:
    thread = DiskThread("disk")
    assert await thread.submit(divmod, 17, 5) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        await thread.submit(divmod, 1, 0)
    assert await thread.submit(len, "it goes on") == 10
    thread.end()


async def test_the_event_loop_runs_meanwhile() -> None:
    thread, beats = DiskThread("disk"), 0
    slow = thread.submit(time.sleep, 0.1)
    while not slow.done():
        beats += 1
        await asyncio.sleep(0.001)
    assert beats > 3
    thread.end()


async def test_a_cancelled_wait_cancels_no_call() -> None:
    thread, made = DiskThread("disk"), list[int]()
    waiting = asyncio.ensure_future(thread.submit(lambda: (time.sleep(0.05), made.append(1))))
    await asyncio.sleep(0)
    waiting.cancel()
    thread.end()
    await asyncio.sleep(0)
    assert made == [1]


def test_calls_of_a_loop_that_is_closed_are_made_all_the_same() -> None:
    thread, made = DiskThread("disk"), list[int]()

    async def submit() -> None:
        thread.submit(lambda: (time.sleep(0.05), made.append(1)))

    asyncio.run(submit())
    thread.end()
    assert made == [1]
    assert "disk" not in [other.name for other in threading.enumerate()]
