"""Concurrent asyncio tasks that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def run_until_first_ends(*awaitables: Awaitable[object]) -> None:
    """Run until the first of several ends, and cancel the others; raises the first error in their order."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in ended:
            task.result()
