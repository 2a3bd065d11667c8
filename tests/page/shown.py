"""A page of the service in a real browser: what it asked for elsewhere, complained of, and what hinders."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

SECONDS_MAX = 20.0
GRAVE = {"serious", "critical"}


class Shown:
    """The page in a browser.

    Args:
        origin: where the service listens.

    Attributes:
        complaints: errors of its scripts and on its console.
        strangers: what it asked for elsewhere.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        page.on("request", lambda asked: self._note(asked.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.origin, "data:", "blob:")):
            self.strangers.append(url)

    async def open(self, view: str = "") -> Shown:
        """Go to a view, `#/alerts` for instance."""
        await self.page.goto(f"{self.origin}/{view}")
        await self.until_live()
        return self

    async def open_stream(self, name: str) -> Shown:
        """Go to a stream, and wait until its chart is there."""
        await self.open(f"#/stream/{quote(name, safe='')}")
        await self.page.wait_for_selector("#plot canvas")
        return self

    async def until_live(self) -> None:
        """Wait until the service has said that it is ready."""
        await self.page.wait_for_selector(".dot.good", timeout=SECONDS_MAX * 1e3)

    async def text(self, selector: str) -> str:
        """What stands somewhere."""
        return (await self.page.text_content(selector)) or ""

    async def changes(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until something is no longer what it was; returns what it is then."""
        before = await look()
        return await self.until(look, lambda now: now != before)

    async def until(self, look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool] = bool) -> Any:
        """Wait until something is so; returns it."""
        end = time.monotonic() + SECONDS_MAX
        while not wanted(found := await look()):
            assert time.monotonic() < end, f"not so in time: {found!r}"
            await asyncio.sleep(0.02)
        return found

    async def count(self, selector: str) -> int:
        """How many there are."""
        return await self.page.locator(selector).count()

    async def seen(self, state: str) -> None:
        """Have the page think that it is `hidden`, or `visible` again."""
        await self.page.evaluate(
            f"Object.defineProperty(document, 'visibilityState', {{ value: '{state}', configurable: true }});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    async def hindrances(self) -> list[str]:
        """What axe-core finds serious or worse, while nothing moves."""
        await self.seen("hidden")
        async with asyncio.timeout(SECONDS_MAX):
            found = await Axe().run(self.page)
        await self.seen("visible")
        return [
            f"{rule['id']}: {node['html'][:200]} {json.dumps(node.get('any', [{}])[:1])[:300]}"
            for rule in found.response["violations"]
            if rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]

    def assert_quiet(self) -> None:
        """Nothing was complained of, and nothing asked for elsewhere."""
        assert self.complaints == []
        assert self.strangers == []


async def shown(browser: Browser, port: int, **context: Any) -> Shown:
    """A page of a service that listens on this port."""
    opened = await browser.new_context(**context)
    return Shown(await opened.new_page(), f"http://127.0.0.1:{port}")
