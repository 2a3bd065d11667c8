"""Events in order of arrival, cut into batches that hold a stream at most once.

The n-th event of each stream goes into the n-th batch, so every stream's order is kept, and a stream
that speaks often does not make the others wait: they are all in the first batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS_MAX = 1_024  # measured: more rows at once save no more, and what belongs to them leaves the cache


class Batch(NamedTuple):
    """Events that are applied together; no row twice."""

    rows: NDArray[np.intp]  # (B,) the streams' rows in memory
    times: NDArray[np.float64]  # (B,) epoch seconds
    values: NDArray[np.float64]  # (B, F)
    marks: NDArray[np.uint8]  # (B,) see `stream_lstm.events`


def parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Positions of the first event of each stream, then of the second, and so on, `ROWS_MAX` at a time.

    Args:
        rows: (N,) the stream of each event, in order of arrival.

    Yields:
        Positions in `rows`, ascending; each stream at most once in each.
    """
    if not len(rows):
        return
    for positions in _rounds(rows):
        for start in range(0, len(positions), ROWS_MAX):
            yield positions[start : start + ROWS_MAX]


def _rounds(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    count = len(rows)
    if len(set(rows.tolist())) == count:  # nearly always, where streams are many
        yield np.arange(count)
        return
    order = np.argsort(rows, kind="stable")
    grouped = rows[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    lengths = np.diff(np.r_[starts, count])
    nth = np.empty(count, np.intp)  # how many events of its stream came before each event
    nth[order] = np.arange(count) - np.repeat(starts, lengths)
    by_round = np.argsort(nth, kind="stable")
    yield from np.split(by_round, np.cumsum(np.bincount(nth))[:-1])
