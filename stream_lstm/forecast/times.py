"""Times and values that callers of the Python interface give, as the engine takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.events import EVENT_MAX
from stream_lstm.recordings import parse_time

Time = float | datetime | np.datetime64 | str


def check(values: NDArray[np.float64], times: NDArray[np.float64]) -> None:
    """Raise ValueError for numbers that no event may have."""
    if not np.all(np.abs(values) <= EVENT_MAX):  # False for NaN as well
        at = int(np.argmax(~(np.abs(values.reshape(len(values), -1)) <= EVENT_MAX).all(axis=1)))
        raise ValueError(
            f"event {at}: a value is NaN, infinite or beyond {EVENT_MAX:g}; leave such events out"
        )
    if not np.isfinite(times).all():
        raise ValueError(f"event {int(np.argmin(np.isfinite(times)))}: the time is unknown")


def seconds(time: Time) -> float:
    """Epoch seconds."""
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if isinstance(time, np.datetime64):
        return float(time.astype("datetime64[ns]").astype(np.int64)) / 1e9
    try:
        found = parse_time(time) if isinstance(time, str) else float(time)
    except (ValueError, TypeError):
        raise ValueError(f"{time!r} is not a time") from None
    if not np.isfinite(found):
        raise ValueError(f"{time!r} is not a time")
    return found


def all_seconds(times: Any) -> NDArray[np.float64]:
    """Epoch seconds of a column."""
    column = np.asarray(times)
    if column.dtype.kind == "M":
        found: NDArray[np.float64] = column.astype("datetime64[ns]").astype(np.int64) / 1e9
        return np.where(np.isnat(column), np.nan, found)
    if column.dtype.kind in "iuf":
        return column.astype(np.float64)
    return np.array([seconds(each) for each in column.tolist()], np.float64)
