"""Take the screenshots of the live page in docs/page: each view, with recorded sensors.

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
SPEED = "6000"  # one reading, which stands for five minutes, every 0.05 s
START_SECONDS = 2.0  # until the service is connected and subscribed
REPLAY_SECONDS = 75.0  # before the first screenshot: 1,500 readings a stream
SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{broker}"
[[subscribe]]
topic = "sensors/{{name}}/telemetry"
[state]
path = "{folder}/state.db"
[http]
port = {http}
"""
REJECTED = (b'{"value": "no number"}', b"<b>not JSON</b>", b'{"value": NaN}', b"")


@contextmanager
def service() -> Iterator[str]:
    """Run a broker, the service, a replay and some invalid payloads; gives the service's origin."""
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
            with Child([*command, "run", "--config", str(config)], log=folder / "log") as process:
                until_listening(http, process)
                time.sleep(START_SECONDS)
                asyncio.run(publish_rejected(port))
                with Child(replay, log=folder / "replay.log"):
                    yield f"http://127.0.0.1:{http}"


async def publish_rejected(port: int) -> None:
    """Publish payloads that the service rejects."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for payload in REJECTED:
            await client.publish("sensors/pump7/telemetry", payload, qos=1)


def take(page: Page, name: str, *, whole: bool = False) -> None:
    """Take one screenshot, of the whole page or of the visible part."""
    page.wait_for_timeout(2_500)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def open_page(browser: Browser, scheme: str, width: int, height: int) -> Page:
    """Open a page of this size, with the light or the dark colour scheme."""
    size = {"width": width, "height": height}
    return browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce").new_page()  # type: ignore[arg-type]


def take_all(browser: Browser, origin: str) -> None:
    """Take the screenshots of all views."""
    stream = f"{origin}/#/stream/{quote(STREAM, safe='')}"
    page = open_page(browser, "light", 1280, 860)
    page.goto(origin)
    page.wait_for_selector(".list a[href]")
    time.sleep(REPLAY_SECONDS)
    take(page, "streams")
    for view in ("alerts", "rejected", "about"):
        page.goto(f"{origin}/#/{view}")
        take(page, view)
    page.goto(stream)
    page.wait_for_selector("#plot canvas")
    page.wait_for_timeout(6_000)
    take(page, "stream", whole=True)
    dark = open_page(browser, "dark", 1280, 860)
    dark.goto(stream)
    dark.wait_for_selector("#plot canvas")
    dark.wait_for_timeout(6_000)
    dark.locator(".cell-and-words").scroll_into_view_if_needed()
    take(dark, "cell-dark")
    phone = open_page(browser, "light", 390, 800)
    phone.goto(origin)
    phone.wait_for_selector(".list a[href]")
    take(phone, "phone")


def main() -> None:
    """Run the service and take all screenshots."""
    PICTURES.mkdir(exist_ok=True)
    with service() as origin, sync_playwright() as playwright:
        take_all(chromium(playwright), origin)


if __name__ == "__main__":
    main()
