"""Events in order of arrival, cut into batches that hold a stream at most once.

The n-th event of each stream goes into the n-th batch, so every stream's order is kept, and a stream
that speaks often does not make the others wait: they are all in the first batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FEW = 256  # for so many a set is quicker than a sort
ROWS_MAX = 1_024  # measured: more rows at once save no more, and what belongs to them leaves the cache


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
    if count <= FEW and len(set(rows.tolist())) == count:
        yield np.arange(count)
        return
    order = _sorted(rows)
    grouped = rows[order]
    starts = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]]))
    if len(starts) == count:
        yield np.arange(count)
        return
    lengths = np.diff(starts, append=count)
    nth = np.empty(count, np.intp)  # how many events of its stream came before each event
    nth[order] = np.arange(count) - np.repeat(starts, lengths)
    yield from np.split(_sorted(nth), np.cumsum(np.bincount(nth))[:-1])


def _sorted(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Their order, equal ones as they come; numbers of 16 bits are sorted several times as fast."""
    small = numbers.astype(np.uint16) if numbers.max() <= np.iinfo(np.uint16).max else numbers
    return np.argsort(small, kind="stable")
