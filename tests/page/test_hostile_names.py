"""Names and payloads of sensors are shown as text, never as markup; a guarded page needs a password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser

from tests.brokers import Mosquitto
from tests.page.conftest import SETTINGS
from tests.page.live_page import LivePage, new_page
from tests.service.running import Running

DEVICES = {
    "an image": "<img src=x onerror=alert(1)>",
    "a script": "</script><script>alert(2)</script>",
    "quotes": '"\'`onmouseover=alert(3) x="',
    "an entity": "&lt;b&gt;&amp;lt;",
    "a template": "{{7*7}}${alert(4)}",
    "from right to left": "abc\u202egpj.exe\u202c שלום \u2067x\u2069",
    "a mark at its end": "pump\u200f",
    "ends of lines": "a\u2028b\u2029c",
    "percent": "%3Cb%3E%2F%00",
    "letters of all kinds": "Ünïcødé 温度 🐘 a\u0301",
    "many letters": "x" * 400,
    "an address": "javascript:alert(5)",
    "blanks": "  two  blanks  ",
}
PAYLOADS = [
    "<script>alert(6)</script>",
    '{"value": "</pre><img src=x onerror=alert(7)>"}',
    '{"value": 1, "time": "<b onclick=alert(8)>now</b>"}',
]


async def no_markup(page: LivePage) -> None:
    """The page has no elements but its own."""
    foreign = "img, iframe, object, embed, b[onclick], [onerror], [onmouseover], script:not([src^=static])"
    assert await page.count(foreign) == 0
    for link in await page.page.locator("a").all():
        assert (await link.get_attribute("href") or "#").startswith(("#", "api/", "metrics"))


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
async def test_a_hostile_name_is_shown_as_text(
    browser: Browser, broker: Mosquitto, service: Running, device: str
) -> None:
    broker.publish(f"sensors/{device}", '{"value": 3.5}')
    broker.publish(f"sensors/{device}", '{"value": 3.75}')
    escaped = device.replace("\u2028", "%E2%80%A8").replace("\u2029", "%E2%80%A9")
    name = f"sensors/{escaped}:value"
    page = await (await new_page(browser, service.port)).open()
    row = page.page.locator(".list tbody tr:not(.space) bdi")
    await page.until(row.text_content, lambda text: text == name)
    await no_markup(page)
    await row.click()
    await page.page.wait_for_selector("#plot canvas")
    assert await page.text("h1") == name
    assert (await page.page.title()).split() == [*name.split(), "·", "stream_lstm"]
    await no_markup(page)
    await page.page.reload()  # now the name comes from the address
    await page.page.wait_for_selector("#plot canvas")
    assert await page.text("h1") == name
    page.assert_no_errors()


async def test_rejected_payloads_are_shown_as_text(
    browser: Browser, broker: Mosquitto, service: Running
) -> None:
    topic = "sensors/" + "k<i>" * 2_560  # 10 kB
    broker.publish(topic, '{"value": 1}')
    for payload in PAYLOADS:
        broker.publish("sensors/pump", payload)
    page = await (await new_page(browser, service.port)).open("#/rejected")
    examples = page.page.locator(".examples pre bdi")
    await page.until(examples.all_text_contents, lambda texts: len(texts) == len(PAYLOADS) + 1)
    assert set(PAYLOADS) < set(await examples.all_text_contents())
    assert topic.startswith(await page.text("#reason-bad_key .name"))
    assert await page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    await no_markup(page)
    page.assert_no_errors()


async def test_an_unknown_stream_is_an_error_on_the_page(browser: Browser, service: Running) -> None:
    page = await (await new_page(browser, service.port)).open(f"#/stream/{quote('no<b>where', safe='')}")
    await page.page.wait_for_selector(".problem:has-text('This stream does not exist')")
    assert await page.text("h1") == "no<b>where"
    await no_markup(page)


@pytest.fixture
def guarded(broker: Mosquitto, tmp_path: Path) -> Callable[[str], Running]:
    settings = SETTINGS.format(port=broker.port)
    return lambda http: Running(tmp_path / "guarded", settings, http=f"port = 0\n{http}")


async def test_a_browser_with_the_password_shows_the_page(
    browser: Browser, guarded: Callable[[str], Running]
) -> None:
    with guarded('username = "ada"\npassword = "löve lace"') as service:
        assert service.get("/")[0] == service.get("/static/app.js")[0] == 401
        credentials = {"username": "ada", "password": "löve lace"}
        page = await (await new_page(browser, service.port, http_credentials=credentials)).open()
        await page.changes(lambda: page.text("#footer"))  # through the live feed
        assert page.foreign_requests == []
