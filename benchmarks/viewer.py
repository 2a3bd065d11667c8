"""Viewer of the live page, until killed: a headless Chromium, or only the requests that the page makes.

python -m benchmarks.viewer http://127.0.0.1:8080/
python -m benchmarks.viewer http://127.0.0.1:8080/ --requests
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
# As the page: it fetches its list at every second overview, and the details of a stream less often.
LIST_SECONDS = 2.0
STREAM_SECONDS = 5.0
STREAM = "#/stream/"


def chromium(playwright: Playwright) -> Browser:
    """Start a browser."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed: run tools/get-programs chromium"
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


def show(url: str) -> None:
    """Keep the page open in a browser."""
    with sync_playwright() as playwright:
        page = chromium(playwright).new_page()
        page.goto(url)
        page.wait_for_selector(".dot.good")
        print("ready", flush=True)
        while True:
            page.wait_for_timeout(1_000)


async def request(url: str) -> None:
    """Make the page's requests and draw nothing, so that only the service's cost is measured."""
    origin, _, stream = url.partition(STREAM)
    live = {"name": unquote(stream), "layer": "0"} if stream else {}
    async with aiohttp.ClientSession(origin) as session:

        async def listen() -> None:
            async with session.get("/api/live", params=live, timeout=aiohttp.ClientTimeout()) as response:
                print("ready", flush=True)
                async for _ in response.content.iter_any():
                    pass

        async def get(path: str, **parameters: str) -> None:
            async with session.get(path, params=parameters) as response:
                await response.read()

        listening = asyncio.create_task(listen())
        while not listening.done():
            if stream:
                await get("/api/stream", name=unquote(stream), events="0")
                await asyncio.sleep(STREAM_SECONDS)
            else:
                await get("/api/streams", state="all", sort="anomaly", offset="0", limit="50")
                await get("/api/alerts")
                await asyncio.sleep(LIST_SECONDS)


def main() -> None:
    if "--requests" in sys.argv:
        asyncio.run(request(sys.argv[1]))
    show(sys.argv[1])


if __name__ == "__main__":
    main()
