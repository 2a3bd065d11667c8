"""The faults: kills, cuts and freezes of service and broker, at random times and at random bytes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from tests.attack.proxy import Proxy
from tests.attack.record import Record
from tests.attack.service import ServiceProcess
from tests.brokers import Mosquitto

START_SECONDS = 1.2  # within which a service usually serves again
SERVE_SECONDS_MAX = 60.0
SOON_SECONDS = 3.0
BYTES_SECONDS_MAX = 3.0  # for a kill at some byte; then it is done without
BYTES_MAX = 200_000  # until a kill at some byte
DOWN_SECONDS_MAX = 1.0  # of a broker


class Faults:
    """Does one fault at a time; the program is running again when a call returns, not always ready.

    Attributes:
        saved: for each kill of the broker, the loop's time and the state that the broker had saved.
        kills: signals SIGKILL so far.
    """

    def __init__(
        self, broker: Mosquitto, service: ServiceProcess, proxy: Proxy, record: Record, *, seed: int
    ) -> None:
        self._broker = broker
        self._service = service
        self._proxy = proxy
        self._record = record
        self._draw = random.Random(seed)
        self.saved: list[tuple[float, bytes]] = []
        self.kills = 0
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "service": self.kill_service,
            "broker": self.kill_broker,
            "both": self.kill_both,
            "twice": self.kill_twice,
            "stop": self.stop_service,
            "cut": self.cut,
        }

    async def wait(self, pause: tuple[float, float]) -> None:
        """Wait for a moment to harm: some time, some bytes, or some time within a start."""
        kind = self._draw.random()
        if kind < 0.3 and pause[1] < 2.0:
            await asyncio.sleep(self._draw.uniform(0.0, START_SECONDS))
            return
        await self._serving_soon()
        await asyncio.sleep(self._draw.uniform(*pause))
        if kind > 0.6:
            reached = asyncio.Event()
            count = int(BYTES_MAX ** self._draw.random())
            self._proxy.after_bytes(count, reached.set, up=self._draw.random() < 0.5)
            with suppress(TimeoutError):
                await asyncio.wait_for(reached.wait(), BYTES_SECONDS_MAX)
            self._proxy.forget_trigger()

    async def serving(self) -> None:
        """Wait until the service has subscribed."""
        await asyncio.wait_for(self._record.served.wait(), SERVE_SECONDS_MAX)

    async def _serving_soon(self) -> None:
        """Wait until the service has subscribed, or the connection has stalled for too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._record.served.wait(), SOON_SECONDS)

    async def kill_service(self) -> None:
        """Kill the service."""
        self._kill_service()
        self._service.start()

    async def kill_twice(self) -> None:
        """Kill the service, and again within the start; the second start is not disturbed."""
        self._kill_service()
        self._service.start()
        await self.serving()  # the worst time: it may have read some messages and committed none
        await asyncio.sleep(self._draw.uniform(0.0, 0.3))
        self._kill_service()
        self._service.start()
        await self.serving()

    async def kill_broker(self) -> None:
        """Kill the broker."""
        self._kill_broker()
        await self._start_broker()

    async def kill_both(self) -> None:
        """Kill both, in any order, within some milliseconds."""
        order = [self._kill_broker, self._kill_service]
        self._draw.shuffle(order)
        order[0]()
        await asyncio.sleep(self._draw.choice((0.0, 0.0, 0.005, 0.05)))
        order[1]()
        if self._draw.random() < 0.5:
            self._service.start()
            await self._start_broker()
        else:
            await self._start_broker()
            await asyncio.sleep(self._draw.uniform(0.0, 0.5))  # sensors publish before it is back
            self._service.start()

    async def stop_service(self) -> None:
        """Stop the service with SIGTERM, and start it again."""
        self._record.served.clear()
        await self._service.stop()
        self._service.start()
        await self.serving()

    async def cut(self) -> None:
        """Reset the service's connection."""
        self._record.served.clear()
        self._proxy.cut()
        await self.serving()

    async def freeze(self, seconds: float, *, broker: bool) -> None:
        """Stop service or broker with SIGSTOP for a while."""
        if broker:
            os.kill(self._broker.pid, signal.SIGSTOP)
        else:
            self._service.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        if broker:
            os.kill(self._broker.pid, signal.SIGCONT)
        else:
            self._service.signal(signal.SIGCONT)

    def _kill_service(self) -> None:
        self._record.served.clear()
        self._service.kill()
        self.kills += 1

    def _kill_broker(self) -> None:
        self._record.served.clear()
        self._broker.kill()
        self.kills += 1
        file = Path(self._broker.folder) / "mosquitto.db"
        saved = file.read_bytes() if file.exists() else b""
        self.saved.append((asyncio.get_running_loop().time(), saved))

    async def _start_broker(self) -> None:
        if self._draw.random() < 0.3:
            await asyncio.sleep(self._draw.uniform(0.0, DOWN_SECONDS_MAX))
        await asyncio.to_thread(self._broker.start)
