"""Ring: the newest rows replace the oldest, and each stream's rows are found in order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.views.ring import Ring

DTYPE = np.dtype([("seq", np.int64), ("value", np.float64, (2,))])


def filled(size: int, batches: list[list[int]]) -> tuple[Ring, list[tuple[int, int]]]:
    """A ring to which these streams' rows were appended; and (stream, seq) of each row."""
    ring, rows = Ring(DTYPE, size), []
    for streams in batches:
        seqs = []
        for stream in streams:
            rows.append((stream, 1 + sum(stream == other for other, _ in rows)))
            seqs.append(rows[-1][1])
        values = np.repeat(np.array(seqs, float)[:, None], 2, 1)
        ring.append(np.array(streams, np.uint32), [np.array(seqs), values])
    return ring, rows


@given(
    size=st.integers(1, 12),
    batches=st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), max_size=6),
    count=st.integers(0, 9),
)
def test_the_last_rows_are_kept_in_order(size: int, batches: list[list[int]], count: int) -> None:
    ring, rows = filled(size, batches)
    ring.validate()
    kept = rows[max(len(rows) - size, 0) :]
    assert ring.all()["seq"].tolist() == [seq for _, seq in kept]
    for stream in (1, 2, 3, 4):
        seqs = [seq for other, seq in kept if other == stream]
        found = ring.of(stream, count)
        assert found["seq"].tolist() == seqs[max(len(seqs) - count, 0) :]
        assert (found["value"] == found["seq"][:, None]).all()


def test_only_the_named_rows_are_appended() -> None:
    ring = Ring(DTYPE, 5)
    columns = [np.array([1, 2, 3]), np.zeros((3, 2))]
    ring.append(np.ones(3, np.uint32), columns, np.array([0, 2]))
    ring.append(np.full(3, 2, np.uint32), columns, slice(0))
    assert ring.all()["seq"].tolist() == [1, 3]


def test_an_empty_ring_has_its_whole_size() -> None:
    assert Ring(DTYPE, 10).nbytes == 10 * (4 + DTYPE.itemsize)
    empty = Ring(DTYPE, 0)
    empty.append(np.ones(1, np.uint32), [np.array([1]), np.zeros((1, 2))])
    empty.validate()
    assert len(empty.all()) == 0


@pytest.mark.parametrize(
    ("message", "breach"),
    [
        ("the next place lies outside the ring", lambda ring: setattr(ring, "_next", 5)),
        ("events of a stream are not in order", lambda ring: setattr(ring, "_next", 1)),
    ],
)
def test_a_breach_of_an_invariant_is_noticed(message: str, breach: Callable[[Ring], object]) -> None:
    ring, _ = filled(5, [[1, 1, 1]])
    breach(ring)
    with pytest.raises(AssertionError, match=message):
        ring.validate()
