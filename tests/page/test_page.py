"""The live page in a real Chromium: live numbers, search, stepping back, reconnection, accessibility."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Browser

from tests.brokers import Mosquitto
from tests.page.live_page import LivePage, new_page
from tests.service.running import Running, until

VIEWS = ["", "#/alerts", "#/rejected", "#/about"]
PUMP = "sensors/pump0:value"
GATES = ["forget", "learn", "remember", "use"]


async def predictions(page: LivePage) -> str:
    return await page.text(".card:first-child .quiet")


async def openings(page: LivePage) -> list[str]:
    return [await page.text(f".cell .{gate} .main") for gate in GATES]


async def drawn(page: LivePage, selector: str) -> int:
    """Pixels of a canvas that are not empty."""
    return int(
        await page.page.eval_on_selector(
            selector,
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
            ".data.filter((x, n) => n % 4 === 3 && x > 0).length",
        )
    )


async def test_numbers_change_while_sensors_publish(browser: Browser, active_service: Running) -> None:
    page = await (await new_page(browser, active_service.port)).open()
    await page.changes(lambda: predictions(page))
    await page.until(lambda: page.count(".list tbody tr:not(.space)"), lambda rows: rows == 6)
    await page.changes(lambda: page.text(f".list tr:has-text('{PUMP}') td.value"))
    assert await page.text(".card:nth-child(3) b") == "6"
    page.assert_no_errors()


async def test_a_stream_is_found_and_opened_by_keyboard(browser: Browser, active_service: Running) -> None:
    page = await (await new_page(browser, active_service.port)).open()
    await page.page.focus("#search")
    await page.page.keyboard.type("PUMP4")
    await page.until(lambda: page.count(".list tbody tr:not(.space)"), lambda rows: rows == 1)
    for _ in range(12):  # past the state filter and the headings, into the list
        await page.page.keyboard.press("Tab")
        if await page.page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector("#plot canvas")
    assert await page.text("h1") == "sensors/pump4:value"
    assert await page.page.title() == "sensors/pump4:value · stream_lstm"
    await page.page.go_back()
    await page.page.wait_for_selector(".list")
    assert await page.page.input_value("#search") == "PUMP4"  # the search is kept
    page.assert_no_errors()


async def test_chart_and_gates_change_with_events(browser: Browser, active_service: Running) -> None:
    page = await (await new_page(browser, active_service.port)).open_stream(PUMP)
    await page.changes(lambda: page.text(".facts"))
    await page.changes(lambda: openings(page))
    assert all(text.endswith(" %") for text in await openings(page))
    assert await drawn(page, "#plot canvas") > 1_000
    for n in (1, 2, 3):
        assert await drawn(page, f".strip:nth-of-type({n + 1}) canvas") > 64 * 8
    words = await page.text(".gates")
    assert all(word in words for word in ("is kept", "is added", "it is new", "is read from it"))
    page.assert_no_errors()


async def test_the_facts_of_a_stream_are_as_published(
    browser: Browser, broker: Mosquitto, service: Running
) -> None:
    subscriber = broker.subscriber("predictions/#", "-C", "40")
    broker.publish_lines("sensors/pump0", "\n".join(json.dumps({"value": n % 7}) for n in range(40)))
    last = json.loads(subscriber.communicate(timeout=20)[0].splitlines()[-1].split(" ", 1)[1])
    page = await (await new_page(browser, service.port)).open_stream(PUMP)
    facts = await page.text(".facts")
    assert f"Events{last['seq']}Last value{last['value']:g}" in facts.replace(".0", "")
    shown_next = await page.text(".facts div:nth-child(3) dd")
    expected, half = (float(part) for part in shown_next.split(" ± "))
    low, high = last["interval"]
    assert expected == pytest.approx(last["prediction"], rel=1e-4)
    assert half == pytest.approx((high - low) / 2, rel=1e-2)


async def test_stepping_back_keeps_the_event_while_others_come(
    browser: Browser, active_service: Running
) -> None:
    page = await (await new_page(browser, active_service.port)).open_stream(PUMP)
    await page.changes(lambda: openings(page))
    newest = await page.text("#which")
    await page.page.click("text=‹")
    await page.page.wait_for_selector(".live[aria-pressed=false]")
    one = await page.until(lambda: page.text("#which"), lambda text: text != newest)
    await page.page.focus("#step")
    await page.page.keyboard.press("ArrowLeft")
    stepped = await page.until(lambda: page.text("#which"), lambda text: text != one)
    gates = await openings(page)
    await page.changes(lambda: page.text(".facts"))  # new events come, and the shown one stays
    assert await page.text("#which") == stepped
    assert await openings(page) == gates
    await page.page.click(".live")
    await page.until(lambda: page.text("#which"), lambda text: text != stepped)
    page.assert_no_errors()


async def test_units_are_sorted_by_half_life_or_number(browser: Browser, active_service: Running) -> None:
    page = await (await new_page(browser, active_service.port)).open_stream(PUMP)
    await page.changes(lambda: openings(page))
    await page.page.click("text=‹")  # the shown event stays
    status = lambda: page.text(".strips [role=status]")  # noqa: E731
    first = await status()
    assert "First row: unit" in first
    await page.page.select_option("#unit-order", "number")
    assert "First row: unit 1 keeps" in await page.until(status, lambda text: text != first)
    await page.page.select_option("#strip-gate", "use")
    label = await page.page.get_attribute(".strip:last-of-type canvas", "aria-label")
    assert label is not None
    assert label.startswith("use gate of 64 units")
    page.assert_no_errors()


async def test_the_page_reconnects_after_a_restart_of_the_service(
    browser: Browser, active_service: Running
) -> None:
    page = await (await new_page(browser, active_service.port)).open_stream(PUMP)
    await page.changes(lambda: page.text(".facts"))
    active_service.kill()
    await page.page.wait_for_selector("body.disconnected")
    assert "no answer from the service" in await page.text("#health")
    count = len(page.errors)
    active_service.start()
    await page.until_live()
    await page.changes(lambda: page.text(".facts"))
    await page.changes(lambda: openings(page))
    starting = "ERR_", "503"  # until the service is ready again
    assert not [error for error in page.errors[count:] if not any(word in error for word in starting)]
    assert page.foreign_requests == []


async def test_a_hidden_page_is_no_viewer(browser: Browser, service: Running) -> None:
    page = await (await new_page(browser, service.port)).open()

    def viewers() -> int:
        return int(json.loads(service.get("/api/overview")[1])["viewers"])

    until(lambda: viewers() == 1, service)
    for state, count in (("hidden", 0), ("visible", 1)):
        await page.set_visibility(state)
        until(lambda count=count: viewers() == count, service)
    await page.until_live()
    page.assert_no_errors()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_is_accessible(
    browser: Browser, active_service: Running, broker: Mosquitto, scheme: str
) -> None:
    broker.publish("sensors/pump0", "no number")
    page = await new_page(browser, active_service.port, color_scheme=scheme)
    for view in VIEWS:
        await page.open(view)
        await page.page.wait_for_selector("h1")
        await page.until(lambda: page.text("main"), lambda text: len(text) > 40)
        assert await page.accessibility_violations() == [], view
    await page.open_stream(PUMP)
    await page.changes(lambda: openings(page))
    assert await page.accessibility_violations() == []
    page.assert_no_errors()


async def test_the_views_are_reached_by_keyboard(browser: Browser, service: Running) -> None:
    page = await (await new_page(browser, service.port)).open()
    await page.page.keyboard.press("Tab")
    assert await page.page.evaluate("document.activeElement.textContent") == "Skip to content"
    await page.page.keyboard.press("Enter")
    assert await page.page.evaluate("document.activeElement.id") == "main"
    for view in VIEWS[1:]:
        await page.page.focus(f"nav a[href='{view}']")
        await page.page.keyboard.press("Enter")
        await page.page.wait_for_selector(f"nav a[href='{view}'][aria-current=page]")
        assert await page.page.evaluate("document.activeElement.id") == "main"
    page.assert_no_errors()


async def test_every_view_fits_a_phone(browser: Browser, active_service: Running) -> None:
    page = await new_page(
        browser, active_service.port, viewport={"width": 360, "height": 700}, has_touch=True
    )
    for view in VIEWS:
        await page.open(view)
        assert await page.page.evaluate("document.documentElement.scrollWidth") <= 360, view
    await page.open_stream(PUMP)
    await page.changes(lambda: openings(page))
    assert await page.page.evaluate("document.documentElement.scrollWidth") <= 360
    page.assert_no_errors()
