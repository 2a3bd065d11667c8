"""Parts of a batch: at most one event per stream, each stream's order kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.batch import ROWS_MAX, parts


@given(rows=st.lists(st.integers(1, 9), max_size=60))
def test_a_part_has_each_stream_once_and_the_order_of_a_stream_is_kept(rows: list[int]) -> None:
    where = np.array(rows, np.intp)
    pieces = list(parts(where))
    assert sorted(np.concatenate([np.empty(0, np.intp), *pieces]).tolist()) == list(range(len(rows)))
    for piece in pieces:
        assert len(set(where[piece])) == len(piece)
        assert (np.diff(piece) > 0).all()
    for stream in set(rows):
        positions = [n for piece in pieces for n in piece.tolist() if rows[n] == stream]
        assert positions == sorted(positions)


def test_many_events_of_one_stream_do_not_delay_another_stream() -> None:
    rows = np.array([1] * 150 + [2] + [1] * 150)
    assert [len(piece) for piece in parts(rows)][:2] == [2, 1]


def test_a_large_batch_of_different_streams_is_cut_by_size_alone() -> None:
    assert [len(piece) for piece in parts(np.arange(2 * ROWS_MAX + 88))] == [ROWS_MAX, ROWS_MAX, 88]
    assert [len(piece) for piece in parts(np.arange(70_000, 70_300))] == [300]
