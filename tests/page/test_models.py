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
from tests.page.shown import Shown, shown
from tests.service.running import Running

EVENTS = 46
Serve = Callable[[str], Running]


@pytest.fixture
def serve(broker: Mosquitto, tmp_path: Path) -> Serve:
    """A service with a model of a kind."""

    def start(kind: str) -> Running:
        of = description(**KINDS[kind])
        file = tmp_path / f"{of.name}.safetensors"
        file.write_bytes(model_file.to_bytes(of, tensors(of)))
        fields = f'fields = {json.dumps(of.features)}\n[model]\npath = "{file}"'
        stream = 'stream = "{topic}"\n' + (fields if len(of.features) > 1 else fields.split("\n", 1)[1])
        return Running(tmp_path / "service", SETTINGS.format(port=broker.port) + stream)

    return start


def speak(broker: Mosquitto, features: list[str]) -> None:
    said = [{name: (n * (k + 3)) % 11 for k, name in enumerate(features)} for n in range(EVENTS)]
    broker.publish_lines("sensors/pump", "\n".join(map(json.dumps, said)))


async def opened(browser: Browser, service: Running, name: str) -> Shown:
    page = await (await shown(browser, service.port)).open_stream(name)
    await page.until(lambda: page.text("#which"), lambda text: text.startswith(f"Event {EVENTS}, "))
    return page


async def test_one_of_several_targets_is_chosen(browser: Browser, broker: Mosquitto, serve: Serve) -> None:
    with serve("pair") as service:
        speak(broker, ["a", "b"])
        page = await opened(browser, service, "sensors/pump")
        first = await page.text(".cell .event .more")
        await page.page.select_option("#target", "b")
        second = await page.until(lambda: page.text(".cell .event .more"), lambda text: text != first)
        assert (float(first), float(second)) == ((EVENTS - 1) * 3 % 11, (EVENTS - 1) * 4 % 11)
        assert await page.page.is_hidden("#layer")
        await page.open()
        told = f"a {first}, b {second}"
        assert await page.until(lambda: page.text(".list td.value"), lambda text: text == told)
        page.assert_quiet()


async def test_one_of_several_layers_is_chosen(browser: Browser, broker: Mosquitto, serve: Serve) -> None:
    with serve("stacked") as service:
        speak(broker, ["value"])
        page = await opened(browser, service, "sensors/pump:value")
        gates = await page.text(".gates")
        await page.page.select_option("#layer", "2")
        await page.until(lambda: page.text(".gates"), lambda text: "on average" in text and text != gates)
        assert await page.page.is_hidden("#target")
        page.assert_quiet()


async def test_labels_are_shown_where_there_are_no_numbers(
    browser: Browser, broker: Mosquitto, serve: Serve
) -> None:
    with serve("classes") as service:
        speak(broker, ["a", "b"])
        page = await opened(browser, service, "sensors/pump")
        assert (await page.text(".cell .prediction .more")) in {"wolf", "dog"}
        assert "Label" in await page.text(".facts")
        page.assert_quiet()
