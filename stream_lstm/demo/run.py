"""`stream-lstm demo`: start broker, service and sensors, show the predictions, and print a summary."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import aiomqtt

from stream_lstm import recordings
from stream_lstm.cli.terminal import screen
from stream_lstm.demo import display as displays
from stream_lstm.demo.broker import Child, broker, free_port, until_listening, until_ready
from stream_lstm.demo.client import Client, broker_error
from stream_lstm.demo.display import Display
from stream_lstm.demo.publisher import Publisher, publications
from stream_lstm.demo.results import Results
from stream_lstm.demo.sensors import shipped
from stream_lstm.errors import StreamLstmError
from stream_lstm.service.mqtt import ClientOptions

PREDICTIONS_SECONDS_MAX = 10.0  # for the predictions of the last events; a slow machine may be behind
FOREVER_SECONDS = 600.0  # duration of the recordings without a limit, as the help says
TOPIC, FIELD = "sensors/{name}/telemetry", "value"
SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{broker}"
client_id = "stream-lstm-demo"
dropped_topic = ""
[[subscribe]]
topic = "sensors/{{name}}/telemetry"
fields = ["value"]
time = ["timestamp"]
[state]
path = "{folder}/demo.db"
[http]
port = {http}
"""


def run_demo(*, seconds: float | None, speed: float | None, plain: bool) -> int:
    """Run the demo; returns the exit code.

    Args:
        seconds: duration; None: until Ctrl-C.
        speed: factor relative to the recorded time; None: each recording fills the duration.
        plain: print lines instead of a live table.
    """
    display = displays.choose(plain=plain)
    previous = {sign: signal.signal(sign, _interrupt) for sign in (signal.SIGTERM, signal.SIGHUP)}
    folder = Path(tempfile.mkdtemp(prefix="stream-lstm-demo-"))
    results = Results()
    begun = time.monotonic()
    try:
        with _children(folder, display) as (name, port, http):
            display.print(f"live page: http://127.0.0.1:{http}/; broker: {name} on port {port}")
            begun = time.monotonic()
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_play(results, display, port, seconds=seconds, speed=speed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for sign, handler in previous.items():
            signal.signal(sign, handler)
    screen.print_lines(displays.summary(results, time.monotonic() - begun, screen.columns()))
    return 0 if results.events else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _children(folder: Path, display: Display) -> Iterator[tuple[str, int, int]]:
    """Broker and service, ready, for as long as the block lasts.

    Yields:
        The broker's name, its port, and the port of the service's HTTP.
    """
    port, http = free_port(), free_port()
    name, started = broker(folder, port)
    config = folder / "demo.toml"
    config.write_text(SETTINGS.format(broker=port, http=http, folder=folder))
    command = [sys.executable, "-m", "stream_lstm", "run", "--config", str(config)]
    with started as broker_child:
        until_listening(port, broker_child)
        with Child(command, log=folder / "service.log") as service:
            until_listening(http, service)
            until_ready(http, service, display.print)
            try:
                yield name, port, http
            finally:
                code = service.stop()
                if code != 0:
                    raise StreamLstmError(f"the service ended with exit code {code}:\n{service.log_tail()}")


def _options(port: int, name: str) -> ClientOptions:
    return ClientOptions(host="127.0.0.1", port=port, client_id=f"demo-{name}")


async def _play(
    results: Results, display: Display, port: int, *, seconds: float | None, speed: float | None
) -> None:
    """Publish the recordings and show their predictions, until the time is over or the user leaves.

    Raises:
        BrokerError: the broker refuses or ends the viewer's connection.
    """
    leaving, options = asyncio.Event(), _options(port, "viewer")
    dues = recordings.schedule(shipped(), speed=speed, seconds=seconds or FOREVER_SECONDS)
    sensors = Publisher(_options(port, "sensors"), publications(dues, topic=TOPIC, field=FIELD))
    try:
        async with Client(options) as client:
            await client.subscribe("predictions/#", qos=0)
            with display.live(leaving.set):
                collecting = asyncio.create_task(_collect(client, results))
                publishing = asyncio.create_task(sensors.run())
                others = [asyncio.create_task(_draw(display, results)), asyncio.create_task(leaving.wait())]
                tasks = [collecting, publishing, *others]
                try:
                    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    ended = [task for task in tasks if task.done()]
                    await _cancel(publishing)
                    if not collecting.done() and not leaving.is_set():
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(
                                results.complete(sensors.published), PREDICTIONS_SECONDS_MAX
                            )
                    await _cancel(*tasks)
            for task in ended:
                task.result()
    except aiomqtt.MqttError as error:
        raise broker_error(error, options) from None


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _collect(client: Client, results: Results) -> None:
    async for message in client.messages:
        results.update(bytes(message.payload))


async def _draw(display: Display, results: Results) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(display.seconds)
        display.show(results, time.monotonic() - begun)
