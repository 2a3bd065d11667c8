"""Somebody who looks at the live page, until killed: a headless Chromium, or what that asks for and no more.

python -m benchmarks.viewer http://127.0.0.1:8080/
python -m benchmarks.viewer http://127.0.0.1:8080/ --asks
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from urllib.parse import unquote

import aiohttp
from playwright.sync_api import Browser, Playwright, sync_playwright

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
]
EVERY_SECONDS = 2.0  # as the page: its list every two looks at the overview
STREAM = "#/stream/"


def chromium(playwright: Playwright) -> Browser:
    """A browser."""
    program = shutil.which("chromium")
    assert program, "chromium is needed: tools/get-programs chromium"
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


def show(url: str) -> None:
    """Have the page open in a browser."""
    with sync_playwright() as playwright:
        page = chromium(playwright).new_page()
        page.goto(url)
        page.wait_for_selector(".dot.good")
        print("looking", flush=True)
        while True:
            page.wait_for_timeout(1_000)


async def ask(url: str) -> None:
    """Ask for what the page asks for, and draw nothing: so that only the service's part is seen."""
    origin, _, stream = url.partition(STREAM)
    live = {"name": unquote(stream), "layer": "0"} if stream else {}
    async with aiohttp.ClientSession(origin) as session:

        async def listen() -> None:
            async with session.get("/api/live", params=live, timeout=aiohttp.ClientTimeout()) as answer:
                print("looking", flush=True)
                async for _ in answer.content.iter_any():
                    pass

        async def get(path: str, **parameters: str) -> None:
            async with session.get(path, params=parameters) as answer:
                await answer.read()

        listening = asyncio.create_task(listen())
        while not listening.done():
            if stream:
                await get("/api/stream", name=unquote(stream), events="0")
                await asyncio.sleep(5.0)
            else:
                await get("/api/streams", state="all", sort="anomaly", offset="0", limit="50")
                await get("/api/alerts")
                await asyncio.sleep(EVERY_SECONDS)


def main() -> None:
    if "--asks" in sys.argv:
        asyncio.run(ask(sys.argv[1]))
    show(sys.argv[1])


if __name__ == "__main__":
    main()
