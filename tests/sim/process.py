"""One seed's world of the whole process: the real service, from settings to sockets, on a network.

`Service` with its startup, runtime, MQTT client, framing and state file runs on a simulated loop, disk and
network, against a server that speaks bytes. It is killed, stopped, started again, and cut off at any byte.
HTTP is off; `tests.sim.world` is about the pipeline alone, at more seeds a second.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from stream_lstm.errors import DiskFull, StateError
from stream_lstm.service import app, runtime, startup
from stream_lstm.service.app import Service
from stream_lstm.service.mqtt import client
from stream_lstm.service.settings import Settings
from stream_lstm.service.state import recovery, writer
from stream_lstm.service.state.residency import Residency
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.database import Database
from tests.sim.disk import Died, Disk
from tests.sim.judge import MODEL, POISON, Wrong, judge, read_records
from tests.sim.loop import SimDiskThread, SimLoop
from tests.sim.network import Network
from tests.sim.plans import ProcessPlan
from tests.sim.server import Sent, Server

LIVES_MAX = 40
LIFE_SECONDS_MAX = 3_600.0  # by the simulated clock
BEGIN = 1_700_000_000.0


class ProcessWorld:
    """Everything that one seed decides.

    Repeated payloads are published only where docs/guarantees.md promises that none is taken for a duplicate,
    see `tests.sim.server.Peer`.

    Args:
        place: a folder for its files, which are removed after `run`.

    Attributes:
        faults: injected faults by kind.
    """

    def __init__(self, seed: int, place: Path) -> None:
        draw = self.draw = random.Random(f"process {seed}")
        plan = self.plan = ProcessPlan.drawn(draw)
        self.faults: Counter[str] = Counter()
        self._folder = Path(tempfile.mkdtemp(dir=place))
        self.disk = Disk(self._folder, draw, self.faults)
        self._deaths, self._stops = plan.deaths, plan.stops  # that are left
        self.server = Server(
            draw, self.faults, keeps_ids=plan.keeps_ids, receive_maximum=plan.server_receive_maximum
        )
        self.network = Network(
            draw,
            self.faults,
            cut_share=plan.cut_share,
            stall_share=plan.stall_share,
            latency_seconds=plan.latency_seconds,
            faults_max=plan.faults_max,
        )
        self.network.server = self.server
        self.sent: list[Sent] = []
        self._started = BEGIN  # of this life, by the wall clock
        self.ambiguous = False  # repeated payloads, and a stop that was not clean
        self._settings = {
            "mqtt": {
                "reconnect_seconds_min": 0.05,
                "reconnect_seconds_max": 0.5,
                "connect_seconds_max": 2.0,
                "keep_alive_seconds": 4,
                "packet_bytes_max": 4_096,
                "receive_maximum": draw.choice([4, 24, 65_534]),
                "dropped_topic": "",
            },
            "subscribe": [
                {"topic": "s/{d}", "stream": "{d}", "fields": ["v"], "time": ["t"], "qos": plan.qos}
            ],
            "publish": {"qos": plan.publish_qos},
            "http": {"enabled": False, "page": False},
            "limits": {
                "streams_max": draw.choice([2, 50]),
                "batch_events_max": draw.choice([1, 8]),
                "inbox_messages_max": draw.choice([4, 65_536]),
                "shutdown_seconds_max": draw.choice([0.5, 10.0]),
            },
        }
        self._state = {
            "checkpoint_seconds": draw.choice([0.1, 1.0, 30.0]),
            "checkpoint_rows_max": draw.choice([1, 100]),
            "commit_interval_seconds": draw.choice([0.0, 0.0, 0.05]),
        }

    def run(self) -> Counter[str]:
        """Live all lives, and check the end.

        Raises:
            Wrong: an expectation does not hold.
        """
        try:
            for _ in range(LIVES_MAX):
                if self._live():
                    break
            else:
                raise Wrong(f"not done after {LIVES_MAX} lives")
            with closing(Database.open_read_only(self.disk.path)) as database:
                records = read_records(database)
            sent = [(message.topic, message.payload) for message in self.sent]
            judge(records, sent, self.server.published, complete=not self.ambiguous)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return self.faults

    def _live(self) -> bool:
        """One life; returns True if everything was done at its end."""
        loop = SimLoop(self.draw)
        asyncio.set_event_loop(loop)
        loop.network = self.network
        self._databases: list[Database] = []
        self.disk.full_share, self.disk.dies_in = self.plan.full_share, -1
        stops = False
        if self._deaths and self.draw.random() < 0.6:
            self._deaths -= 1
            if self.draw.random() < 0.5:
                self.disk.dies_in = self.draw.randint(1, 200)
            else:
                loop.call_later(self.draw.expovariate(3.0), self._die)
        elif self._stops:
            self._stops -= 1
            stops = True
        try:
            with self._simulated(loop):
                done = bool(loop.run_until_complete(self._serve(stops=stops)))
        except Died:
            loop.crashed = True
            self.faults["death"] += 1
            self.network.end_process(killed=True)
            self.disk.reborn(power_cut=self.draw.random() < 0.5)
            return False
        finally:
            loop.crashed = True
            self._started += loop.time() + 1.0
            self._bury(loop)
        self._check_stop(done, self.network.end_process(killed=False))
        return done

    def _die(self) -> None:
        self.faults["death at a moment"] += 1
        raise Died

    @contextmanager
    def _simulated(self, loop: SimLoop) -> Iterator[None]:
        """Give the service's parts the simulated clock, disk and chance."""
        clock = SimpleNamespace(monotonic=loop.time, time=lambda: self._started + loop.time())
        with ExitStack() as patches:
            for place, name, value in (
                (app, "load_model", lambda path: MODEL),
                (app, "gc", SimpleNamespace(collect=int, freeze=int, set_threshold=lambda count: None)),
                (startup, "DiskThread", SimDiskThread),
                (startup, "Database", SimpleNamespace(open=self._open)),
                (recovery, "spare_rows", lambda batch_events_max: 16),
                (runtime, "time", clock),
                (runtime, "StateWriter", partial(StateWriter, clock=loop.time)),
                (runtime, "Residency", partial(Residency, clock=loop.time)),
                (writer, "DiskThread", SimDiskThread),
                (writer, "FULL_RETRY_SECONDS", 0.0),
                (client, "time", clock),
                (client, "Random", lambda: random.Random(self.draw.random())),
            ):
                patches.enter_context(patch.object(place, name, value))
            yield

    def _open(self, *arguments: Any, **options: Any) -> Database:
        database = Database.open(*arguments, **options, connect=self.disk.connect)
        self._databases.append(database)
        return database

    def _bury(self, loop: SimLoop) -> None:
        """Cancel what is left of a life, so that it cannot act in the next."""
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            with suppress(Exception):
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for database in self._databases:
            with suppress(BaseException):
                database.close()
        asyncio.set_event_loop(None)
        loop.close()

    async def _serve(self, *, stops: bool) -> bool:
        """Run the service until it is stopped; returns True if everything was done before."""
        loop = asyncio.get_running_loop()
        self.server.up = True
        settings = Settings(**self._settings, state={**self._state, "path": self.disk.path})
        service = Service(settings, wall_clock=lambda: self._started + loop.time())
        running = asyncio.create_task(service.run())
        beside = [asyncio.create_task(self._publish_messages()), asyncio.create_task(self._disturb())]
        self._stops_at = self.draw.expovariate(2.0) if stops else math.inf
        done = False
        while not running.done() and loop.time() < self._stops_at:
            done = len(self.sent) == self.plan.messages and self.server.done
            if done:
                break
            await asyncio.sleep(0.01)
            if loop.time() > LIFE_SECONDS_MAX:
                raise Wrong("the service does not go on")
        if done:
            await self._calm_down(beside)
        else:
            await self._until_busy()
        with self.network.worse(0.0 if done else self.plan.stop_cut_share), suppress(DiskFull):
            service.stop()
            await running
        for task in beside:
            task.cancel()
        return done

    async def _until_busy(self) -> None:
        """Wait for a message that is not acknowledged yet: a stop at an idle moment proves little."""
        for _ in range(500 if self.plan.aims else 0):
            if self.server.in_flight:
                break
            await asyncio.sleep(0.001)
        await asyncio.sleep(self.draw.expovariate(1.0 / (5.0 * self.network.latency_seconds)))

    async def _calm_down(self, beside: list[asyncio.Task[None]]) -> None:
        """End all faults, and wait until a last message has come through."""
        self.network.calm = self.server.up = True
        self.disk.full_share, self.disk.dies_in = 0.0, -1
        for task in beside:
            task.cancel()
        await asyncio.sleep(10.0)
        self._publish(calm=True)
        await asyncio.sleep(1.0)

    async def _publish_messages(self) -> None:
        while len(self.sent) < self.plan.messages:
            await asyncio.sleep(self.draw.expovariate(self.plan.rate))
            if self.server.up and self.server.session:
                self._publish()

    def _publish(self, *, calm: bool = False) -> None:
        topic, payload = self._message(len(self.sent), calm=calm)
        qos = min(self.plan.qos, self.draw.choice([1, 2]))
        self.server.publish(len(self.sent), topic, payload, qos)
        self.sent.append(Sent(len(self.sent), topic, payload, qos))

    def _message(self, n: int, *, calm: bool) -> tuple[str, bytes]:
        """Topic and payload of the next message."""
        topic = f"s/d{self.draw.randrange(self.plan.devices)}"
        if not calm and self.draw.random() < 0.05:
            return topic, self.draw.choice(POISON) + b" " * n
        if self.plan.payloads == "repeated" and not calm:
            payload = b'{"v": 21.%d}' % self.draw.randrange(2)
            if (topic, payload) not in self.server.unsure:
                self.faults["repeated payload"] += 1
                return topic, payload
        event = {"v": round(self.draw.gauss(20.0, 5.0), 3)}
        event["t" if self.plan.payloads == "timed" else "n"] = 1_700_000_000 + n
        return topic, json.dumps(event).encode()

    async def _disturb(self) -> None:
        """Cut idle connections, and restart the server, now and then."""
        while True:
            await asyncio.sleep(self.draw.expovariate(2.0))
            if self.network.fails(self.network.cut_share * 2):
                self.network.cut_off()
            if self.network.fails(self.plan.restart_share):
                self.server.crash(forgets=self.plan.payloads == "timed" and self.draw.random() < 0.8)
                await asyncio.sleep(self.draw.expovariate(2.0))
                self.server.up = True
            elif self.draw.random() < 0.5:
                self.server.save()
                continue
            if self._stops_at < math.inf and self.draw.random() < 0.5:  # a stop amid the trouble
                self._stops_at = asyncio.get_running_loop().time() + self.draw.expovariate(5.0)

    def _check_stop(self, done: bool, unread: set[int]) -> None:
        """Compare what the state file says of the stop with what the server has read."""
        clean = False
        with suppress(StateError), closing(Database.open_read_only(self.disk.path)) as database:
            clean = database.closed_cleanly and database.last_entry > 0
        self.faults["clean stop" if clean else "stop that is not clean"] += 1
        if done and not clean and self.sent:
            raise Wrong("a stop without faults was not clean")
        if clean and unread:
            raise Wrong(f"a clean stop, and the server has not read {len(unread)} acknowledgements")
        if clean:
            self.server.unsure = {
                (sent.topic, sent.payload) for sent in (*self.server.queue, *self.server.in_flight.values())
            }
        elif self.plan.payloads == "repeated":
            self.ambiguous = True
