"""The list is searched, filtered, sorted and paged as a plain sort would do it, whoever comes and goes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from stream_lstm.core.codec.naming import worst
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.service.http import stream_list as listing_module
from stream_lstm.service.http.cpu_budget import BudgetExhausted, CpuBudget
from stream_lstm.service.http.schemas import Line
from stream_lstm.service.http.stream_list import LIMIT_MAX, ListQuery, Sort, State, StreamList
from tests.core.models import KINDS, random_model
from tests.service.http.scene import MODEL, Scene, scene

NAMES = [
    *(f"plant/{area}/Pump{n}:v" for area in ("North", "süd", "ĞÜNEŞ") for n in range(20)),
    "STRASSE",
    "straße",
    "<b>'\"&</b>",
    "\u202eevil",
    "x" * 512,
]
INTERVAL = 0.9


async def busy(set_up: Scene, names: list[str], *, seed: int = 1, rounds: int = 200) -> None:
    """Streams of which some spoke more often, some oddly, and some fell silent."""
    draw = random.Random(seed)
    for n in range(rounds):
        some = names if n == 0 else draw.sample(names, len(names) // 2)
        values = [[(draw.gauss(20, 3) if draw.random() < 0.98 else 900.0)] * set_up.wide for _ in some]
        await set_up.come(some, values)
    set_up.registry.stale[[set_up.row(name) for name in draw.sample(names, 9)]] = True
    set_up.registry.anomaly[set_up.row(names[3])] = np.nan
    for name in draw.sample(names, 5):
        set_up.recorder._note_odd(set_up.row(name), draw.uniform(0.6, 1.0), time.time())


def listing(set_up: Scene, budget: CpuBudget | None = None) -> StreamList:
    return StreamList(set_up.view, budget or CpuBudget())


async def whole(of: StreamList, **wanted: Any) -> list[Line]:
    """All pages, put together."""
    lines: list[Line] = []
    while True:
        page = await of.page(ListQuery(**wanted), offset=len(lines), limit=7)
        assert page.offset == len(lines)
        lines += page.streams
        if len(lines) >= page.total:
            return lines


KEYS: dict[str, Callable[[Line], Any]] = {
    "odd": lambda line: line.odd,
    "name": lambda line: line.name,
    "error": lambda line: line.error_ratio,
    "seen": lambda line: line.seen,
    "events": lambda line: line.events,
    "covered": lambda line: line.covered,
}
STATES: dict[str, Callable[[Line], bool]] = {
    "all": lambda line: True,
    "odd": lambda line: line.odd >= ALERT_THRESHOLD,
    "stale": lambda line: line.stale,
    "cold": lambda line: line.events < WARM_EVENTS,
    "worse": lambda line: line.error_ratio is not None and line.error_ratio > 1.0,
}


@pytest.mark.parametrize("kind", ["step", "pair", "fixed", "classes"])
async def test_every_state_and_order_is_as_a_plain_sort_makes_it(kind: str, tmp_path: Path) -> None:
    model = MODEL if kind == "step" else random_model(**KINDS[kind])
    async with scene(tmp_path / "state.db", model=model) as set_up:
        await busy(set_up, NAMES)
        of = listing(set_up)
        everyone = await whole(of, sort="name", ascending=True)
        assert [line.name for line in everyone] == sorted(NAMES)
        for state in get_args(State):
            among = {line.name for line in everyone if STATES[state](line)}
            for sort in get_args(Sort):
                for ascending in (True, False):
                    found = await whole(of, state=state, sort=sort, ascending=ascending)
                    assert {line.name for line in found} == among, (state, sort)
                    keys = [KEYS[sort](line) for line in found]
                    known = [key for key in keys if key is not None]
                    assert keys[len(known) :] == [None] * (len(keys) - len(known)), "unknown comes last"
                    assert known == sorted(known, reverse=not ascending), (state, sort, ascending)
        if kind == "step":
            sizes = [len({line.name for line in everyone if STATES[state](line)}) for state in STATES]
            assert 0 < min(sizes) < max(sizes[1:]) < len(NAMES), "each state is tried"
        of.close()


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
async def test_a_search_is_for_plain_text_in_any_case(search: str, found: int, tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come(NAMES, np.zeros(len(NAMES)))
        of = listing(set_up)
        lines = await whole(of, search=search)
        assert len(lines) == found
        assert all(search.casefold() in line.name.casefold() for line in lines)
        of.close()


async def test_a_line_says_what_was_published(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=5_000) as set_up:
        of, draw = listing(set_up), random.Random(2)
        (first,) = await set_up.come(["a"], [20.0])
        line = (await of.page(ListQuery(), offset=0, limit=1)).streams[0]
        assert (line.value, line.prediction) == (20.0, first["prediction"])
        assert (line.interval, line.error_ratio, line.covered, line.warm) == (None, None, None, False)
        for _ in range(120):
            (last,) = await set_up.come(["a"], [draw.gauss(20, 3)])
        set_up.registry.anomaly[set_up.row("a")] = np.nan
        line = (await of.page(ListQuery(), offset=0, limit=1)).streams[0]  # the order held: the line is new
        assert (line.name, line.events, line.time, line.value) == ("a", 121, last["time"], last["value"])
        assert line.prediction == last["prediction"]
        assert line.interval == pytest.approx(last["interval"], rel=1e-6)
        assert (line.anomaly, line.warm, line.stale) == (None, True, False)
        of.close()


async def test_the_worst_targets_coverage_is_what_is_sorted_by(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", model=random_model(**KINDS["pair"])) as set_up:
        await set_up.come(["a", "b", "a", "b"], np.zeros(8))
        covered = set_up.memories._table["covered"]
        covered[set_up.row("a")], covered[set_up.row("b")] = [1.0, 0.85], [0.7, 0.9]
        of = listing(set_up)
        lines = await whole(of, sort="covered", ascending=True)
        assert [(line.name, line.covered) for line in lines] == [
            ("b", pytest.approx(worst([0.7, 0.9], INTERVAL), abs=1e-3)),
            ("a", 1.0),
        ]
        of.close()


async def test_an_order_holds_for_a_moment_and_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come(["a"], [1.0])
        of = listing(set_up)
        made = []
        original = of._ordered

        async def ordered(wanted: ListQuery) -> Any:
            made.append(wanted)
            return await original(wanted)

        monkeypatch.setattr(of, "_ordered", ordered)
        pages = await asyncio.gather(*(of.page(ListQuery(), offset=0, limit=5) for _ in range(20)))
        assert [page.total for page in pages] == [1] * 20
        assert len(made) == 1
        await set_up.come(["b"], [1.0])
        assert (await of.page(ListQuery(), offset=0, limit=5)).total == 1
        monotonic = time.monotonic
        monkeypatch.setattr(listing_module.time, "monotonic", lambda: monotonic() + 1.0)
        assert (await of.page(ListQuery(), offset=0, limit=5)).total == 2
        assert len(made) == 2
        of.close()


async def test_a_page_names_nobody_who_left_nor_who_got_the_row(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 20}) as set_up:
        names = [f"old{n:02}" for n in range(20)]
        await set_up.come(names, np.zeros(20))
        of, wanted = listing(set_up), ListQuery(search="old", sort="name", ascending=True)
        assert len((await of.page(wanted, offset=0, limit=50)).streams) == 20
        rows = {set_up.row(name): name for name in names}
        for n in range(6):
            await set_up.come([f"new{n}"], [0.0])  # for each, another has to go to disk
        reused = [rows[set_up.row(f"new{n}")] for n in range(6) if set_up.row(f"new{n}") in rows]
        assert reused
        page = await of.page(wanted, offset=0, limit=50)
        assert page.total == 20
        assert page.disk == 6
        assert len(page.streams) == 14
        assert {line.name for line in page.streams} <= set(names) - set(reused)
        of.close()


async def test_streams_that_come_and_go_while_an_order_is_made_do_no_harm(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 3_000}) as set_up:
        await set_up.come([f"s{n}" for n in range(3_000)], np.zeros(3_000))
        of, done = listing(set_up), asyncio.Event()

        async def churn() -> None:
            n = 0
            while not done.is_set():
                await set_up.come([f"t{n}"], [0.0])
                n += 1

        churning = asyncio.create_task(churn())
        for sort in get_args(Sort):
            for n in range(3):
                wanted = ListQuery(search="s" if n else "", sort=sort, ascending=n == 1)
                page = await of.page(wanted, offset=0, limit=LIMIT_MAX)
                assert all("s" in line.name for line in page.streams if n)
        done.set()
        await churning
        of.close()


async def test_orders_that_are_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "ORDERS_MAX", 3)
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come([f"s{n}" for n in range(10)], np.zeros(10))
        of = listing(set_up)
        for n in range(6):
            await of.page(ListQuery(search=f"s{n}"), offset=0, limit=5)
        assert [wanted.search for wanted in of._orders] == ["s3", "s4", "s5"]
        monkeypatch.setattr(listing_module, "ROWS_MAX", 11)
        await of.page(ListQuery(), offset=0, limit=5)
        assert [wanted.search for wanted in of._orders] == ["s5", ""]
        monkeypatch.setattr(listing_module, "ROWS_MAX", 1)
        await of.page(ListQuery(search="s"), offset=0, limit=5)
        assert [wanted.search for wanted in of._orders] == ["s"]  # the newest always is
        of.close()


async def test_a_page_of_many_features_is_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "NUMBERS_MAX", 24)
    async with scene(tmp_path / "state.db", model=random_model(**KINDS["pair"])) as set_up:
        await set_up.come(NAMES, np.zeros((len(NAMES), 2)))
        of = listing(set_up)
        page = await of.page(ListQuery(), offset=0, limit=50)
        assert (page.total, len(page.streams)) == (len(NAMES), 3)
        assert (await of.page(ListQuery(), offset=len(NAMES), limit=50)).streams == []
        of.close()


async def test_a_remembered_order_waits_for_nobody_and_who_waits_for_long_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "PATIENCE_SECONDS", 0.05)
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come(["a"], [1.0])
        of = listing(set_up)
        await of.page(ListQuery(), offset=0, limit=5)
        async with of._working:  # somebody's is being worked out, and takes long
            assert (await of.page(ListQuery(), offset=0, limit=5)).total == 1
            with pytest.raises(BudgetExhausted):
                await of.page(ListQuery(search="b"), offset=0, limit=5)
        assert (await of.page(ListQuery(search="a"), offset=0, limit=5)).total == 1
        of.close()


async def test_many_streams_are_listed_and_others_have_their_turn(tmp_path: Path) -> None:
    count = 20_000
    async with scene(tmp_path / "state.db", limits={"new_streams_per_second": 1e6}) as set_up:
        for start in range(0, count, 4_000):
            await set_up.come([f"site/{n:06}" for n in range(start, start + 4_000)], np.arange(4_000.0))
        of, turns, done = listing(set_up), [], asyncio.Event()

        async def work() -> None:
            while not done.is_set():
                turns.append(None)
                await asyncio.sleep(0)

        working = asyncio.create_task(work())
        for wanted, first in [
            (ListQuery(sort="name", ascending=True), "site/000000"),
            (ListQuery(sort="name"), "site/019999"),
            (ListQuery(search="/0199", sort="name", ascending=True), "site/019900"),
        ]:
            before = len(turns)
            page = await of.page(wanted, offset=0, limit=LIMIT_MAX)
            assert page.streams[0].name == first
            assert page.total == (100 if wanted.search else count)
            assert len(page.streams) == min(page.total, LIMIT_MAX)
            assert len(turns) - before >= count // listing_module.AT_ONCE
        last = await of.page(ListQuery(sort="name", ascending=True), offset=count - 1, limit=50)
        assert [line.name for line in last.streams] == ["site/019999"]
        done.set()
        await working
        of.close()
