"""Who falls silent is noticed by its own rhythm, told once, and told again when it is back."""

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
    """Streams 1, 2, … in memory, and what is told of them."""

    def __init__(self, streams: int = 2) -> None:
        self.memories = Memories(description(), rows_max=streams)
        for n in range(streams):
            self.memories.admit(str(n + 1), n + 1)
        self.registry = Registry(rows_max=streams)
        self.since = 0.0
        self.told: list[StalenessChange] = []
        self.staleness = StalenessMonitor(self.memories, self.registry, lambda: self.since, self.told.append)

    def hear(self, stream: int, times: list[float]) -> None:
        row = np.array([stream])
        for time in times:
            self.staleness.observe(row, time)
            self.registry.record_applied(row, 1, time)
            record = self.memories.take(row)
            record["seq"] += 1
            self.memories.put(row, record)

    def look(self, now: float) -> list[str]:
        self.told.clear()
        self.staleness.check(now)
        return [change.stream for change in self.told]


def regular(every: float, count: int = 50, start: float = 1e9) -> list[float]:
    return [start + n * every for n in range(count)]


@pytest.mark.parametrize("every", [10.0, 60.0, 3_600.0])
def test_who_is_silent_for_thrice_as_long_as_ever_is_stale_and_told_once(every: float) -> None:
    watched = Watched()
    watched.hear(1, regular(every))
    last = 1e9 + 49 * every
    assert watched.look(last + 2.9 * every) == []
    assert watched.look(last + 3.1 * every) == ["1"]
    assert watched.staleness.stale == 1
    assert watched.look(last + 9 * every) == []
    watched.hear(1, [last + 10 * every])
    assert [(c.stream, c.stale) for c in watched.told] == [("1", False)]
    assert watched.staleness.stale == 0


def test_an_irregular_stream_is_held_against_its_longest_silence() -> None:
    gaps = np.random.default_rng(1).choice([1.0, 2.0, 600.0], 200)
    watched = Watched()
    times = (1e9 + np.cumsum(gaps)).tolist()
    watched.hear(1, times)
    assert watched.look(times[-1] + 900.0) == []
    assert watched.look(times[-1] + 1_900.0) == ["1"]


def test_a_stream_that_sends_its_readings_by_the_hour_is_expected_by_the_hour() -> None:
    watched = Watched()
    for hour in range(6):
        watched.hear(1, [1e9 + hour * 3_600.0] * 60)
    assert watched.look(1e9 + 5 * 3_600.0 + 3_700.0) == []
    assert watched.look(1e9 + 5 * 3_600.0 + 12_000.0) == ["1"]


def test_a_fast_stream_has_some_seconds_and_a_young_one_all_the_time_it_wants() -> None:
    watched = Watched()
    watched.hear(1, regular(0.01))
    watched.hear(2, regular(60.0, EVENTS_MIN - 1))
    assert watched.look(1e9 + 9.0) == []
    assert watched.look(1e9 + 12.0) == ["1"]
    assert watched.look(1e9 + 1e6) == []


def test_while_there_is_no_connection_nobody_is_silent_and_nothing_is_learnt_of_it() -> None:
    watched = Watched()
    watched.hear(1, regular(60.0))
    last = 1e9 + 49 * 60.0
    watched.since = math.nan
    assert watched.look(last + 86_400.0) == []
    watched.since = last + 86_400.0
    assert watched.look(last + 86_400.0 + 100.0) == []
    watched.hear(1, [last + 86_400.0 + 60.0])
    assert watched.registry.longest_gap[1] == pytest.approx(60.0, rel=0.02)


def test_one_outage_is_no_new_rhythm_and_a_new_rhythm_is_learnt() -> None:
    watched = Watched()
    watched.hear(1, regular(60.0))
    watched.look(1e9 + 86_400.0)
    watched.hear(1, [1e9 + 86_400.0])
    assert watched.registry.longest_gap[1] <= 120.0
    slower = 1e9 + 86_400.0
    for n in range(1, 12):
        watched.look(slower + n * 600.0 - 1.0)
        watched.hear(1, [slower + n * 600.0])
    assert watched.registry.longest_gap[1] == pytest.approx(600.0, rel=0.01)
    assert watched.look(slower + 11 * 600.0 + 900.0) == []


def test_who_leaves_memory_is_no_longer_watched() -> None:
    watched = Watched()
    watched.hear(1, regular(60.0))
    watched.look(1e9 + 1e5)
    watched.memories.evict("1")
    watched.registry.clear(1)
    watched.look(1e9 + 2e5)
    assert watched.staleness.stale == 0
    assert watched.told == []


def test_a_change_is_json() -> None:
    told = json.loads(StalenessChange("a/b", True, 200.0, 60.0).encode())
    assert told == {"stream": "a/b", "stale": True, "silent_seconds": 200.0, "usual_seconds": 60.0}
