"""`stream-lstm demo`: starts broker, service and sensors, shows what is predicted, and sums it up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from stream_lstm import recordings
from stream_lstm.demo import picture
from stream_lstm.demo.broker import Child, broker, free_port, until_listening
from stream_lstm.demo.sensors import shipped
from stream_lstm.demo.story import Story
from stream_lstm.errors import StreamLstmError
from stream_lstm.service.mqtt import ClientOptions, Filter, Granted, MqttClient

LAST_WORDS_SECONDS_MAX = 10.0
CONNECT_SECONDS_MAX = 15.0
PUBLISH_EVENTS_MAX = 256  # sent together when they are due together
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


class Quiet:
    """An observer that has nothing to say."""

    def connected(self, verdict: Granted) -> None:
        """The link has connected."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """The link is not connected."""


def show(*, seconds: float | None, speed: float | None, plain: bool) -> int:
    """Run the demo; returns the exit code.

    Args:
        seconds: how long; None until Ctrl-C.
        speed: how many times faster than recorded; None: each recording fills the time.
        plain: lines instead of a live table.
    """
    screen = picture.screen(plain=plain)
    previous = {sign: signal.signal(sign, _leave) for sign in (signal.SIGTERM, signal.SIGHUP)}
    folder = Path(tempfile.mkdtemp(prefix="stream-lstm-demo-"))
    story = Story()
    begun = time.monotonic()
    try:
        with _children(folder) as (name, port, http):
            screen.say(f"look at http://127.0.0.1:{http}/ while it runs; broker: {name} on port {port}")
            begun = time.monotonic()
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_play(story, screen, port, seconds=seconds, speed=speed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for sign, handler in previous.items():
            signal.signal(sign, handler)
    screen.end(story, time.monotonic() - begun)
    return 0 if story.events else 1


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _children(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Broker and service, listening; both are gone afterwards."""
    port, http = free_port(), free_port()
    name, started = broker(folder, port)
    config = folder / "demo.toml"
    config.write_text(SETTINGS.format(broker=port, http=http, folder=folder))
    command = [sys.executable, "-m", "stream_lstm", "run", "--config", str(config)]
    with started as broker_child:
        until_listening(port, broker_child)
        with Child(command, log=folder / "service.log") as service:
            until_listening(http, service)
            try:
                yield name, port, http
            finally:
                code = service.stop()
                if code != 0:
                    raise StreamLstmError(f"the service ended with code {code}:\n{service.said()}")


def _link(port: int, name: str, *, filters: list[Filter]) -> MqttClient:
    return MqttClient(
        ClientOptions(
            host="127.0.0.1",
            port=port,
            client_id=f"demo-{name}",
            filters=filters,
            session_expiry_seconds=0,
            publish_qos=1,
            status_topic=f"demo/{name}",
        ),
        observer=Quiet(),
    )


async def _play(
    story: Story, screen: picture.Screen, port: int, *, seconds: float | None, speed: float | None
) -> None:
    """Let the sensors speak, and listen to the predictions."""
    ears = _link(port, "viewer", filters=[Filter("predictions/#", 0)])
    mouth = _link(port, "sensors", filters=[])
    sent = [0]
    links = [asyncio.create_task(link.run()) for link in (ears, mouth)]
    listening = asyncio.create_task(_listen(ears, story))
    drawing = asyncio.create_task(_draw(screen, story))
    try:
        await _connected(ears)
        async with asyncio.timeout(seconds):
            await _speak(mouth, sent, seconds=seconds, speed=speed)
    except TimeoutError:
        pass  # the time is over
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(story.complete(sent[0]), LAST_WORDS_SECONDS_MAX)
        for task in (drawing, listening, *links):
            task.cancel()
        await asyncio.gather(drawing, listening, *links, return_exceptions=True)


async def _connected(link: MqttClient) -> None:
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        while not link.connected:  # noqa: ASYNC110 - the link tells an observer, and a poll is simpler here
            await asyncio.sleep(0.02)


async def _speak(mouth: MqttClient, sent: list[int], *, seconds: float | None, speed: float | None) -> None:
    """Publish every reading when it is due."""
    sensors = shipped()
    begun, number = time.monotonic(), 0
    waiting: list[tuple[str, bytes]] = []
    for due in recordings.schedule(sensors, speed=speed, seconds=seconds or 600.0):
        ahead = begun + due.at - time.monotonic()
        if waiting and (ahead > 0 or len(waiting) >= PUBLISH_EVENTS_MAX):
            number += 1
            await mouth.deliver(number, waiting, [])
            sent[0] += len(waiting)
            waiting = []
            ahead = begun + due.at - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        payload = {"timestamp": due.reading.time, "value": due.reading.value}
        waiting.append((f"sensors/{due.name}/telemetry", json.dumps(payload).encode()))
    await mouth.deliver(number + 1, waiting, [])
    sent[0] += len(waiting)
    await mouth.confirm(number + 1)


async def _listen(ears: MqttClient, story: Story) -> None:
    while True:
        arrivals = await ears.receive(1_000)
        for arrival in arrivals:
            for message in arrival.packets:
                story.hear(message.payload)


async def _draw(screen: picture.Screen, story: Story) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(screen.seconds)
        screen.show(story, time.monotonic() - begun)
