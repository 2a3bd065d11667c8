"""Chaos test: kill -9 a real service, or its real broker, under load; count lost and doubled events.

    make chaos                                           200 kills of the service
    python -m tests.chaos --what broker --kills 50
    python -m tests.chaos --what embedded --kills 50     the service on the embedded broker

Sensors publish at QoS 1, each payload with a time. At the end every event must have one prediction (with
identical duplicates), `seq` must have no gap, and the memory of all streams must equal, bit for bit, a fold
of the engine over the events without interruption. Every few kills the service may catch up, so that kills
hit it at work and not only at the start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.demo import embedded
from stream_lstm.events import Batch
from stream_lstm.service.assembly import load_model
from stream_lstm.service.mqtt import ClientOptions, Filter, MqttClient
from stream_lstm.store.database import Database
from tests.brokers import Mosquitto, free_port
from tests.service.running import Running

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
client_id = "chaos"
reconnect_seconds_min = 0.1
reconnect_seconds_max = 0.5
[[subscribe]]
topic = "s/{{d}}"
stream = "{{d}}"
fields = ["v"]
time = ["t"]
"""
STATE = "checkpoint_seconds = 0.5"
BEGIN = 1_700_000_000
PUBLISH_SECONDS = 0.01  # between two rounds of publishing
BATCH_MAX = 1_000  # events of one round, so that a pause is made up for in steps
CATCH_UP_SECONDS_MAX = 60.0
CATCH_UP_EVERY = 5  # kills
UNLIMITED = ("max_queued_messages 0", "max_inflight_messages 0")


class NoObserver:
    """Observer that ignores all events of a client."""

    def connected(self, granted: Any) -> None:
        """Ignore."""

    def settled(self) -> None:
        """Of no interest here."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """Ignore."""


class Embedded:
    """Broker of the package `iotcore`, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "broker.toml").write_text(embedded.CONFIG.format(port=self.port))
        command = [sys.executable, "-m", "stream_lstm.demo.embedded", str(folder / "broker.toml")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.0)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


def mqtt_client(port: int, name: str, filters: list[Filter]) -> MqttClient:
    return MqttClient(
        ClientOptions(
            host="127.0.0.1",
            port=port,
            client_id=f"chaos-{name}",
            filters=filters,
            publish_qos=1,
            backoff_seconds_min=0.05,
            backoff_seconds_max=0.2,
        ),
        observer=NoObserver(),
    )


class Chaos:
    """One run.

    Args:
        what: the program to kill: "service" or "broker"; "embedded" is the service on the embedded broker.
        kills: number of kills.
        rate: events per second.
        streams: number of streams, which take turns.
        seed: of the times between kills.
    """

    def __init__(self, folder: Path, what: str, *, kills: int, rate: int, streams: int, seed: int) -> None:
        self._folder = folder
        self._what = what
        self._kills = kills
        self._rate = rate
        self._streams = streams
        self._draw = random.Random(seed)
        self.sent: list[float] = []  # event n is of stream n modulo `streams`
        self.received: dict[tuple[str, int], bytes] = {}  # predictions by stream and seq
        self.duplicates = self.differing_duplicates = 0
        self._stop = False

    async def run(self) -> bool:
        """Run; returns True if nothing was lost, doubled or changed."""
        persistent = self._what == "broker"
        broker: Any
        if self._what == "embedded":
            broker = Embedded(self._folder)
        else:
            broker = Mosquitto(self._folder, *UNLIMITED, persistent=persistent).start()
        settings = SETTINGS.format(port=broker.port)
        if persistent:  # a broker may lose predictions of QoS 0 with itself
            settings += "[publish]\nqos = 1\n"
        service = Running(self._folder / "service", settings, state=STATE)
        sensors = mqtt_client(broker.port, "sensors", [])
        reader = mqtt_client(broker.port, "reader", [Filter("predictions/#", 1)])
        tasks = [asyncio.create_task(client.run()) for client in (sensors, reader)]
        tasks.append(asyncio.create_task(self._receive(reader)))
        try:
            await asyncio.to_thread(service.start)
            publishing = asyncio.create_task(self._publish(sensors))
            await (self._kill_broker(broker) if persistent else self._kill_service(service))
            self._stop = True
            await publishing
            end = time.monotonic() + CATCH_UP_SECONDS_MAX
            while len(self.received) < len(self.sent) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            code = await asyncio.to_thread(service.stop)
            return self._report(service.state, code)
        finally:
            service.kill()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            broker.kill()

    async def _publish(self, sensors: MqttClient) -> None:
        number, begun, draw = 0, time.monotonic(), random.Random(7)
        while not self._stop:
            due = int((time.monotonic() - begun) * self._rate)
            batch = []
            for n in range(len(self.sent), min(due, len(self.sent) + BATCH_MAX)):
                value = round(draw.gauss(20.0, 3.0), 3)
                self.sent.append(value)
                payload = f'{{"v":{value},"t":{BEGIN + n}}}'.encode()
                batch.append((f"s/d{n % self._streams:04}", payload))
            if batch:
                number += 1
                await sensors.deliver(number, batch, [])
            await asyncio.sleep(PUBLISH_SECONDS)
        await sensors.confirm(number)

    async def _receive(self, reader: MqttClient) -> None:
        number = 0
        while True:
            arrivals = await reader.receive(4_096)
            for arrival in arrivals:
                for message in arrival.packets:
                    self._record(message.payload)
            await reader.deliver(number, [], arrivals)

    def _record(self, payload: bytes) -> None:
        prediction = msgspec.json.decode(payload)
        key = prediction["stream"], prediction["seq"]
        if key in self.received:
            self.duplicates += 1
            self.differing_duplicates += self.received[key] != payload
        self.received[key] = payload

    async def _kill_service(self, service: Running) -> None:
        for n in range(self._kills):
            await asyncio.sleep(self._draw.uniform(0.05, 1.5))
            service.kill()
            await asyncio.to_thread(service.launch)
            if n % CATCH_UP_EVERY == CATCH_UP_EVERY - 1:
                await self._catch_up()
                self._print_progress(n + 1)
        await asyncio.sleep(1.0)

    async def _catch_up(self) -> None:
        end = time.monotonic() + CATCH_UP_SECONDS_MAX
        while len(self.received) < len(self.sent) - self._rate and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _kill_broker(self, broker: Mosquitto) -> None:
        for n in range(self._kills):
            await asyncio.sleep(self._draw.uniform(0.5, 3.0))
            broker.kill()
            await asyncio.to_thread(broker.start)
            if n % 10 == 9:
                self._print_progress(n + 1)
        await asyncio.sleep(3.0)

    def _print_progress(self, kills: int) -> None:
        print(f"  {kills} kills: {len(self.sent):,} sent, {len(self.received):,} predictions", flush=True)

    def _report(self, state: Path, code: int) -> bool:
        expected = {
            (f"d{n % self._streams:04}:v", n // self._streams + 1): value for n, value in enumerate(self.sent)
        }
        missing = len(set(expected) - set(self.received))
        unexpected = len(set(self.received) - set(expected))
        common = set(expected) & set(self.received)
        wrong = sum(json.loads(self.received[key])["value"] != expected[key] for key in common)
        differing = self._differing(state)
        print(
            f"{self._kills} kills of {self._what}: {len(self.sent):,} events sent, "
            f"{len(self.received):,} predicted; {missing} missing, {unexpected} unexpected, {wrong} wrong; "
            f"{self.duplicates:,} duplicates, {self.differing_duplicates} of them different; "
            f"{differing} of {self._streams:,} memories differ; exit code {code}",
            flush=True,
        )
        return not (missing or unexpected or wrong or self.differing_duplicates or differing or code)

    def _differing(self, state: Path) -> int:
        """Count the streams whose memory differs from a fold without interruption."""
        model = load_model(None)
        memories = Memories(model.spec, rows_max=self._streams)
        engine = Engine(model, memories)
        rows = np.array(
            [memories.add(f"d{n:04}:v", n + 1) for n in range(min(self._streams, len(self.sent)))], np.intp
        )
        for start in range(0, len(self.sent), self._streams):
            values = np.array(self.sent[start : start + self._streams])
            times = np.arange(BEGIN + start, BEGIN + start + len(values), dtype=np.float64)
            engine.apply(Batch.timed(rows[: len(values)], times, values[:, None]))
        keys = memories.keys(rows.tolist())
        expected = dict(zip(keys, memories.records(rows), strict=True))
        found = {}
        with closing(Database.open_read_only(state)) as database:
            size = database.identity.row_bytes
            for chunk in database.rows():
                for n, key in enumerate(chunk.keys):
                    found[key] = chunk.records[n * size : (n + 1) * size]
        return sum(expected.get(key) != found.get(key) for key in {*expected, *found})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--what", choices=["service", "broker", "embedded"], default="service")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rate", type=int, default=5_000, help="events per second (5,000)")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the times between kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        given = {name: getattr(options, name) for name in ("kills", "rate", "streams", "seed")}
        return 0 if asyncio.run(Chaos(Path(folder), options.what, **given).run()) else 1


if __name__ == "__main__":
    sys.exit(main())
