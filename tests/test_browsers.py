"""The browser that tests start can draw: without fonts or libraries they would see pages that nobody sees."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests import browsers

FAMILIES = ["serif", "sans-serif", "monospace", "system-ui"]
LETTERS = "aZ019üßé°±µσ→∞≥–"
# Those that are drawn as one that no font has: for private use, or for none.
BOXES = """([letters, family]) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const drawn = (letter) => {
        context.reset();
        context.font = `32px ${family}`;
        context.fillText(letter, 8, 64);
        return context.getImageData(0, 0, 80, 96).data.join();
    };
    const without = [drawn("\\ue123"), drawn("\\uffff"), drawn(" ")];
    return [...letters].filter((letter) => without.includes(drawn(letter)));
}"""


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_letter_is_drawn_as_an_empty_box(browser: Browser, family: str) -> None:
    page = await browser.new_page()
    assert await page.evaluate(BOXES, ["\ue124" + LETTERS, family]) == ["\ue124"]


async def test_text_is_as_wide_as_its_letters(browser: Browser) -> None:
    page = await browser.new_page()
    await page.set_content("<span>iiii</span><br><span>MMMM</span>")
    thin, wide = [await line.bounding_box() for line in await page.locator("span").all()]
    assert thin
    assert wide
    assert 0 < thin["width"] < wide["width"]


def test_without_a_browser_tests_fail_and_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match="tools/get-programs chromium"):
        browsers.find()
