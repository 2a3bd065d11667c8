"""Takes the pictures of the live page that the documents show: each view, of recorded sensors.

make screenshots
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import aiomqtt
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.viewer import chromium
from stream_lstm.demo.broker import Child, broker, free_port, until_listening

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "page"
RECORDINGS = ROOT / "stream_lstm" / "demo" / "recordings"
STREAM = "sensors/machine_temperature_system_failure/telemetry:value"
SPEED = "6000"  # a reading of five minutes every twentieth of a second
START_SECONDS = 2.0  # until it is connected and subscribed
WARM_SECONDS = 75.0
SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{broker}"
[[subscribe]]
topic = "sensors/{{name}}/telemetry"
[state]
path = "{folder}/state.db"
[http]
port = {http}
"""
REFUSED = (b'{"value": "no number"}', b"<b>not JSON</b>", b'{"value": NaN}', b"")


@contextmanager
def service() -> Iterator[str]:
    """A service that hears recorded sensors, and some nonsense; where it is found."""
    with tempfile.TemporaryDirectory(prefix="stream-lstm-screenshots-") as name:
        folder, port, http = Path(name), free_port(), free_port()
        config = folder / "settings.toml"
        config.write_text(SETTINGS.format(broker=port, http=http, folder=folder))
        command = [sys.executable, "-m", "stream_lstm"]
        replay = [
            *command,
            "replay",
            "--config",
            str(config),
            "--speed",
            SPEED,
            *map(str, RECORDINGS.glob("*.csv")),
        ]
        _, started = broker(folder, port)
        with started as running:
            until_listening(port, running)
            with Child([*command, "run", "--config", str(config)], log=folder / "log") as served:
                until_listening(http, served)
                time.sleep(START_SECONDS)
                asyncio.run(talk_nonsense(port))
                with Child(replay, log=folder / "replay.log"):
                    yield f"http://127.0.0.1:{http}"


async def talk_nonsense(port: int) -> None:
    """What is refused."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for payload in REFUSED:
            await client.publish("sensors/pump7/telemetry", payload, qos=1)


def take(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture."""
    page.wait_for_timeout(2_500)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def page_of(browser: Browser, scheme: str, width: int, height: int) -> Page:
    """A page of this size, light or dark."""
    size = {"width": width, "height": height}
    return browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce").new_page()  # type: ignore[arg-type]


def take_all(browser: Browser, origin: str) -> None:
    """Every view."""
    stream = f"{origin}/#/stream/{quote(STREAM, safe='')}"
    page = page_of(browser, "light", 1280, 860)
    page.goto(origin)
    page.wait_for_selector(".list a[href]")
    time.sleep(WARM_SECONDS)
    take(page, "streams")
    for view in ("alerts", "rejected", "about"):
        page.goto(f"{origin}/#/{view}")
        take(page, view)
    page.goto(stream)
    page.wait_for_selector("#plot canvas")
    page.wait_for_timeout(6_000)
    take(page, "stream", whole=True)
    dark = page_of(browser, "dark", 1280, 860)
    dark.goto(stream)
    dark.wait_for_selector("#plot canvas")
    dark.wait_for_timeout(6_000)
    dark.locator(".cell-and-words").scroll_into_view_if_needed()
    take(dark, "cell-dark")
    phone = page_of(browser, "light", 390, 800)
    phone.goto(origin)
    phone.wait_for_selector(".list a[href]")
    take(phone, "phone")


def main() -> None:
    """All of it."""
    PICTURES.mkdir(exist_ok=True)
    with service() as origin, sync_playwright() as playwright:
        take_all(chromium(playwright), origin)


if __name__ == "__main__":
    main()
