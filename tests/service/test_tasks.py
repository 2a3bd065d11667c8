"""Tasks that end together: the first to end decides, and the others are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from stream_lstm.service.tasks import run_until_first_ends


async def test_the_others_are_cancelled_when_the_first_ends() -> None:
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await run_until_first_ends(wait(), asyncio.sleep(0.01))
    assert cancelled.is_set()


async def test_an_error_of_the_first_is_raised_and_one_of_a_cancelled_task_is_not() -> None:
    async def fail() -> None:
        raise OSError("first")

    async def fail_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("later")

    with pytest.raises(OSError, match="first"):
        await run_until_first_ends(fail_when_cancelled(), fail())
    await run_until_first_ends(fail_when_cancelled(), asyncio.sleep(0.01))


async def test_cancelling_the_caller_cancels_all() -> None:
    ended = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    caller = asyncio.create_task(run_until_first_ends(wait("a"), wait("b")))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == ["a", "b"]
