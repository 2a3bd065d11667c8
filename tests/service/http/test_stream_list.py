"""The list of streams equals a plain filter and sort, while streams come and go."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from stream_lstm.core.codec.naming import worst
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.service.http import stream_list
from stream_lstm.service.http.cpu_budget import BudgetExhausted, CpuBudget
from stream_lstm.service.http.schemas import Line
from stream_lstm.service.http.stream_list import LIMIT_MAX, ListQuery, Sort, State, StreamList
from tests.core.models import KINDS, random_model
from tests.service.http.harness import MODEL, Harness, open_harness

NAMES = [
    *(f"plant/{area}/Pump{n}:v" for area in ("North", "süd", "ĞÜNEŞ") for n in range(20)),
    "STRASSE",
    "straße",
    "<b>'\"&</b>",
    "\u202eevil",
    "x" * 512,
]
INTERVAL = 0.9


async def busy(harness: Harness, names: list[str], *, seed: int = 1, rounds: int = 200) -> None:
    """Streams with more and fewer events; some anomalous, some stale."""
    draw = random.Random(seed)
    for n in range(rounds):
        some = names if n == 0 else draw.sample(names, len(names) // 2)
        values = [[(draw.gauss(20, 3) if draw.random() < 0.98 else 900.0)] * harness.features for _ in some]
        await harness.apply(some, values)
    harness.registry.stale[[harness.row(name) for name in draw.sample(names, 9)]] = True
    harness.registry.anomaly[harness.row(names[3])] = np.nan
    for name in draw.sample(names, 5):
        harness.recorder._note_anomaly(harness.row(name), draw.uniform(0.6, 1.0), time.time())


@asynccontextmanager
async def open_list(
    path: Path, *, clock: Callable[[], float] = time.monotonic, **options: Any
) -> AsyncIterator[tuple[Harness, StreamList]]:
    async with open_harness(path / "state.db", **options) as harness:
        harness.clock = clock
        streams = StreamList(harness.context, CpuBudget())
        try:
            yield harness, streams
        finally:
            streams.close()


async def all_lines(streams: StreamList, **query: Any) -> list[Line]:
    """The lines of all pages."""
    lines: list[Line] = []
    while True:
        page = await streams.page(ListQuery(**query), offset=len(lines), limit=7)
        assert page.offset == len(lines)
        lines += page.streams
        if len(lines) >= page.total:
            return lines


KEYS: dict[str, Callable[[Line], Any]] = {
    "anomaly": lambda line: line.odd,
    "name": lambda line: line.name,
    "error": lambda line: line.error_ratio,
    "seen": lambda line: line.seen,
    "events": lambda line: line.events,
    "covered": lambda line: line.covered,
}
STATES: dict[str, Callable[[Line], bool]] = {
    "all": lambda line: True,
    "anomalous": lambda line: line.odd >= ALERT_THRESHOLD,
    "stale": lambda line: line.stale,
    "cold": lambda line: line.events < WARM_EVENTS,
    "worse": lambda line: line.error_ratio is not None and line.error_ratio > 1.0,
}


@pytest.mark.parametrize("kind", ["step", "pair", "fixed", "classes"])
async def test_every_state_and_sort_key_equals_a_plain_filter_and_sort(kind: str, tmp_path: Path) -> None:
    model = MODEL if kind == "step" else random_model(**KINDS[kind])
    async with open_list(tmp_path, model=model) as (harness, streams):
        await busy(harness, NAMES)
        everything = await all_lines(streams, sort="name", ascending=True)
        assert [line.name for line in everything] == sorted(NAMES)
        for state in get_args(State):
            among = {line.name for line in everything if STATES[state](line)}
            for sort in get_args(Sort):
                for ascending in (True, False):
                    found = await all_lines(streams, state=state, sort=sort, ascending=ascending)
                    assert {line.name for line in found} == among, (state, sort)
                    keys = [KEYS[sort](line) for line in found]
                    known = [key for key in keys if key is not None]
                    assert keys[len(known) :] == [None] * (len(keys) - len(known)), "unknown ones come last"
                    assert known == sorted(known, reverse=not ascending), (state, sort, ascending)
        if kind == "step":
            sizes = [len({line.name for line in everything if STATES[state](line)}) for state in STATES]
            assert 0 < min(sizes) < max(sizes[1:]) < len(NAMES), "no state is trivial"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", len(NAMES)),
        ("pump1", 33),
        ("PUMP19:V", 3),
        ("NORTH", 20),
        ("SÜD", 20),
        ("strasse", 2),
        ("STRAẞE", 2),
        ("<B>'\"&", 1),
        ("\u202e", 1),
        ("x" * 512, 1),
        ("x" * 513, 0),
        ("%", 0),
        (".*", 0),
        ("\udcff", 0),
    ],
)
async def test_a_search_is_for_plain_text_and_ignores_case(search: str, found: int, tmp_path: Path) -> None:
    async with open_list(tmp_path) as (harness, streams):
        await harness.apply(NAMES, np.zeros(len(NAMES)))
        lines = await all_lines(streams, search=search)
        assert len(lines) == found
        assert all(search.casefold() in line.name.casefold() for line in lines)


async def test_a_line_shows_the_last_published_prediction(tmp_path: Path) -> None:
    async with open_list(tmp_path, kept=5_000) as (harness, streams):
        draw = random.Random(2)
        (first,) = await harness.apply(["a"], [20.0])
        line = (await streams.page(ListQuery(), offset=0, limit=1)).streams[0]
        assert (line.value, line.prediction) == (20.0, first["prediction"])
        assert (line.interval, line.error_ratio, line.covered, line.warm) == (None, None, None, False)
        for _ in range(120):
            (last,) = await harness.apply(["a"], [draw.gauss(20, 3)])
        harness.registry.anomaly[harness.row("a")] = np.nan
        line = (await streams.page(ListQuery(), offset=0, limit=1)).streams[0]  # a cached order, a new line
        assert (line.name, line.events, line.time, line.value) == ("a", 121, last["time"], last["value"])
        assert line.prediction == last["prediction"]
        assert line.interval == pytest.approx(last["interval"], rel=1e-6)
        assert (line.anomaly, line.warm, line.stale) == (None, True, False)


async def test_streams_are_sorted_by_the_coverage_of_the_worst_target(tmp_path: Path) -> None:
    async with open_list(tmp_path, model=random_model(**KINDS["pair"])) as (harness, streams):
        await harness.apply(["a", "b", "a", "b"], np.zeros(8))
        covered = harness.memories.states["targets"]["accuracy"]["coverage"]
        covered[harness.row("a")], covered[harness.row("b")] = [1.0, 0.85], [0.7, 0.9]
        lines = await all_lines(streams, sort="covered", ascending=True)
        assert [(line.name, line.covered) for line in lines] == [
            ("b", pytest.approx(worst([0.7, 0.9], INTERVAL), abs=1e-3)),
            ("a", 1.0),
        ]


async def test_an_order_is_cached_for_a_moment_and_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    async with open_list(tmp_path, clock=lambda: now[0]) as (harness, streams):
        await harness.apply(["a"], [1.0])
        computed = []
        original = streams._compute

        async def compute(query: ListQuery) -> Any:
            computed.append(query)
            return await original(query)

        monkeypatch.setattr(streams, "_compute", compute)
        pages = await asyncio.gather(*(streams.page(ListQuery(), offset=0, limit=5) for _ in range(20)))
        assert [page.total for page in pages] == [1] * 20
        assert len(computed) == 1
        await harness.apply(["b"], [1.0])
        assert (await streams.page(ListQuery(), offset=0, limit=5)).total == 1
        now[0] += 60.0
        assert (await streams.page(ListQuery(), offset=0, limit=5)).total == 2
        assert len(computed) == 2


async def test_a_page_omits_evicted_streams_and_those_that_reuse_their_rows(tmp_path: Path) -> None:
    async with open_list(tmp_path, limits={"streams_max": 20}) as (harness, streams):
        names = [f"old{n:02}" for n in range(20)]
        await harness.apply(names, np.zeros(20))
        query = ListQuery(search="old", sort="name", ascending=True)
        assert len((await streams.page(query, offset=0, limit=50)).streams) == 20
        rows = {harness.row(name): name for name in names}
        for n in range(6):
            await harness.apply([f"new{n}"], [0.0])  # each evicts another
        reused = [rows[harness.row(f"new{n}")] for n in range(6) if harness.row(f"new{n}") in rows]
        assert reused
        page = await streams.page(query, offset=0, limit=50)
        assert page.total == 20
        assert page.disk == 6
        assert len(page.streams) == 14
        assert {line.name for line in page.streams} <= set(names) - set(reused)


async def test_streams_may_come_and_go_while_an_order_is_computed(tmp_path: Path) -> None:
    async with open_list(tmp_path, limits={"streams_max": 3_000}) as (harness, streams):
        await harness.apply([f"s{n}" for n in range(3_000)], np.zeros(3_000))
        done = asyncio.Event()

        async def churn() -> None:
            n = 0
            while not done.is_set():
                await harness.apply([f"t{n}"], [0.0])
                n += 1

        churning = asyncio.create_task(churn())
        for sort in get_args(Sort):
            for n in range(3):
                query = ListQuery(search="s" if n else "", sort=sort, ascending=n == 1)
                page = await streams.page(query, offset=0, limit=LIMIT_MAX)
                assert all("s" in line.name for line in page.streams if n)
        done.set()
        await churning


async def test_the_cache_of_orders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_list, "ORDERS_MAX", 3)
    async with open_list(tmp_path) as (harness, streams):
        await harness.apply([f"s{n}" for n in range(10)], np.zeros(10))
        for n in range(6):
            await streams.page(ListQuery(search=f"s{n}"), offset=0, limit=5)
        assert [query.search for query in streams._orders] == ["s3", "s4", "s5"]
        monkeypatch.setattr(stream_list, "ORDER_ROWS_MAX", 11)
        await streams.page(ListQuery(), offset=0, limit=5)
        assert [query.search for query in streams._orders] == ["s5", ""]
        monkeypatch.setattr(stream_list, "ORDER_ROWS_MAX", 1)
        await streams.page(ListQuery(search="s"), offset=0, limit=5)
        assert [query.search for query in streams._orders] == ["s"]  # the newest is always kept


async def test_a_page_with_many_features_has_fewer_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_list, "NUMBERS_MAX", 24)
    async with open_list(tmp_path, model=random_model(**KINDS["pair"])) as (harness, streams):
        await harness.apply(NAMES, np.zeros((len(NAMES), 2)))
        page = await streams.page(ListQuery(), offset=0, limit=50)
        assert (page.total, len(page.streams)) == (len(NAMES), 3)
        assert (await streams.page(ListQuery(), offset=len(NAMES), limit=50)).streams == []


async def test_a_cached_order_needs_no_wait_and_a_long_wait_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_list, "WAIT_SECONDS_MAX", 0.05)
    async with open_list(tmp_path) as (harness, streams):
        await harness.apply(["a"], [1.0])
        await streams.page(ListQuery(), offset=0, limit=5)
        async with streams._computing:  # another order is being computed, and takes long
            assert (await streams.page(ListQuery(), offset=0, limit=5)).total == 1
            with pytest.raises(BudgetExhausted):
                await streams.page(ListQuery(search="b"), offset=0, limit=5)
        assert (await streams.page(ListQuery(search="a"), offset=0, limit=5)).total == 1


async def test_other_tasks_run_while_many_streams_are_sorted(tmp_path: Path) -> None:
    count = 20_000
    async with open_list(tmp_path, limits={"new_streams_per_second": 1e6}) as (harness, streams):
        for start in range(0, count, 4_000):
            await harness.apply([f"site/{n:06}" for n in range(start, start + 4_000)], np.arange(4_000.0))
        turns, done = [], asyncio.Event()

        async def work() -> None:
            while not done.is_set():
                turns.append(None)
                await asyncio.sleep(0)

        working = asyncio.create_task(work())
        for query, first in [
            (ListQuery(sort="name", ascending=True), "site/000000"),
            (ListQuery(sort="name"), "site/019999"),
            (ListQuery(search="/0199", sort="name", ascending=True), "site/019900"),
        ]:
            before = len(turns)
            page = await streams.page(query, offset=0, limit=LIMIT_MAX)
            assert page.streams[0].name == first
            assert page.total == (100 if query.search else count)
            assert len(page.streams) == min(page.total, LIMIT_MAX)
            assert len(turns) - before >= count // stream_list.CHUNK_ROWS
        last = await streams.page(ListQuery(sort="name", ascending=True), offset=count - 1, limit=50)
        assert [line.name for line in last.streams] == ["site/019999"]
        done.set()
        await working
