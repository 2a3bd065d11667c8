"""Registry: bookkeeping of streams in memory, and its invariants."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from stream_lstm.core.memory import Memories
from stream_lstm.service.state.registry import Registry, Returned
from tests.core.models import description


def record(registry: Registry, *rows: int, entry: int, now: float, anomaly: float = 0.25) -> Returned:
    """An entry with an event of each of these rows."""
    scores = np.full(len(rows), anomaly)
    return registry.record_batch(np.array(rows), scores, entry, now, since=0.0, stale=len(rows))


@pytest.fixture
def memories() -> Memories:
    """Streams in rows 1 and 2 of 4."""
    made = Memories(description(), rows_max=4)
    for n in (1, 2):
        made.add(str(n), n)
    return made


@pytest.fixture
def registry() -> Registry:
    """Row 1 is written as of entry 5 and has changed with entry 7; row 2 was read as of entry 3."""
    made = Registry(rows_max=4)
    made.record_read(np.array([1, 2]), np.array([5, 3]), np.array([100.0, 50.0]))
    record(made, 1, entry=7, now=200.9)
    return made


def test_a_row_changed_since_it_was_written_is_unwritten(registry: Registry) -> None:
    assert registry.unwritten().tolist() == [1]
    assert registry.is_written(np.array([1, 2])).tolist() == [False, True]
    registry.record_written(np.array([1]), np.array([7]))
    assert registry.unwritten().tolist() == []


def test_arrival_is_kept_in_whole_seconds(registry: Registry) -> None:
    assert registry.seen[[1, 2]].tolist() == [200, 50]


def test_the_longest_gap_is_between_two_arrivals(registry: Registry) -> None:
    assert registry.longest_gap[1] == pytest.approx(100.9, rel=1e-6)
    record(registry, 1, 1, 2, entry=8, now=210.0)
    assert registry.longest_gap[1] == pytest.approx(100.9 * 0.99, rel=1e-6)  # once a batch
    assert registry.longest_gap[2] == 160.0
    assert registry.applied[[1, 2]].tolist() == [8, 8]


def test_an_unknown_anomaly_is_not_zero(registry: Registry) -> None:
    assert np.isnan(registry.anomaly[[0, 2, 3, 4]]).all()
    registry.record_batch(np.array([1, 1]), np.array([0.25, 0.5]), 8, 300.0, since=math.nan, stale=0)
    assert registry.anomaly[1] == 0.5


def test_a_stale_stream_that_has_an_event_again_is_returned_once(registry: Registry) -> None:
    registry.record_stale(np.array([1]), stale=True)
    returned = record(registry, 2, 1, 1, entry=8, now=1_000.0)
    assert returned.rows.tolist() == [1]
    assert returned.silent_seconds.tolist() == [800.0]
    assert returned.usual_seconds.tolist() == pytest.approx([100.9], rel=1e-6)
    assert not registry.stale.any()
    assert registry.longest_gap[1] == pytest.approx(201.8, rel=1e-6)  # grows by at most a factor of two
    assert len(record(registry, 1, entry=9, now=1_001.0).rows) == 0


def test_a_cleared_row_is_as_new(registry: Registry, memories: Memories) -> None:
    record(registry, 1, entry=7, now=300.0)
    registry.record_stale(np.array([1]), stale=True)
    registry.clear(1)
    fresh = Registry(rows_max=4)
    for column in ("applied", "written", "seen", "longest_gap", "stale", "anomaly"):
        np.testing.assert_equal(getattr(registry, column)[1], getattr(fresh, column)[1])
    memories.remove("1")
    registry.validate(memories, 7)


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (lambda r: r.record_applied(np.array([3]), 1, 0.0), "free row has an applied entry"),
        (lambda r: r.record_written(np.array([4]), np.array([1])), "free row has a written entry"),
        (lambda r: r.record_stale(np.array([3]), stale=True), "free row is stale"),
        (lambda r: r.record_written(np.array([2]), np.array([4])), "newer than the one in memory"),
        (lambda r: r.record_applied(np.array([2]), 8, 0.0), "not in the journal"),
        (lambda r: r.longest_gap.put(2, -1.0), "gap is negative"),
    ],
)
def test_validation_notices_a_broken_invariant(
    registry: Registry, memories: Memories, damage: Callable[[Registry], None], invariant: str
) -> None:
    registry.validate(memories, 7)
    damage(registry)
    with pytest.raises(AssertionError, match=invariant):
        registry.validate(memories, 7)
