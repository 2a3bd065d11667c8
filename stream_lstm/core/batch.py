"""Cuts events in order of arrival into parts that have at most one event per stream.

The n-th event of each stream goes into the n-th part, so each stream's order is kept. The first parts are the
largest: a stream with many events does not delay the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SET_EVENTS_MAX = 256  # of so few events a set finds out faster than a sort that all streams differ
ROWS_MAX = 1_024  # of a part; measured: larger ones save no more time, and their data leave the cache


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
    """The same without the limit."""
    count = len(rows)
    if count <= SET_EVENTS_MAX and len(set(rows.tolist())) == count:
        yield np.arange(count)
        return
    order = _order(rows)
    grouped = rows[order]
    starts = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]]))
    if len(starts) == count:
        yield np.arange(count)
        return
    lengths = np.diff(starts, append=count)
    nth = np.empty(count, np.intp)  # number of earlier events of the same stream, by event
    nth[order] = np.arange(count) - np.repeat(starts, lengths)
    yield from np.split(_order(nth), np.cumsum(np.bincount(nth))[:-1])


def _order(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Their stable order; numbers of 16 bits are sorted several times faster."""
    small = numbers.astype(np.uint16) if numbers.max() <= np.iinfo(np.uint16).max else numbers
    return np.argsort(small, kind="stable")
