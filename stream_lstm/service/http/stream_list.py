"""StreamList: the streams in memory, searched, filtered and sorted, in pages; the most anomalous first.

An order covers all streams. It is computed in a thread or in small pieces, so that the pipeline runs
meanwhile, and cached for a hundred times as long as it took. Pages of one order are quick and
consistent, and clients share it.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.naming import Naming, worst
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.core.views.summary import relative_errors, summarize
from stream_lstm.service.http import schemas
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import WAIT_SECONDS_MAX, BudgetExhausted, CpuBudget
from stream_lstm.service.pipeline.recorder import RecentAnomalies

ORDER_SECONDS_MIN = 0.9  # that an order is cached: just under a second, after which `watch` refreshes
ORDER_SHARE = 0.01  # of the time that computing an order may take, in the long run
ORDERS_MAX = 32  # cached orders: several viewers, each with a search of its own
ORDER_ROWS_MAX = 4_000_000  # of all cached orders, 32 MB; the newest is kept whatever its size
CHUNK_ROWS = 1_024  # names read or sorted before other tasks run: fewer would cost more in switching
LIMIT_MAX = 500  # streams a page: ten times what the live page asks for at once
NUMBERS_MAX = 100_000  # a page, 2 MB of JSON at most: fewer streams of many features

State = Literal["all", "anomalous", "stale", "cold", "worse"]
Sort = Literal["anomaly", "name", "error", "seen", "events", "covered"]
Rows = NDArray[np.intp]


class ListQuery(msgspec.Struct, frozen=True):
    """Which streams to list, and in which order.

    Attributes:
        search: text that the names contain, ignoring case.
    """

    search: str = ""
    state: State = "all"
    sort: Sort = "anomaly"
    ascending: bool = False


class _Order(NamedTuple):
    """The rows of the matching streams, sorted."""

    rows: NDArray[np.uint32]
    streams: NDArray[np.uint32]  # numbers of the streams that were in these rows
    until: float  # cached until then; seconds, monotonic


class StreamList:
    """Lists the streams in memory."""

    def __init__(self, context: HttpContext, budget: CpuBudget) -> None:
        self._context = context
        self._budget = budget
        self._memories = context.engine.memories
        self._registry = context.registry
        spec = context.engine.model.spec
        self._naming, self._targets = Naming(spec), len(spec.targets)
        self._limit_max = max(NUMBERS_MAX // (len(spec.features) + 3 * len(spec.targets)), 1)
        self._orders: OrderedDict[ListQuery, _Order] = OrderedDict()
        self._computing = asyncio.Lock()  # one order at a time
        self._thread = ThreadPoolExecutor(1, "stream-list")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def page(self, query: ListQuery, *, offset: int, limit: int) -> schemas.Streams:
        """A page of the list.

        Raises:
            BudgetExhausted: the request would wait too long.
        """
        order = self._cached(query)
        if order is None:
            await self._budget.acquire()
            try:
                async with asyncio.timeout(WAIT_SECONDS_MAX):
                    await self._computing.acquire()
            except TimeoutError:
                raise BudgetExhausted(WAIT_SECONDS_MAX) from None
            try:
                order = self._cached(query) or await self._compute(query)
            finally:
                self._computing.release()
        with self._budget.charged():
            gauges, here = self._context.gauges(), slice(offset, offset + min(limit, self._limit_max))
            rows = order.rows[here].astype(np.intp)
            present = self._memories.ids[rows] == order.streams[here]  # others have left memory since
            return schemas.Streams(
                total=len(order.rows),
                memory=gauges.streams,
                disk=gauges.streams_on_disk,
                offset=offset,
                streams=self._lines(rows[present]),
            )

    def _cached(self, query: ListQuery) -> _Order | None:
        order = self._orders.get(query)
        return None if order is None or order.until < self._context.clock() else order

    async def _compute(self, query: ListQuery) -> _Order:
        """Compute an order, charge its cost, and cache it."""
        spent = 0.0
        rows = self._memories.taken()
        streams = self._memories.ids[: int(rows.max(initial=0)) + 1].copy()
        if query.search:
            rows, took = await self._search(rows, query.search.casefold())
            spent += took
        recent = self._recent_anomalies()
        loop = asyncio.get_running_loop()
        rows, took = await loop.run_in_executor(self._thread, self._timed_select, rows, query, recent)
        spent += took
        if query.sort == "name":
            rows, took = await self._sort_by_name(rows, reverse=not query.ascending)
            spent += took
        self._budget.spend(spent)
        until = self._context.clock() + max(ORDER_SECONDS_MIN, spent / ORDER_SHARE)
        order = _Order(rows.astype(np.uint32), streams[rows], until)
        self._cache(query, order)
        return order

    def _cache(self, query: ListQuery, order: _Order) -> None:
        orders = self._orders
        orders.pop(query, None)
        orders[query] = order
        while len(orders) > ORDERS_MAX or (
            len(orders) > 1 and sum(len(order.rows) for order in orders.values()) > ORDER_ROWS_MAX
        ):
            orders.popitem(last=False)

    def _recent_anomalies(self) -> RecentAnomalies:
        return self._context.recorder.recent_anomalies(self._context.wall_clock())

    async def _search(self, rows: Rows, text: str) -> tuple[Rows, float]:
        """The rows whose names contain a casefolded text, and the processor seconds it took."""
        names = self._memories.names
        found: list[int] = []

        def search(chunk: list[int]) -> None:
            found.extend(row for row in chunk if text in (names[row] or "").casefold())

        took = await _in_chunks(rows.tolist(), search)
        return np.array(found, np.intp), took

    async def _sort_by_name(self, rows: Rows, *, reverse: bool) -> tuple[Rows, float]:
        """The rows sorted by name, and the processor seconds it took."""
        names = self._memories.names

        def name(row: int) -> str:
            return names[row] or ""

        chunks: list[list[int]] = []
        took = await _in_chunks(
            rows.tolist(), lambda chunk: chunks.append(sorted(chunk, key=name, reverse=reverse))
        )
        merged: Iterator[int] = heapq.merge(*chunks, key=name, reverse=reverse)
        out: list[int] = []
        took += await _in_chunks(rows.tolist(), lambda chunk: out.extend(islice(merged, len(chunk))))
        return np.array(out, np.intp), took

    def _timed_select(self, rows: Rows, query: ListQuery, recent: RecentAnomalies) -> tuple[Rows, float]:
        """`_select`, and the processor seconds it took; runs in the thread."""
        begun = time.thread_time()
        return self._select(rows, query, recent), time.thread_time() - begun

    def _select(self, rows: Rows, query: ListQuery, recent: RecentAnomalies) -> Rows:
        """The rows in the query's state, sorted by its key unless that is the name."""
        memories, registry = self._memories, self._registry
        anomaly = self._context.recorder.anomaly_scores(rows, recent)
        if query.state != "all":
            states: dict[State, Callable[[], NDArray[np.bool_]]] = {
                "anomalous": lambda: anomaly >= ALERT_THRESHOLD,
                "stale": lambda: registry.stale[rows],
                "cold": lambda: memories.column("seq", rows) < WARM_EVENTS,
                "worse": lambda: self._relative_error(rows) > 1.0,
            }
            among = states[query.state]()
            rows, anomaly = rows[among], anomaly[among]
        keys: dict[Sort, Callable[[], NDArray[Any]]] = {
            "anomaly": lambda: anomaly,
            "error": lambda: self._relative_error(rows),
            "seen": lambda: registry.seen[rows].astype(np.float64),
            "events": lambda: memories.column("seq", rows).astype(np.float64),
            "covered": lambda: self._coverage(rows),
        }
        if query.sort == "name":
            return rows
        key = keys[query.sort]()  # unknown: NaN, which is sorted to the end in both directions
        return rows[np.argsort(key if query.ascending else -key, kind="stable")]

    def _relative_error(self, rows: Rows) -> NDArray[np.float64]:
        """(B,) recent error of the worst target, relative to the last-value forecast."""
        ratio = relative_errors(self._memories.states, rows, self._targets)
        return np.asarray(np.fmax.reduce(ratio, axis=1, initial=np.nan))

    def _coverage(self, rows: Rows) -> NDArray[np.float64]:
        """(B,) recent coverage of the target whose coverage is farthest from the intended one."""
        covered = self._memories.target_column("accuracy.coverage", rows)
        if not covered.shape[1]:
            return np.full(len(rows), np.nan)
        off = np.abs(covered - self._context.settings.model.interval)
        farthest = covered[np.arange(len(rows)), off.argmax(axis=1)]
        return np.where(self._memories.column("seq", rows) < 2, np.nan, farthest)

    def _lines(self, rows: Rows) -> list[schemas.Line]:
        """The list's lines of these rows, as they are now."""
        memories, registry, naming = self._memories, self._registry, self._naming
        summary = summarize(self._context.engine, rows)
        scores = self._context.recorder.anomaly_scores(rows, self._recent_anomalies())
        intended = self._context.settings.model.interval
        columns = zip(
            memories.keys(rows.tolist()),
            summary.seq.tolist(),
            summary.time.tolist(),
            registry.seen[rows].tolist(),
            summary.value.tolist(),
            summary.prediction.tolist(),
            summary.half_width.tolist(),
            registry.anomaly[rows].astype(np.float64).round(3).tolist(),
            scores.astype(np.float64).round(3).tolist(),
            summary.relative_mae.round(3).tolist(),
            summary.covered.round(3).tolist(),
            registry.stale[rows].tolist(),
            strict=True,
        )
        return [
            schemas.Line(
                name=name,
                events=events,
                time=event_time,
                seen=seen,
                value=naming.value(value),
                prediction=naming.target(prediction),
                interval=naming.interval(prediction, half_width),
                anomaly=None if anomaly != anomaly else anomaly,
                odd=score,
                error_ratio=worst(ratio),
                covered=worst(covered, intended),
                warm=events >= WARM_EVENTS,
                stale=stale,
            )
            for (
                name,
                events,
                event_time,
                seen,
                value,
                prediction,
                half_width,
                anomaly,
                score,
                ratio,
                covered,
                stale,
            ) in columns
        ]


async def _in_chunks(rows: list[int], work: Callable[[list[int]], None]) -> float:
    """Call `work` with each chunk of rows; the event loop runs other tasks between two chunks.

    Returns:
        Processor seconds that the work took.
    """
    took = 0.0
    for start in range(0, len(rows), CHUNK_ROWS):
        begun = time.thread_time()
        work(rows[start : start + CHUNK_ROWS])
        took += time.thread_time() - begun
        await asyncio.sleep(0)
    return took
