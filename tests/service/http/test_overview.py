"""How the service fares: rates over the last seconds, delays, and how many streams are what."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD
from stream_lstm.service.http import overview as overview_module
from stream_lstm.service.http.overview import OverviewBuilder, quantile
from stream_lstm.service.metrics.counters import LATENCY_SECONDS, Histogram
from tests.service.http.scene import BEGUN, scene


class Clock:
    """Holds both clocks."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return BEGUN + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    monkeypatch.setattr(overview_module, "time", held)
    return held


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_quantile_lies_in_the_bucket_of_the_one_that_it_stands_for(share: float, seed: int) -> None:
    draw, tally = random.Random(seed), Histogram(LATENCY_SECONDS)
    seconds = sorted(min(draw.lognormvariate(-6, 2), 9.9) for _ in range(draw.randrange(1, 400)))
    for second in seconds:
        tally.add(second)
    found = quantile(tally.counts, share)
    assert found is not None
    exact = seconds[max(-(-len(seconds) * share // 1), 1).__int__() - 1]
    above = next(bound for bound in LATENCY_SECONDS if exact <= bound)
    below = max((bound for bound in LATENCY_SECONDS if bound < exact), default=0.0)
    assert below <= found <= above


def test_a_quantile_of_nothing_is_none_and_beyond_the_last_bucket_its_bound() -> None:
    tally = Histogram(LATENCY_SECONDS)
    assert quantile(tally.counts, 0.5) is None
    tally.add(1_000.0, 3)
    assert quantile(tally.counts, 0.5) == LATENCY_SECONDS[-1]


async def test_rates_are_taken_over_the_last_seconds(tmp_path: Path, clock: Clock) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        watcher, counters = OverviewBuilder(set_up.view), set_up.counters
        for second in range(1, 31):
            counters.events_total += 10 * second
            counters.predictions_total += 9 * second
            counters.rejected_total["late"] += second
            counters.latency.add(0.002 if second <= 20 else 0.2, 5)
            clock.now += 1.0
            told = watcher.overview(viewers=3)
        assert told.over_seconds == 5.0
        assert told.events_per_second == pytest.approx(10 * sum(range(26, 31)) / 5)
        assert told.predictions_per_second == pytest.approx(9 * sum(range(26, 31)) / 5)
        assert told.rejected_per_second == pytest.approx(sum(range(26, 31)) / 5)
        assert told.latency.median_seconds is not None
        assert 0.1 < told.latency.median_seconds <= 0.25
        assert (told.viewers, told.rejected) == (3, {"late": sum(range(31))})


async def test_after_a_while_without_anybody_rates_are_soon_those_of_now(
    tmp_path: Path, clock: Clock
) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        watcher = OverviewBuilder(set_up.view)
        set_up.counters.events_total = 3_600_000
        clock.now += 3_600.0
        first = watcher.overview(viewers=1)
        assert (first.over_seconds, first.events_per_second) == (3_600.0, 1_000.0)
        clock.now += 1.0
        set_up.counters.events_total += 7
        second = watcher.overview(viewers=1)
        assert (second.over_seconds, second.events_per_second) == (1.0, 7.0)
        assert second.latency == overview_module.schemas.Latency(None, None)


async def test_many_who_ask_at_once_do_not_make_it_forget(tmp_path: Path, clock: Clock) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        watcher = OverviewBuilder(set_up.view)
        for _ in range(1_000):
            clock.now += 0.01
            set_up.counters.events_total += 1
            told = watcher.overview(viewers=0)
        assert told.events_per_second == pytest.approx(100.0)
        assert told.over_seconds == pytest.approx(5.0, abs=0.5)
        assert len(watcher._looks) < 20
        told = watcher.overview(viewers=0)  # no time has passed at all
        assert told.events_per_second == pytest.approx(100.0)


async def test_streams_are_counted_by_how_they_are(tmp_path: Path, clock: Clock) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 10}) as set_up:
        for key in "abcdefghijkl":
            await set_up.come([key], [1.0])
        memories, now = set_up.memories, clock.time()
        memories.seen[memories.taken()] = now - 61
        memories.seen[set_up.row("k")] = now - 59
        memories.anomaly[memories.taken()] = 0.2
        memories.anomaly[set_up.row("l")] = ALERT_THRESHOLD + 0.01
        for key, much, ago in [("l", 0.9, 0.0), ("k", 0.9, 10.0), ("j", 0.9, 3_000.0)]:
            set_up.recorder._note_odd(set_up.row(key), much, now - ago)
        told = OverviewBuilder(set_up.view).overview(viewers=0).streams
        assert (told.known, told.memory, told.disk) == (12, 10, 2)
        assert (told.active, told.odd) == (1, 2)  # each once, and what was long ago no more


async def test_what_is_not_known_yet_is_null(tmp_path: Path, clock: Clock) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        told = OverviewBuilder(set_up.view).overview(viewers=0)
        assert told.backlog_seconds is None
        assert told.error_ratio is None
        assert told.covered is None
        assert (told.events_per_second, told.ready) == (0.0, True)
        set_up.obstacles.append("the disk is full")
        set_up.counters.newest_time = clock.time() + 5.0  # a clock ahead of ours
        for value in (1.0, 2.0, 4.0, 1.0, 5.0):
            await set_up.come(["a"], [value])
        told = OverviewBuilder(set_up.view).overview(viewers=0)
        assert (told.ready, told.obstacles, told.backlog_seconds) == (False, ["the disk is full"], 0.0)
        assert told.error_ratio is not None
        assert told.covered is not None
