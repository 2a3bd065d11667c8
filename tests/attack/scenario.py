"""One scenario: a broker, a proxy, a service, sensors and a subscriber; faults; and the report."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack import memory
from tests.attack.clients import Publisher, Subscriber
from tests.attack.faults import Faults
from tests.attack.judge import Evidence, Verdict, judge, streams_of
from tests.attack.proxy import Proxy
from tests.attack.record import EVENTS, Reading, Record, value_of
from tests.attack.service import ServiceProcess
from tests.brokers import Mosquitto

BEGIN = 1_700_000_000
CONSTANT = b"21.5"
BROKER = "max_queued_messages 1000000", "max_inflight_messages 0"  # and persistence; see docs/guarantees.md
RATE = 1_000.0  # events per second
RATE_SAVING = 60.0  # the same where mosquitto saves its whole state at every change
TICK_SECONDS = 0.005
CATCH_UP_EVERY = 5  # faults
CATCH_UP_SECONDS = 4.0  # without progress, until faults go on
SETTLED_SECONDS = 10.0  # nothing arrives for so long: nothing more will; longer than a stall
COMPLETE_SECONDS = 0.5  # the same when every event is predicted: for copies
BETWEEN = 0.02, 1.2  # seconds between two faults, if not given


@dataclass(frozen=True)
class Scenario:
    """Faults and load of a run.

    Attributes:
        payload: timed, unique or constant.
        qos: of predictions.
        kill: kind of the faults, see `Faults.kinds`; empty: none.
        kills: how many.
        cuts: True to let the proxy harm connections.
        freezes: how many, in turns of service and broker.
        rate: events per second, of all streams together; 0: as many as suit the scenario.
        between: seconds from one fault to the next, at least and at most.
        more: lines of `[state]`.
    """

    payload: str
    qos: int
    kill: str = ""
    kills: int = 0
    cuts: bool = False
    freezes: int = 0
    freeze_seconds: float = 30.0
    rate: float = 0.0
    streams: int = 50
    seed: int = 1
    between: tuple[float, float] = BETWEEN
    more: str = ""

    @property
    def kills_broker(self) -> bool:
        """True if the broker is killed, and so must save its state."""
        return self.kill in ("broker", "both")

    @property
    def events_per_second(self) -> float:
        """The rate."""
        return self.rate or (RATE_SAVING if self.kills_broker else RATE)

    @property
    def name(self) -> str:
        """In short."""
        parts = [self.payload, f"q{self.qos}", self.kill]
        parts += ["cuts"] if self.cuts else []
        parts += ["freeze"] if self.freezes else []
        return " ".join(filter(None, parts))


@dataclass
class Report:
    """Result of a scenario."""

    scenario: Scenario
    verdict: Verdict = field(default_factory=Verdict)
    faults: int = 0
    kills: int = 0
    harms: int = 0
    events: int = 0
    copies: int = 0
    redelivered: int = 0
    repeated: int = 0
    early: int = 0
    differing: int = 0
    stops: list[tuple[int, bool]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)  # of constant payloads, by stream; below 0: doubled
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """True if the service kept its promises."""
        stopped = all(code == 0 for code, _ in self.stops)
        return self.verdict.good and not (self.early or self.differing) and stopped


class Run:
    """Runs a scenario in a folder."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        self._draw = random.Random(scenario.seed)
        self._record = Record(unique=scenario.payload != "constant")
        self._publishing = True
        self._due = 0.0

    async def run(self) -> Report:
        """Do it."""
        scenario, began = self._scenario, time.monotonic()
        (self._folder / "broker").mkdir()
        # Saving its whole state at every change takes mosquitto too long for a backlog at a higher rate.
        broker = Mosquitto(self._folder / "broker", *BROKER, persistent=scenario.kills_broker).start()
        proxy = Proxy(broker.port, self._record, seed=scenario.seed)
        await proxy.start()
        service = ServiceProcess(
            self._folder / "service",
            proxy.port,
            timed=scenario.payload == "timed",
            qos=scenario.qos,
            keep_alive=2 if scenario.cuts else 10,
            more=scenario.more,
        )
        faults = Faults(broker, service, proxy, self._record, seed=scenario.seed)
        publisher = Publisher(broker.port)
        subscriber = Subscriber(broker.port, "predictions/#", self._record.receive)
        tasks = [asyncio.create_task(client.run()) for client in (publisher, subscriber)]
        try:
            await subscriber.subscribed.wait()
            service.start()
            await faults.serving()
            await asyncio.sleep(0.2)  # until the broker has saved both sessions
            publishing = asyncio.create_task(self._publish(publisher))
            tasks.append(publishing)
            report = Report(scenario, faults=await self._harm(faults, proxy, publisher))
            self._publishing = False
            await publishing
            await publisher.drain()
            await self._settle(publisher)
            await service.stop()
            report.kills, report.harms = faults.kills, proxy.harms.total()
            report.stops = service.stops
        except BaseException:
            print(service.tail(), file=sys.stderr)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            service.end()
            await proxy.close()
            broker.kill()
        await self._report(report, publisher, service, faults)
        report.seconds = time.monotonic() - began
        return report

    def _payload(self, number: int) -> bytes:
        if self._scenario.payload == "constant":
            return CONSTANT
        value = f"{self._draw.gauss(20.0, 3.0):.3f}{number:07d}"  # the digits at the end make it unique
        if self._scenario.payload == "unique":
            return value.encode()
        return f'{{"v":{value},"t":{BEGIN + number}}}'.encode()

    async def _publish(self, publisher: Publisher) -> None:
        number, streams = 0, self._scenario.streams
        due = before = time.monotonic()
        while self._publishing:
            now = time.monotonic()
            if now - before > 1.0:  # the broker was frozen: its sensors do not make up for it
                due = now
            before = now
            while due <= now and not publisher.full:
                publisher.publish(f"{EVENTS}d{number % streams:03}", self._payload(number))
                number += 1
                due += 1.0 / self._scenario.events_per_second
            await asyncio.sleep(TICK_SECONDS)

    async def _harm(self, faults: Faults, proxy: Proxy, publisher: Publisher) -> int:
        """All faults; returns how many kills, stops and cuts there were."""
        scenario, done, frozen = self._scenario, 0, 0
        if scenario.cuts:
            proxy.harm()
        freeze_every = max(scenario.kills // (scenario.freezes + 1), 1)
        for n in range(scenario.kills):
            await faults.wait(scenario.between)
            await faults.kinds[scenario.kill]()
            done += 1
            if n % CATCH_UP_EVERY == CATCH_UP_EVERY - 1:
                proxy.spare()
                await self._catch_up(publisher)
                if scenario.cuts:
                    proxy.harm()
            if frozen < scenario.freezes and n % freeze_every == freeze_every - 1:
                await self._freeze(faults, broker=frozen % 2 == 1)
                frozen += 1
        while frozen < scenario.freezes:
            await self._freeze(faults, broker=frozen % 2 == 1)
            frozen += 1
        proxy.spare()
        await faults.serving()
        await asyncio.sleep(scenario.between[1])
        return done

    async def _freeze(self, faults: Faults, *, broker: bool) -> None:
        await faults.serving()
        await faults.freeze(self._scenario.freeze_seconds, broker=broker)

    async def _catch_up(self, publisher: Publisher) -> None:
        """Wait until most events are predicted, so that the next faults hit a service at work."""
        least, since = float("inf"), time.monotonic()
        while time.monotonic() - since < CATCH_UP_SECONDS:  # those that a killed broker lost never come
            behind = len(publisher.sent) - len(self._record.received)
            if behind <= self._scenario.events_per_second:
                return
            if behind < least:
                least, since = behind, time.monotonic()
            await asyncio.sleep(0.05)

    async def _settle(self, publisher: Publisher) -> None:
        """Wait until all is predicted, or nothing more comes."""
        count, since = -1, time.monotonic()
        while True:
            now, found = time.monotonic(), self._record.copies + len(self._record.received)
            if found != count:
                count, since = found, now
            complete = len(self._record.received) >= len(publisher.sent)
            quiet_seconds = COMPLETE_SECONDS if complete else SETTLED_SECONDS
            if now - since > quiet_seconds and self._record.served.is_set():
                return
            await asyncio.sleep(0.1)

    async def _report(
        self, report: Report, publisher: Publisher, service: ServiceProcess, faults: Faults
    ) -> None:
        record, scenario = self._record, self._scenario
        report.events, report.repeated = len(publisher.sent), len(publisher.repeated)
        report.copies, report.redelivered = record.copies, record.redelivered
        assert not publisher.unheard, f"{publisher.unheard} messages had no subscriber"
        found = streams_of(record.predictions)
        if scenario.payload == "constant":
            for topic, _ in publisher.sent:
                stream = topic.removeprefix(EVENTS)
                report.lost[stream] = report.lost.get(stream, 0) + 1
            for stream, numbers in found.items():
                report.lost[stream] -= len(numbers)
        else:
            report.early = len(record.acked_early)
            report.verdict = judge(self._evidence(publisher, faults))
        if scenario.payload == "timed":
            payloads = {_reading(topic, payload): payload for topic, payload in publisher.sent}
            events = [
                (stream, payloads[stream, value])
                for stream, numbers in found.items()
                for _, value in numbers
                if (stream, value) in payloads
            ]
            fresh = self._folder / "fresh"
            fresh.mkdir()
            state, same = await memory.undisturbed(fresh, events, qos=scenario.qos)
            expected = memory.records(state)
            for key, copies in same.predictions.items():
                found_copies = record.predictions.get(key)
                if copies != found_copies:
                    report.verdict.wrong += 1
                    report.verdict.details.append(f"{key}: {copies} without faults, not {found_copies}")
        else:
            expected = memory.folded(service.state)
        state_now = memory.records(service.state)
        report.differing = sum(expected.get(key) != state_now.get(key) for key in {*expected, *state_now})

    def _evidence(self, publisher: Publisher, faults: Faults) -> Evidence:
        record = self._record
        published = [_reading(*message) for message in publisher.sent]
        unsaved = {
            published[n]
            for n, (_, payload) in enumerate(publisher.sent)
            if payload not in next((saved for when, saved in faults.saved if when > publisher.acked[n]), b"")
        }
        return Evidence(
            published=published,
            repeated={published[n] for n in publisher.repeated},
            unsaved=unsaved,
            predictions=record.predictions,
            received=record.received,
            confirmed=record.confirmed,
            acked=record.acked,
            broker_killed=bool(faults.saved),
            timed=self._scenario.payload == "timed",
        )


def _reading(topic: str, payload: bytes) -> Reading:
    return topic.removeprefix(EVENTS), value_of(payload)
