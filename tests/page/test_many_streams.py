"""The list with a hundred thousand streams: it scrolls to its end and finds each stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from benchmarks.filled import fill, name
from tests.brokers import Mosquitto
from tests.page.conftest import SETTINGS
from tests.page.live_page import new_page
from tests.service.running import Running

STREAMS = 100_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    fill(folder / "state.db", STREAMS)
    return folder


@pytest.fixture
def service(broker: Mosquitto, filled: Path, tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, SETTINGS.format(port=broker.port), place=filled) as running:
        yield running


async def test_the_list_scrolls_to_its_end(browser: Browser, service: Running) -> None:
    page = await (await new_page(browser, service.port)).open()
    await page.page.click("th.stream button")  # by name
    first = await page.until(
        lambda: page.text(".list tbody tr:not(.space) bdi"), lambda text: "plant" in text
    )
    assert first == "plant/line0/sensor0000000:v"
    assert await page.page.get_attribute(".list", "aria-rowcount") == str(STREAMS + 1)
    for _ in range(20):
        await page.page.mouse.wheel(0, 3_000)
        await page.page.wait_for_timeout(5)
    last = page.page.locator(f".list tr[aria-rowindex='{STREAMS + 1}'] bdi")

    async def end() -> bool:
        await page.page.keyboard.press("End")  # again: on a busy machine the wheel may still scroll
        return await last.count() == 1 and await last.text_content() == "plant/line9/sensor0099969:v"

    await page.until(end)
    drawn = await page.count(".list tbody tr")
    assert drawn < 150  # only what is in sight is drawn
    page.assert_no_errors()


async def test_a_search_finds_one_stream(browser: Browser, service: Running) -> None:
    page = await (await new_page(browser, service.port)).open()
    await page.page.fill("#search", "SENSOR0054321")
    link = page.page.locator(".list tbody a")
    await page.until(link.count, lambda many: many == 1)
    await link.click()
    await page.page.wait_for_selector("h1:has-text('sensor0054321')")
    assert await page.text("h1") == name(54_321)
    assert "Unknown until the next event" in await page.until(
        lambda: page.text(".gates"), lambda text: "event" in text
    )
    page.assert_no_errors()
