"""Registry: bookkeeping of streams in memory, and its invariants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stream_lstm.core.memory import Memories
from stream_lstm.service.state.registry import Registry
from tests.core.models import description


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
    made.record_applied(np.array([1]), 7, 200.9)
    made.record_gaps(np.array([1]), np.array([60.0], np.float32))
    return made


def test_a_row_changed_since_it_was_written_is_unwritten(registry: Registry) -> None:
    assert registry.unwritten().tolist() == [1]
    assert registry.is_written(np.array([1, 2])).tolist() == [False, True]
    registry.record_written(np.array([1]), np.array([7]))
    assert registry.unwritten().tolist() == []


def test_arrival_is_kept_in_whole_seconds(registry: Registry) -> None:
    assert registry.seen[[1, 2]].tolist() == [200, 50]


def test_an_unknown_anomaly_is_not_zero(registry: Registry) -> None:
    assert np.isnan(registry.anomaly).all()
    registry.record_anomaly(np.array([1, 1]), np.array([0.25, 0.5]))
    assert registry.anomaly[1] == 0.5


def test_a_cleared_row_is_as_new(registry: Registry, memories: Memories) -> None:
    registry.record_anomaly(np.array([1]), np.array([0.5]))
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
        (lambda r: r.record_gaps(np.array([2]), np.array([-1.0], np.float32)), "gap is negative"),
    ],
)
def test_validation_notices_a_broken_invariant(
    registry: Registry, memories: Memories, damage: Callable[[Registry], None], invariant: str
) -> None:
    registry.validate(memories, 7)
    damage(registry)
    with pytest.raises(AssertionError, match=invariant):
        registry.validate(memories, 7)
