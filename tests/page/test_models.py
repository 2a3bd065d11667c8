"""The page with models of other shapes: several targets, several layers, labels instead of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser

from stream_lstm.core.model import file as model_file
from tests.brokers import Mosquitto
from tests.core.models import KINDS, description, tensors
from tests.page.conftest import SETTINGS
from tests.page.live_page import LivePage, new_page
from tests.service.running import Running

EVENTS = 46
Serve = Callable[[str], Running]


@pytest.fixture
def serve(broker: Mosquitto, tmp_path: Path) -> Serve:
    """Start a service with a model of this kind."""

    def start(kind: str) -> Running:
        spec = description(**KINDS[kind])
        file = tmp_path / f"{spec.name}.safetensors"
        file.write_bytes(model_file.to_bytes(spec, tensors(spec)))
        fields = f'fields = {json.dumps(spec.features)}\n[model]\npath = "{file}"'
        stream = 'stream = "{topic}"\n' + (fields if len(spec.features) > 1 else fields.split("\n", 1)[1])
        return Running(tmp_path / "service", SETTINGS.format(port=broker.port) + stream)

    return start


def publish_readings(broker: Mosquitto, features: list[str]) -> None:
    payloads = [{name: (n * (k + 3)) % 11 for k, name in enumerate(features)} for n in range(EVENTS)]
    broker.publish_lines("sensors/pump", "\n".join(map(json.dumps, payloads)))


async def opened(browser: Browser, service: Running, name: str) -> LivePage:
    page = await (await new_page(browser, service.port)).open_stream(name)
    await page.until(lambda: page.text("#which"), lambda text: text.startswith(f"Event {EVENTS}, "))
    return page


async def test_a_target_can_be_chosen(browser: Browser, broker: Mosquitto, serve: Serve) -> None:
    with serve("pair") as service:
        publish_readings(broker, ["a", "b"])
        page = await opened(browser, service, "sensors/pump")
        first = await page.text(".cell .event .more")
        await page.page.select_option("#target", "b")
        second = await page.until(lambda: page.text(".cell .event .more"), lambda text: text != first)
        assert (float(first), float(second)) == ((EVENTS - 1) * 3 % 11, (EVENTS - 1) * 4 % 11)
        assert await page.page.is_hidden("#layer")
        await page.open()
        values = f"a {first}, b {second}"
        assert await page.until(lambda: page.text(".list td.value"), lambda text: text == values)
        page.assert_no_errors()


async def test_a_layer_can_be_chosen(browser: Browser, broker: Mosquitto, serve: Serve) -> None:
    with serve("stacked") as service:
        publish_readings(broker, ["value"])
        page = await opened(browser, service, "sensors/pump:value")
        gates = await page.text(".gates")
        await page.page.select_option("#layer", "2")
        await page.until(lambda: page.text(".gates"), lambda text: "on average" in text and text != gates)
        assert await page.page.is_hidden("#target")
        page.assert_no_errors()


async def test_a_classifier_shows_labels(browser: Browser, broker: Mosquitto, serve: Serve) -> None:
    with serve("classes") as service:
        publish_readings(broker, ["a", "b"])
        page = await opened(browser, service, "sensors/pump")
        assert (await page.text(".cell .prediction .more")) in {"wolf", "dog"}
        assert "Label" in await page.text(".facts")
        page.assert_no_errors()
