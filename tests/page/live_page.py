"""The live page in a real browser, with its errors, foreign requests and accessibility violations."""

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
SEVERE = {"serious", "critical"}  # axe-core's impacts


class LivePage:
    """The page in a browser.

    Args:
        page: an empty one.
        origin: of the service.

    Attributes:
        errors: of its scripts and on its console, and dialogs.
        foreign_requests: URLs of other origins that it requested.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.errors: list[str] = []
        self.foreign_requests: list[str] = []
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.origin, "data:", "blob:")):
            self.foreign_requests.append(url)

    async def open(self, view: str = "") -> LivePage:
        """Go to a view, such as `#/alerts`."""
        await self.page.goto(f"{self.origin}/{view}")
        await self.until_live()
        return self

    async def open_stream(self, name: str) -> LivePage:
        """Go to a stream, and wait for its chart."""
        await self.open(f"#/stream/{quote(name, safe='')}")
        await self.page.wait_for_selector("#plot canvas")
        return self

    async def until_live(self) -> None:
        """Wait until the page shows that the service is ready."""
        await self.page.wait_for_selector(".dot.good", timeout=SECONDS_MAX * 1e3)

    async def text(self, selector: str) -> str:
        """Text of an element."""
        return (await self.page.text_content(selector)) or ""

    async def changes(self, read: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until a value changes; returns the new one."""
        before = await read()
        return await self.until(read, lambda now: now != before)

    async def until(self, read: Callable[[], Awaitable[Any]], expected: Callable[[Any], bool] = bool) -> Any:
        """Wait until a value is as expected; returns it."""
        end = time.monotonic() + SECONDS_MAX
        while not expected(found := await read()):
            assert time.monotonic() < end, f"not as expected in time: {found!r}"
            await asyncio.sleep(0.02)
        return found

    async def count(self, selector: str) -> int:
        """Number of matching elements."""
        return await self.page.locator(selector).count()

    async def set_visibility(self, state: str) -> None:
        """Simulate a tab that becomes `hidden` or `visible`."""
        await self.page.evaluate(
            f"Object.defineProperty(document, 'visibilityState', {{ value: '{state}', configurable: true }});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    async def accessibility_violations(self) -> list[str]:
        """Violations that axe-core rates serious or worse, while nothing moves."""
        await self.set_visibility("hidden")
        async with asyncio.timeout(SECONDS_MAX):
            found = await Axe().run(self.page)
        await self.set_visibility("visible")
        return [
            f"{rule['id']}: {node['html'][:200]} {json.dumps(node.get('any', [{}])[:1])[:300]}"
            for rule in found.response["violations"]
            if rule["impact"] in SEVERE
            for node in rule["nodes"]
        ]

    def assert_no_errors(self) -> None:
        """No errors, and no foreign requests."""
        assert self.errors == []
        assert self.foreign_requests == []


async def new_page(browser: Browser, port: int, **options: Any) -> LivePage:
    """An empty page in a new browser context, for the service on this port."""
    context = await browser.new_context(**options)
    return LivePage(await context.new_page(), f"http://127.0.0.1:{port}")
