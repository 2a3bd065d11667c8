"""The live page in a real Chromium: it shows what happens, finds, steps back, comes back, keeps to itself."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Browser

from tests.brokers import Mosquitto
from tests.page.shown import Shown, shown
from tests.service.running import Running, until

VIEWS = ["", "#/alerts", "#/rejected", "#/about"]
PUMP = "sensors/pump0:value"
GATES = ["forget", "learn", "remember", "use"]


async def predictions(page: Shown) -> str:
    return await page.text(".card:first-child .quiet")


async def openings(page: Shown) -> list[str]:
    return [await page.text(f".cell .{gate} .main") for gate in GATES]


async def drawn(page: Shown, selector: str) -> int:
    """How many pixels of a canvas are not empty."""
    return int(
        await page.page.eval_on_selector(
            selector,
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
            ".data.filter((x, n) => n % 4 === 3 && x > 0).length",
        )
    )


async def test_numbers_move_while_sensors_speak(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open()
    await page.changes(lambda: predictions(page))
    await page.until(lambda: page.count(".list tbody tr:not(.space)"), lambda rows: rows == 6)
    await page.changes(lambda: page.text(f".list tr:has-text('{PUMP}') td.value"))
    assert await page.text(".card:nth-child(3) b") == "6"
    page.assert_quiet()


async def test_a_stream_is_found_and_opened_by_keyboard(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open()
    await page.page.focus("#search")
    await page.page.keyboard.type("PUMP4")
    await page.until(lambda: page.count(".list tbody tr:not(.space)"), lambda rows: rows == 1)
    for _ in range(12):  # over the choice of state and the headings into the list
        await page.page.keyboard.press("Tab")
        if await page.page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    await page.page.keyboard.press("Enter")
    await page.page.wait_for_selector("#plot canvas")
    assert await page.text("h1") == "sensors/pump4:value"
    assert await page.page.title() == "sensors/pump4:value · stream_lstm"
    await page.page.go_back()
    await page.page.wait_for_selector(".list")
    assert await page.page.input_value("#search") == "PUMP4"  # where one left it
    page.assert_quiet()


async def test_chart_and_gates_change_with_events(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open_stream(PUMP)
    await page.changes(lambda: page.text(".facts"))
    await page.changes(lambda: openings(page))
    assert all(text.endswith(" %") for text in await openings(page))
    assert await drawn(page, "#plot canvas") > 1_000
    for n in (1, 2, 3):
        assert await drawn(page, f".strip:nth-of-type({n + 1}) canvas") > 64 * 8
    words = await page.text(".gates")
    assert all(word in words for word in ("is kept", "counts", "it new", "is read from it"))
    page.assert_quiet()


async def test_what_is_shown_is_what_was_published(
    browser: Browser, broker: Mosquitto, service: Running
) -> None:
    heard = broker.subscriber("predictions/#", "-C", "40")
    broker.publish_lines("sensors/pump0", "\n".join(json.dumps({"value": n % 7}) for n in range(40)))
    last = json.loads(heard.communicate(timeout=20)[0].splitlines()[-1].split(" ", 1)[1])
    page = await (await shown(browser, service.port)).open_stream(PUMP)
    facts = await page.text(".facts")
    assert f"Events{last['seq']}Last value{last['value']:g}" in facts.replace(".0", "")
    shown_next = await page.text(".facts div:nth-child(3) dd")
    expected, half = (float(part) for part in shown_next.split(" ± "))
    low, high = last["interval"]
    assert expected == pytest.approx(last["prediction"], rel=1e-4)
    assert half == pytest.approx((high - low) / 2, rel=1e-2)


async def test_one_can_step_back_while_events_go_on(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open_stream(PUMP)
    await page.changes(lambda: openings(page))
    newest = await page.text("#which")
    await page.page.click("text=‹")
    await page.page.wait_for_selector(".live[aria-pressed=false]")
    one = await page.until(lambda: page.text("#which"), lambda text: text != newest)
    await page.page.focus("#step")
    await page.page.keyboard.press("ArrowLeft")
    stepped = await page.until(lambda: page.text("#which"), lambda text: text != one)
    gates = await openings(page)
    await page.changes(lambda: page.text(".facts"))  # events go on, and what is looked at stays
    assert await page.text("#which") == stepped
    assert await openings(page) == gates
    await page.page.click(".live")
    await page.until(lambda: page.text("#which"), lambda text: text != stepped)
    page.assert_quiet()


async def test_units_are_sorted_by_their_memory(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open_stream(PUMP)
    await page.changes(lambda: openings(page))
    await page.page.click("text=‹")  # what is looked at stays
    told = lambda: page.text(".strips [role=status]")  # noqa: E731
    first = await told()
    assert "First row: unit" in first
    await page.page.select_option("#unit-order", "number")
    assert "First row: unit 1 keeps" in await page.until(told, lambda text: text != first)
    await page.page.select_option("#strip-gate", "use")
    label = await page.page.get_attribute(".strip:last-of-type canvas", "aria-label")
    assert label is not None
    assert label.startswith("use gate of 64 units")
    page.assert_quiet()


async def test_it_comes_back_when_the_service_does(browser: Browser, speaking: Running) -> None:
    page = await (await shown(browser, speaking.port)).open_stream(PUMP)
    await page.changes(lambda: page.text(".facts"))
    speaking.kill()
    await page.page.wait_for_selector("body.away")
    assert "no answer from the service" in await page.text("#health")
    complaints = len(page.complaints)
    speaking.start()
    await page.until_live()
    await page.changes(lambda: page.text(".facts"))
    await page.changes(lambda: openings(page))
    assert not [said for said in page.complaints[complaints:] if "ERR_" not in said]
    assert page.strangers == []


async def test_a_hidden_page_costs_nothing(browser: Browser, service: Running) -> None:
    page = await (await shown(browser, service.port)).open()

    def viewers() -> int:
        return int(json.loads(service.get("/api/overview")[1])["viewers"])

    until(lambda: viewers() == 1, service)
    for state, many in (("hidden", 0), ("visible", 1)):
        await page.seen(state)
        until(lambda many=many: viewers() == many, service)
    await page.until_live()
    page.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_hinders_people_who_cannot_see_or_point(
    browser: Browser, speaking: Running, broker: Mosquitto, scheme: str
) -> None:
    broker.publish("sensors/pump0", "no number")
    page = await shown(browser, speaking.port, color_scheme=scheme)
    for view in VIEWS:
        await page.open(view)
        await page.page.wait_for_selector("h1")
        await page.until(lambda: page.text("main"), lambda text: len(text) > 40)
        assert await page.hindrances() == [], view
    await page.open_stream(PUMP)
    await page.changes(lambda: openings(page))
    assert await page.hindrances() == []
    page.assert_quiet()


async def test_what_is_skipped_to_and_named_by_keyboard(browser: Browser, service: Running) -> None:
    page = await (await shown(browser, service.port)).open()
    await page.page.keyboard.press("Tab")
    assert await page.page.evaluate("document.activeElement.textContent") == "Skip to content"
    await page.page.keyboard.press("Enter")
    assert await page.page.evaluate("document.activeElement.id") == "main"
    for view in VIEWS[1:]:
        await page.page.focus(f"nav a[href='{view}']")
        await page.page.keyboard.press("Enter")
        await page.page.wait_for_selector(f"nav a[href='{view}'][aria-current=page]")
        assert await page.page.evaluate("document.activeElement.id") == "main"
    page.assert_quiet()


async def test_it_fits_a_phone(browser: Browser, speaking: Running) -> None:
    page = await shown(browser, speaking.port, viewport={"width": 360, "height": 700}, has_touch=True)
    for view in VIEWS:
        await page.open(view)
        assert await page.page.evaluate("document.documentElement.scrollWidth") <= 360, view
    await page.open_stream(PUMP)
    await page.changes(lambda: openings(page))
    assert await page.page.evaluate("document.documentElement.scrollWidth") <= 360
    page.assert_quiet()
