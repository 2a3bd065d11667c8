"""Live feed: server-sent events, made once for all viewers, and only while there are viewers.

Each viewer receives the newest message of each kind. A slow viewer skips messages that newer ones replaced,
and notices by the sequence numbers; it delays neither the pipeline nor other viewers. Format: section 9.2 of
the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html).
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

TICK_SECONDS = 0.5  # charts look continuous; a shorter tick costs more and shows no more
PAUSE_SECONDS_MIN = 0.05  # between two ticks: other tasks run even if ticks take long
OVERVIEW_TICKS = 2  # ticks from one overview to the next: one a second
SHARE = 0.05  # of a core for all ticks, as for requests (`cpu_budget.SHARE`)
SHARE_BUSY = 0.01  # of a core while the pipeline has a backlog: it needs the time more
BUSY_MESSAGES = 256  # a backlog: the pipeline keeps up while fewer wait
EVENTS_MAX = 500  # of a stream in one message, the last; the API has the others
INSIDES_MAX = 64  # likewise; segments between keyframes run together, so it takes some 32 engine steps


class TooManyViewers(Exception):
    """The feed has as many viewers as it may have."""


class Viewer:
    """The receiving end of the feed: holds the newest message of each kind."""

    def __init__(self) -> None:
        self._messages: dict[str, bytes] = {}  # by kind
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, kind: str, message: bytes) -> None:
        """Hand over a message; it replaces one of its kind that was not received yet."""
        self._messages[kind] = message
        self._wake.set()

    def close(self) -> None:
        """End the feed for this viewer."""
        self._closed = True
        self._wake.set()

    async def receive(self) -> bytes:
        """Wait for messages; returns all of them, or nothing at the end of the feed."""
        await self._wake.wait()
        self._wake.clear()
        out = b"".join(self._messages.values())
        self._messages.clear()
        if self._closed:
            self._wake.set()
        return out


@dataclass
class _Watch:
    """A layer of a stream, and its viewers."""

    name: str
    layer: int
    viewers: set[Viewer] = field(default_factory=set)
    stream: int = 0  # number of the stream: the name may pass to another one
    after: int | None = None  # seq of the last event sent; None until the stream was first found
    keyframe: Keyframe | None = None  # the record after that event, where the next trace begins


class LiveFeed:
    """Sends overviews and news of streams, in ticks, while there are viewers.

    Args:
        viewers_max: viewers at once.
    """

    def __init__(
        self, overviews: OverviewBuilder, detail: StreamDetail, budget: CpuBudget, *, viewers_max: int
    ) -> None:
        self._overviews = overviews
        self._detail = detail
        self._budget = budget
        self._viewers_max = viewers_max
        self._viewers: set[Viewer] = set()
        self._watches: dict[tuple[str, int], _Watch] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ticks = 0
        self._throttle = Throttle(time.monotonic)

    @property
    def viewers(self) -> int:
        """Viewers at this moment."""
        return len(self._viewers)

    def join(self, name: str | None, *, layer: int) -> Viewer:
        """Add a viewer.

        Args:
            name: of the stream to send news of; None: overviews only.
            layer: of its cell, counted from 0.

        Raises:
            TooManyViewers: the feed has as many viewers as it may have.
        """
        if len(self._viewers) >= self._viewers_max:
            raise TooManyViewers
        viewer = Viewer()
        viewer.send("overview", self._overview(self.viewers + 1))
        self._viewers.add(viewer)
        if name is not None:
            watch = self._watches.setdefault((name, layer), _Watch(name, layer))
            watch.viewers.add(viewer)
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._run(), name="live feed")
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer; one that has left is ignored."""
        self._viewers.discard(viewer)
        for key, watch in list(self._watches.items()):
            watch.viewers.discard(viewer)
            if not watch.viewers:
                del self._watches[key]

    async def close(self) -> None:
        """Close all viewers and accept no more."""
        self._viewers_max = 0
        for viewer in list(self._viewers):
            viewer.close()
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    async def _run(self) -> None:
        """Tick until the last viewer has left."""
        while self._viewers:
            begun, before = time.perf_counter(), self._budget.spent
            await self._isolated(self._tick())
            await asyncio.sleep(self._pause(time.perf_counter() - begun, self._budget.spent - before))

    def _pause(self, took: float, spent: float) -> float:
        """Time until the next tick, seconds.

        Args:
            took: time that the last tick took, seconds.
            spent: processor seconds that it spent.
        """
        share = SHARE if self._overviews.backlog_messages < BUSY_MESSAGES else SHARE_BUSY
        return max(TICK_SECONDS - took, spent / share, PAUSE_SECONDS_MIN)

    async def _isolated(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work; log its failure, which must end neither the feed nor the service."""
        try:
            await work
        except Exception:
            if self._throttle.allow("feed") is not None:
                logger.exception("live feed tick failed, continuing")

    async def _tick(self) -> None:
        self._ticks += 1
        for watch in list(self._watches.values()):
            await self._isolated(self._update(watch))
        if self._ticks % OVERVIEW_TICKS == 0:
            message = self._overview(self.viewers)
            for viewer in self._viewers:
                viewer.send("overview", message)

    def _overview(self, viewers: int) -> bytes:
        with self._budget.charged():
            return _event("overview", self._overviews.overview(viewers=viewers))

    async def _update(self, watch: _Watch) -> None:
        """Send the news of a stream to its viewers."""
        detail = self._detail
        try:
            found = await detail.find(watch.name)
        except UnknownStream as error:
            self._send(watch, "gone", schemas.Problem(str(error), "name"))
            watch.after, watch.keyframe = 0, None  # if the stream appears, all of it is news
            return
        if watch.after is None:
            start = detail.keyframe(found)
            watch.stream, watch.after, watch.keyframe = found.stream, start.seq if start else 0, start
            return
        if watch.stream != found.stream:  # expired, and a new stream has its name
            watch.stream, watch.after, watch.keyframe = found.stream, 0, None
        with self._budget.charged():
            events = detail.events(found.stream, after=watch.after, limit=EVENTS_MAX)
        if not events:
            return
        trace = await detail.trace(
            found.stream, after=watch.after, limit=INSIDES_MAX, layer=watch.layer, keyframe=watch.keyframe
        )
        with self._budget.charged():
            news = schemas.News(watch.name, watch.after, events, trace.insides, trace.forecast)
            self._send(watch, "news", news)
            watch.after, watch.keyframe = events[-1].seq, trace.end or detail.keyframe(found)

    def _send(self, watch: _Watch, kind: str, answer: schemas.Answer) -> None:
        message = _event(kind, answer)
        for viewer in watch.viewers:
            viewer.send("news", message)


def _event(kind: str, answer: schemas.Answer) -> bytes:
    """A server-sent event; its JSON contains no line feed, so one line of data is enough."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(answer))
