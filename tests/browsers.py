"""Real Chromium for tests, headless, driven by Playwright.

The program is searched on PATH and where `tools/get-programs chromium` puts it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Playwright, async_playwright

PRIVATE = Path(__file__).resolve().parents[1] / ".tools" / "chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # the sandbox needs root or user namespaces, which containers lack
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find() -> str:
    """Path of the program."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/bin", str(PRIVATE / "bin")])
    if found := shutil.which("chromium", path=path):
        return found
    raise FileNotFoundError("chromium: run tools/get-programs chromium, or install it")


@asynccontextmanager
async def driver() -> AsyncIterator[Playwright]:
    """Playwright; its Node needs libatomic, which `tools/get-programs` fetches where it is missing."""
    with pytest.MonkeyPatch.context() as environment:
        if (PRIVATE / "lib").exists():
            environment.setenv("LD_LIBRARY_PATH", str(PRIVATE / "lib"), prepend=os.pathsep)
        started = await async_playwright().start()
    try:
        yield started
    finally:
        await started.stop()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Browser without pages; closing it closes its pages."""
    program = find()
    async with driver() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, env={**os.environ}
        )
        try:
            yield browser
        finally:
            await browser.close()
