"""What is new, told live to all who look: made once for all of them, and not at all where there is nobody.

Each who looks gets the newest of each kind. Who is slow misses what was overtaken meanwhile, and sees that by
the numbers: neither the line nor anybody else waits. Format: server-sent events, section 9.2 of the HTML
standard (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream_lstm.core.views.history import Keyframe
from stream_lstm.service.http import schemas
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.overview import OverviewBuilder
from stream_lstm.service.http.stream_detail import StreamDetail, UnknownStream
from stream_lstm.service.log import Throttle, logger

TICK_SECONDS = 0.5
PAUSE_SECONDS_MIN = 0.05
OVERVIEW_TICKS = 2  # every second one
SHARE = 0.05  # of the time, for a tick at most …
SHARE_BUSY = 0.01  # … and where the line has its hands full:
BUSY_MESSAGES = 256  # so many wait
EVENTS_MAX = 500  # told of a stream in a tick; of more, the last
INSIDES_MAX = 64  # likewise of its gates; from record to record at once, so in some 32 steps of the engine


class TooManyViewers(Exception):
    """As many look as may."""


class Viewer:
    """One who looks."""

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._left = False

    def tell(self, kind: str, message: bytes) -> None:
        """Hand over a message, in the place of one of its kind that was not fetched yet."""
        self._waiting[kind] = message
        self._wake.set()

    def dismiss(self) -> None:
        """There is nothing more to come."""
        self._left = True
        self._wake.set()

    async def fetch(self) -> bytes:
        """What is new, as soon as there is something; nothing at the end."""
        await self._wake.wait()
        self._wake.clear()
        out = b"".join(self._waiting.values())
        self._waiting.clear()
        if self._left:
            self._wake.set()
        return out


@dataclass
class _Watch:
    """A stream that somebody looks at."""

    name: str
    layer: int
    viewers: set[Viewer] = field(default_factory=set)
    stream: int = 0  # its number: another one's may have its name by now
    after: int | None = None  # the last event that was told
    since: Keyframe | None = None  # where the next telling begins


class LiveFeed:
    """Ticks while somebody looks.

    Args:
        viewers_max: at once.
    """

    def __init__(
        self, watcher: OverviewBuilder, teller: StreamDetail, budget: CpuBudget, *, viewers_max: int
    ) -> None:
        self._watcher = watcher
        self._teller = teller
        self._budget = budget
        self._viewers_max = viewers_max
        self._viewers: set[Viewer] = set()
        self._watches: dict[tuple[str, int], _Watch] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ticks = 0
        self._throttle = Throttle(time.monotonic)

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    def join(self, name: str | None, *, layer: int) -> Viewer:
        """Look: at all, and at one stream if it is named.

        Raises:
            Full: as many look as may.
        """
        if len(self._viewers) >= self._viewers_max:
            raise TooManyViewers
        viewer = Viewer()
        viewer.tell("overview", self._overview(self.viewers + 1))
        self._viewers.add(viewer)
        if name is not None:
            watch = self._watches.setdefault((name, layer), _Watch(name, layer))
            watch.viewers.add(viewer)
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick_for_ever(), name="feed")
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Look no more."""
        self._viewers.discard(viewer)
        for key, watch in list(self._watches.items()):
            watch.viewers.discard(viewer)
            if not watch.viewers:
                del self._watches[key]

    async def close(self) -> None:
        """Send everybody away, and let nobody in."""
        self._viewers_max = 0
        for viewer in list(self._viewers):
            viewer.dismiss()
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        """Tick until nobody looks."""
        while self._viewers:
            begun, before = time.perf_counter(), self._budget.spent
            await self._harmless(self._tick())
            await asyncio.sleep(self._pause(time.perf_counter() - begun, self._budget.spent - before))

    def _pause(self, took: float, spent: float) -> float:
        """How long to wait after a tick, seconds."""
        share = SHARE if self._watcher.waiting < BUSY_MESSAGES else SHARE_BUSY
        return max(TICK_SECONDS - took, spent / share, PAUSE_SECONDS_MIN)

    async def _harmless(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something; a fault in what is only looked at must not end the feed, nor the line."""
        try:
            await work
        except Exception:
            if self._throttle.allow("stumbled") is not None:
                logger.exception("the live page's feed stumbled")

    async def _tick(self) -> None:
        self._ticks += 1
        for watch in list(self._watches.values()):
            await self._harmless(self._watch(watch))
        if self._ticks % OVERVIEW_TICKS == 0:
            message = self._overview(self.viewers)
            for viewer in self._viewers:
                viewer.tell("overview", message)

    def _overview(self, viewers: int) -> bytes:
        with self._budget.spending():
            return _event("overview", self._watcher.overview(viewers=viewers))

    async def _watch(self, watch: _Watch) -> None:
        """Tell those who look at a stream what is new of it."""
        teller = self._teller
        try:
            found = await teller.find(watch.name)
        except UnknownStream:
            self._tell(watch, "gone", schemas.Problem(f"there is no stream {watch.name!r}", "name"))
            watch.after, watch.since = 0, None  # should it come, all of it is new
            return
        if watch.after is None:
            start = teller.anchor(found)
            watch.stream, watch.after, watch.since = found.stream, start.seq if start else 0, start
            return
        if watch.stream != found.stream:  # forgotten, and come again
            watch.stream, watch.after, watch.since = found.stream, 0, None
        with self._budget.spending():
            events = teller.events(found.stream, after=watch.after, most=EVENTS_MAX)
        if not events:
            return
        telling = await teller.tell(
            found.stream, after=watch.after, most=INSIDES_MAX, layer=watch.layer, since=watch.since
        )
        with self._budget.spending():
            news = schemas.News(watch.name, watch.after, events, telling.insides, telling.forecast)
            self._tell(watch, "news", news)
            watch.after, watch.since = events[-1].seq, telling.end or teller.anchor(found)

    def _tell(self, watch: _Watch, kind: str, news: schemas.Answer) -> None:
        message = _event(kind, news)
        for viewer in watch.viewers:
            viewer.tell("news", message)


def _event(kind: str, told: schemas.Answer) -> bytes:
    """A message as it goes over the wire; JSON has no line feeds of its own."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(told))
