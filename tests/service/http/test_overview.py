"""The overview: rates over the last seconds, latency quantiles, and numbers of streams by state."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.service.http.overview import OverviewBuilder, quantile
from stream_lstm.service.http.schemas import Latency
from stream_lstm.service.metrics.counters import LATENCY_SECONDS, Histogram
from tests.service.http.harness import BEGUN, Harness, open_harness


class FakeClock:
    """Both clocks of the context, advanced by hand."""

    def __init__(self, harness: Harness) -> None:
        self.seconds = 1_000.0
        harness.clock = lambda: self.seconds
        harness.wall_clock = self.wall

    def wall(self) -> float:
        return BEGUN + self.seconds


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(share: float, seed: int) -> None:
    draw, histogram = random.Random(seed), Histogram(LATENCY_SECONDS)
    seconds = sorted(min(draw.lognormvariate(-6, 2), 9.9) for _ in range(draw.randrange(1, 400)))
    for second in seconds:
        histogram.add(second)
    found = quantile(histogram.counts, share)
    assert found is not None
    exact = seconds[max(-(-len(seconds) * share // 1), 1).__int__() - 1]
    above = next(bound for bound in LATENCY_SECONDS if exact <= bound)
    below = max((bound for bound in LATENCY_SECONDS if bound < exact), default=0.0)
    assert below <= found <= above


def test_a_quantile_without_events_is_none_and_beyond_the_last_bucket_its_bound() -> None:
    histogram = Histogram(LATENCY_SECONDS)
    assert quantile(histogram.counts, 0.5) is None
    histogram.add(1_000.0, 3)
    assert quantile(histogram.counts, 0.5) == LATENCY_SECONDS[-1]


async def test_rates_cover_the_last_seconds(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        clock = FakeClock(harness)
        overviews, counters = OverviewBuilder(harness.context), harness.counters
        for second in range(1, 31):
            counters.events_total += 10 * second
            counters.predictions_total += 9 * second
            counters.rejected_total["late"] += second
            counters.latency.add(0.002 if second <= 20 else 0.2, 5)
            clock.seconds += 1.0
            overview = overviews.overview(viewers=3)
        assert overview.over_seconds == 5.0
        assert overview.events_per_second == pytest.approx(10 * sum(range(26, 31)) / 5)
        assert overview.predictions_per_second == pytest.approx(9 * sum(range(26, 31)) / 5)
        assert overview.rejected_per_second == pytest.approx(sum(range(26, 31)) / 5)
        assert overview.latency.median_seconds is not None
        assert 0.1 < overview.latency.median_seconds <= 0.25
        assert (overview.viewers, overview.rejected) == (3, {"late": sum(range(31))})


async def test_rates_are_those_of_now_soon_after_a_pause_without_requests(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        clock = FakeClock(harness)
        overviews = OverviewBuilder(harness.context)
        harness.counters.events_total = 3_600_000
        clock.seconds += 3_600.0
        first = overviews.overview(viewers=1)
        assert (first.over_seconds, first.events_per_second) == (3_600.0, 1_000.0)
        clock.seconds += 1.0
        harness.counters.events_total += 7
        second = overviews.overview(viewers=1)
        assert (second.over_seconds, second.events_per_second) == (1.0, 7.0)
        assert second.latency == Latency(None, None)


async def test_many_requests_at_once_do_not_shorten_the_window(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        clock = FakeClock(harness)
        overviews = OverviewBuilder(harness.context)
        for _ in range(1_000):
            clock.seconds += 0.01
            harness.counters.events_total += 1
            overview = overviews.overview(viewers=0)
        assert overview.events_per_second == pytest.approx(100.0)
        assert overview.over_seconds == pytest.approx(5.0, abs=0.5)
        assert len(overviews._samples) < 20
        overview = overviews.overview(viewers=0)  # no time has passed at all
        assert overview.events_per_second == pytest.approx(100.0)


async def test_streams_are_counted_by_state_and_each_anomalous_one_once(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", limits={"streams_max": 10}) as harness:
        clock = FakeClock(harness)
        for key in "abcdefghijkl":
            await harness.apply([key], [1.0])
        registry, rows, now = harness.registry, harness.memories.taken(), clock.wall()
        registry.seen[rows] = now - 61
        registry.seen[harness.row("k")] = now - 59
        registry.anomaly[rows] = 0.2
        registry.anomaly[harness.row("l")] = ALERT_THRESHOLD + 0.01
        for key, anomaly, age in [("l", 0.9, 0.0), ("k", 0.9, 10.0), ("j", 0.9, 3_000.0)]:
            harness.recorder._note_anomaly(harness.row(key), anomaly, now - age)
        counts = OverviewBuilder(harness.context).overview(viewers=0).streams
        assert (counts.known, counts.memory, counts.disk) == (12, 10, 2)
        assert (counts.active, counts.odd) == (1, 2)  # the anomaly of j has faded


async def test_unknown_numbers_are_null(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        clock = FakeClock(harness)
        overview = OverviewBuilder(harness.context).overview(viewers=0)
        assert overview.backlog_seconds is None
        assert overview.error_ratio is None
        assert overview.covered is None
        assert (overview.events_per_second, overview.ready) == (0.0, True)
        harness.obstacles.append("the disk is full")
        harness.counters.newest_time = clock.wall() + 5.0  # a sensor's clock ahead of ours
        for value in (1.0, 2.0, 4.0, 1.0, 5.0):
            await harness.apply(["a"], [value])
        overview = OverviewBuilder(harness.context).overview(viewers=0)
        assert (overview.ready, overview.obstacles) == (False, ["the disk is full"])
        assert overview.backlog_seconds == 0.0
        assert overview.error_ratio is not None
        assert overview.covered is not None
