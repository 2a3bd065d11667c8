"""Staleness: each stream by its own longest recent gap."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from stream_lstm.core.memory import Memories
from stream_lstm.service.pipeline.staleness import EVENTS_MIN, StalenessChange, StalenessMonitor
from stream_lstm.service.state.registry import Registry
from tests.core.models import description


class Watched:
    """Streams 1, 2, … in memory, and what is reported of them."""

    def __init__(self, streams: int = 2) -> None:
        self.memories = Memories(description(), rows_max=streams)
        for n in range(streams):
            self.memories.add(str(n + 1), n + 1)
        self.registry = Registry(rows_max=streams)
        self.since, self.entries = 0.0, 0
        self.reported: list[StalenessChange] = []
        self.staleness = StalenessMonitor(
            self.memories, self.registry, lambda: self.since, self.reported.append
        )

    def observe(self, stream: int, times: list[float]) -> None:
        row = np.array([stream])
        for time in times:
            self.entries += 1
            self.staleness.observe(row, np.zeros(1), self.entries, time)
            self.memories.states["seq"][row] += 1

    def check(self, now: float) -> list[str]:
        self.reported.clear()
        self.staleness.check(now)
        return [change.stream for change in self.reported]


def regular(every: float, count: int = 50, start: float = 1e9) -> list[float]:
    return [start + n * every for n in range(count)]


@pytest.mark.parametrize("every", [10.0, 60.0, 3_600.0])
def test_a_gap_of_three_times_the_longest_is_stale_and_reported_once(every: float) -> None:
    watched = Watched()
    watched.observe(1, regular(every))
    last = 1e9 + 49 * every
    assert watched.check(last + 2.9 * every) == []
    assert watched.check(last + 3.1 * every) == ["1"]
    assert watched.staleness.stale == 1
    assert watched.check(last + 9 * every) == []
    watched.observe(1, [last + 10 * every])
    assert [(c.stream, c.stale) for c in watched.reported] == [("1", False)]
    assert watched.staleness.stale == 0


def test_an_irregular_stream_is_compared_with_its_longest_gap() -> None:
    gaps = np.random.default_rng(1).choice([1.0, 2.0, 600.0], 200)
    watched = Watched()
    times = (1e9 + np.cumsum(gaps)).tolist()
    watched.observe(1, times)
    assert watched.check(times[-1] + 900.0) == []
    assert watched.check(times[-1] + 1_900.0) == ["1"]


def test_arrival_counts_for_a_stream_that_sends_hourly_batches() -> None:
    watched = Watched()
    for hour in range(6):
        watched.observe(1, [1e9 + hour * 3_600.0] * 60)
    assert watched.check(1e9 + 5 * 3_600.0 + 3_700.0) == []
    assert watched.check(1e9 + 5 * 3_600.0 + 12_000.0) == ["1"]


def test_many_events_of_a_stream_in_one_batch_are_one_arrival() -> None:
    watched = Watched()
    watched.observe(1, regular(3_600.0, 30))
    before = float(watched.registry.longest_gap[1])
    watched.staleness.observe(np.full(1_000, 1), np.zeros(1_000), 99, 1e9 + 30 * 3_600.0)
    assert watched.registry.longest_gap[1] >= before * 0.99


def test_a_fast_stream_has_ten_seconds_and_a_cold_one_is_never_stale() -> None:
    watched = Watched()
    watched.observe(1, regular(0.01))
    watched.observe(2, regular(60.0, EVENTS_MIN - 1))
    assert watched.check(1e9 + 9.0) == []
    assert watched.check(1e9 + 12.0) == ["1"]
    assert watched.check(1e9 + 1e6) == []


def test_without_a_connection_nothing_is_stale_and_no_gap_is_learnt() -> None:
    watched = Watched()
    watched.observe(1, regular(60.0))
    last = 1e9 + 49 * 60.0
    watched.since = math.nan
    assert watched.check(last + 86_400.0) == []
    watched.since = last + 86_400.0
    assert watched.check(last + 86_400.0 + 100.0) == []
    watched.observe(1, [last + 86_400.0 + 60.0])
    assert watched.registry.longest_gap[1] == pytest.approx(60.0, rel=0.02)


def test_one_outage_does_not_become_the_usual_gap_and_a_lasting_change_does() -> None:
    watched = Watched()
    watched.observe(1, regular(60.0))
    watched.check(1e9 + 86_400.0)
    watched.observe(1, [1e9 + 86_400.0])
    assert watched.registry.longest_gap[1] <= 120.0
    slower = 1e9 + 86_400.0
    for n in range(1, 12):
        watched.check(slower + n * 600.0 - 1.0)
        watched.observe(1, [slower + n * 600.0])
    assert watched.registry.longest_gap[1] == pytest.approx(600.0, rel=0.01)
    assert watched.check(slower + 11 * 600.0 + 900.0) == []


def test_an_evicted_stream_is_not_stale() -> None:
    watched = Watched()
    watched.observe(1, regular(60.0))
    watched.check(1e9 + 1e5)
    watched.memories.remove("1")
    watched.registry.clear(1)
    watched.check(1e9 + 2e5)
    assert watched.staleness.stale == 0
    assert watched.reported == []


def test_a_change_is_json() -> None:
    reported = json.loads(StalenessChange("a/b", True, 200.0, 60.0).encode())
    assert reported == {"stream": "a/b", "stale": True, "silent_seconds": 200.0, "usual_seconds": 60.0}
