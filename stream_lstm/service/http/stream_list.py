"""The list of streams: searched, filtered, sorted, by the page; the oddest first.

An order is worked out for all streams, in a thread and in small pieces, and holds for a moment: for as long
as it keeps its cost below a hundredth of the time. So pages behind it are quick, and many viewers share it.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.naming import Naming, worst
from stream_lstm.core.trackers.accuracy import WARM_EVENTS, Accuracy
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.core.views.summary import summarize
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import PATIENCE_SECONDS, BudgetExhausted, CpuBudget
from stream_lstm.service.pipeline.recorder import RecentAnomalies

HOLDS_SECONDS = 0.9
HOLDS_SHARE = 0.01
ORDERS_MAX = 32  # that are remembered …
ROWS_MAX = 4_000_000  # … with so many rows in all, but always one
AT_ONCE = 1_024  # names looked at before others have their turn
LIMIT_MAX = 500
NUMBERS_MAX = 100_000  # of a page: fewer streams of many features

State = Literal["all", "odd", "stale", "cold", "worse"]
Sort = Literal["odd", "name", "error", "seen", "events", "covered"]


class ListQuery(msgspec.Struct, frozen=True):
    """Which streams, and in which order."""

    search: str = ""
    state: State = "all"
    sort: Sort = "odd"
    ascending: bool = False


class _Order(NamedTuple):
    rows: NDArray[np.uint32]
    streams: NDArray[np.uint32]  # that were in them
    until: float  # monotonic


class StreamList:
    """Lists the streams in memory."""

    def __init__(self, view: HttpContext, budget: CpuBudget) -> None:
        self._view = view
        self._budget = budget
        self._memories = view.engine.memories
        self._registry = view.registry
        described = view.engine.model.spec
        self._naming = Naming(described)
        self._lines_max = max(NUMBERS_MAX // (len(described.features) + 3 * len(described.targets)), 1)
        self._orders: OrderedDict[ListQuery, _Order] = OrderedDict()
        self._working = asyncio.Lock()  # one order is worked out at a time
        self._thread = ThreadPoolExecutor(1, "listing")

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def page(self, wanted: ListQuery, *, offset: int, limit: int) -> schemas.Streams:
        """A page of the list.

        Raises:
            Busy: others look so much that this would have to wait for long.
        """
        order = self._remembered(wanted)
        if order is None:
            await self._budget.afford()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._working.acquire()
            except TimeoutError:
                raise BudgetExhausted(PATIENCE_SECONDS) from None
            try:
                order = self._remembered(wanted) or await self._ordered(wanted)
            finally:
                self._working.release()
        with self._budget.spending():
            present, here = self._view.present(), slice(offset, offset + min(limit, self._lines_max))
            rows = order.rows[here].astype(np.intp)
            same = self._memories.ids[rows] == order.streams[here]  # not gone, nor another's row by now
            return schemas.Streams(
                total=len(order.rows),
                memory=present.streams,
                disk=present.streams_on_disk,
                offset=offset,
                streams=self._lines(rows[same]),
            )

    def _remembered(self, wanted: ListQuery) -> _Order | None:
        order = self._orders.get(wanted)
        return None if order is None or order.until < time.monotonic() else order

    async def _ordered(self, wanted: ListQuery) -> _Order:
        spent = 0.0
        rows = self._memories.taken()
        streams = self._memories.ids[: int(rows.max(initial=0)) + 1].copy()
        if wanted.search:
            rows, took = await self._found(rows, wanted.search.casefold())
            spent += took
        odd = self._view.recorder.recent_anomalies(time.time())
        loop = asyncio.get_running_loop()
        rows, took = await loop.run_in_executor(self._thread, self._metered, rows, wanted, odd)
        spent += took
        if wanted.sort == "name":
            rows, took = await self._by_name(rows, reverse=not wanted.ascending)
            spent += took
        self._budget.spend(spent)
        until = time.monotonic() + max(HOLDS_SECONDS, spent / HOLDS_SHARE)
        order = _Order(rows.astype(np.uint32), streams[rows], until)
        self._remember(wanted, order)
        return order

    def _remember(self, wanted: ListQuery, order: _Order) -> None:
        orders = self._orders
        orders.pop(wanted, None)
        orders[wanted] = order
        while len(orders) > ORDERS_MAX or (
            len(orders) > 1 and sum(len(order.rows) for order in orders.values()) > ROWS_MAX
        ):
            orders.popitem(last=False)

    async def _found(self, rows: NDArray[np.intp], needle: str) -> tuple[NDArray[np.intp], float]:
        """Those whose names hold some text, and how long it took to find them."""
        names = self._memories.names
        found: list[int] = []

        def look(some: list[int]) -> None:
            found.extend(row for row in some if needle in (names[row] or "").casefold())

        took = await _by_pieces(rows.tolist(), look)
        return np.array(found, np.intp), took

    async def _by_name(self, rows: NDArray[np.intp], *, reverse: bool) -> tuple[NDArray[np.intp], float]:
        names = self._memories.names

        def name(row: int) -> str:
            return names[row] or ""

        sorted_pieces: list[list[int]] = []
        took = await _by_pieces(
            rows.tolist(), lambda some: sorted_pieces.append(sorted(some, key=name, reverse=reverse))
        )
        merged: Iterator[int] = heapq.merge(*sorted_pieces, key=name, reverse=reverse)
        out: list[int] = []
        took += await _by_pieces(rows.tolist(), lambda some: out.extend(_some(merged, len(some))))
        return np.array(out, np.intp), took

    def _metered(
        self, rows: NDArray[np.intp], wanted: ListQuery, odd: RecentAnomalies
    ) -> tuple[NDArray[np.intp], float]:
        """Those that are wanted, and what that took; in the thread."""
        begun = time.thread_time()
        return self._chosen(rows, wanted, odd), time.thread_time() - begun

    def _chosen(self, rows: NDArray[np.intp], wanted: ListQuery, odd: RecentAnomalies) -> NDArray[np.intp]:
        """Those in this state, in this order (unless that is by name)."""
        memories, registry = self._memories, self._registry
        oddness = self._view.recorder.anomaly_scores(rows, odd)
        if wanted.state != "all":
            which: dict[State, Callable[[], NDArray[np.bool_]]] = {
                "odd": lambda: oddness >= ALERT_THRESHOLD,
                "stale": lambda: registry.stale[rows],
                "cold": lambda: memories.column("seq", rows) < WARM_EVENTS,
                "worse": lambda: self._ratio(rows) > 1.0,
            }
            among = which[wanted.state]()
            rows, oddness = rows[among], oddness[among]
        keys: dict[Sort, Callable[[], NDArray[Any]]] = {
            "odd": lambda: oddness,
            "error": lambda: self._ratio(rows),
            "seen": lambda: registry.seen[rows].astype(np.float64),
            "events": lambda: memories.column("seq", rows).astype(np.float64),
            "covered": lambda: self._covered(rows),
        }
        if wanted.sort == "name":
            return rows
        key = keys[wanted.sort]()  # where there is none, NaN: that comes last, either way
        return rows[np.argsort(key if wanted.ascending else -key, kind="stable")]

    def _ratio(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The worst target's error by that of "same as last time"."""
        ratio = Accuracy.read(lambda name: self._memories.column(name, rows)).relative_mae()
        return np.asarray(np.fmax.reduce(ratio, axis=1, initial=np.nan))

    def _covered(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The share of values inside their interval that is farthest from what it should be."""
        covered = np.asarray(self._memories.column("covered", rows), np.float64)
        if not covered.shape[1]:
            return np.full(len(rows), np.nan)
        off = np.abs(covered - self._view.settings.model.interval)
        worst = covered[np.arange(len(rows)), off.argmax(axis=1)]
        return np.where(self._memories.column("seq", rows) < 2, np.nan, worst)

    def _lines(self, rows: NDArray[np.intp]) -> list[schemas.Line]:
        """These rows, as they are now."""
        memories, registry, naming = self._memories, self._registry, self._naming
        seen = summarize(self._view.engine, rows)
        odd = self._view.recorder.anomaly_scores(rows, self._view.recorder.recent_anomalies(time.time()))
        share = self._view.settings.model.interval
        columns = zip(
            memories.keys(rows.tolist()),
            seen.seq.tolist(),
            seen.time.tolist(),
            registry.seen[rows].tolist(),
            seen.value.tolist(),
            seen.prediction.tolist(),
            seen.half_width.tolist(),
            registry.anomaly[rows].astype(np.float64).round(3).tolist(),
            odd.astype(np.float64).round(3).tolist(),
            seen.relative_mae.round(3).tolist(),
            seen.covered.round(3).tolist(),
            registry.stale[rows].tolist(),
            strict=True,
        )
        return [
            schemas.Line(
                name=name,
                events=events,
                time=when,
                seen=heard,
                value=naming.value(value),
                prediction=naming.target(prediction),
                interval=naming.interval(prediction, half_width),
                anomaly=None if anomaly != anomaly else anomaly,
                odd=oddness,
                error_ratio=worst(ratio),
                covered=worst(covered, share),
                warm=events >= WARM_EVENTS,
                stale=stale,
            )
            for (
                name,
                events,
                when,
                heard,
                value,
                prediction,
                half_width,
                anomaly,
                oddness,
                ratio,
                covered,
                stale,
            ) in columns
        ]


def _some(of: Iterator[int], count: int) -> list[int]:
    return [next(of) for _ in range(count)]


async def _by_pieces(rows: list[int], work: Callable[[list[int]], None]) -> float:
    """Do something to all rows, some at a time, so that the line has its turn; returns how long that took."""
    took = 0.0
    for start in range(0, len(rows), AT_ONCE):
        begun = time.thread_time()
        work(rows[start : start + AT_ONCE])
        took += time.thread_time() - begun
        await asyncio.sleep(0)
    return took
