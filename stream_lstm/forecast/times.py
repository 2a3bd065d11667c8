"""Times and values that callers of the Python interface give, as the engine takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.timestamps import in_seconds
from stream_lstm.events import EVENT_MAX
from stream_lstm.recordings import parse_time

Time = float | datetime | np.datetime64 | str
TIME_MAX = 253_402_300_800.0  # the year 10000
ACCEPTED = "epoch seconds (or milli-, micro-, nanoseconds), a datetime, numpy.datetime64 or ISO 8601"


def check(values: NDArray[np.float64], features: Sequence[str], *, many: bool) -> None:
    """Raise ValueError, which names event and feature, for numbers that no event may have.

    Args:
        values: (N, F).
        many: False: there is one event, which needs no number.
    """
    wrong = ~(np.abs(values) <= EVENT_MAX)  # True for NaN as well
    if wrong.any():
        event, feature = np.argwhere(wrong)[0].tolist()
        where = f"event {event}: " if many else ""
        advice = "leave such events out" if many else "leave such an event out"
        raise ValueError(
            f"{where}{features[feature]} is {values[event, feature]}: NaN, infinite or beyond {EVENT_MAX:g}; "
            f"{advice}"
        )


def seconds(time: Time) -> float:
    """Epoch seconds."""
    try:
        if isinstance(time, datetime):  # pandas' NaT is one as well
            found = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        elif isinstance(time, np.datetime64):
            found = np.nan if np.isnat(time) else float(time.astype("datetime64[ns]").astype(np.int64)) / 1e9
        else:
            found = parse_time(time) if isinstance(time, str) else in_seconds(float(time))
    except (ValueError, TypeError):
        found = np.nan
    if not abs(found) < TIME_MAX:
        raise ValueError(f"{time!r} is not a time: {ACCEPTED}")
    return found


def all_seconds(times: Any) -> NDArray[np.float64]:
    """Epoch seconds of a column."""
    column = np.asarray(times)
    if column.dtype.kind == "M":
        stamps: NDArray[np.float64] = column.astype("datetime64[ns]").astype(np.int64) / 1e9
        return _known(np.where(np.isnat(column), np.nan, stamps))
    if column.dtype.kind in "iuf":
        return _known(np.array([in_seconds(each) for each in column.astype(np.float64).tolist()]))
    found = []
    for n, each in enumerate(column.tolist()):
        try:
            found.append(seconds(each))
        except ValueError as error:
            raise ValueError(f"event {n}: {error}") from None
    return np.array(found, np.float64)


def _known(found: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.abs(found) < TIME_MAX  # False for NaN as well
    if not known.all():
        n = int(np.argmin(known))
        raise ValueError(f"event {n}: the time is unknown or beyond the year 9999; leave such events out")
    return found


def numbers(column: Any, name: str) -> NDArray[np.float64]:
    """A column as numbers.

    Raises:
        ValueError: an entry is not numeric; the message names it.
    """
    try:
        return np.asarray(column, np.float64)
    except (TypeError, ValueError):
        pass
    for n, each in enumerate(np.asarray(column, object).ravel().tolist()):
        try:
            float(each)
        except (TypeError, ValueError):
            raise ValueError(f"event {n}: {name} is {each!r}, not a number") from None
    raise ValueError(f"{name} is not an array of numbers")


def stream_names(streams: str | Iterable[object], count: int) -> list[str]:
    """The name of each event's stream.

    Raises:
        ValueError: one is missing or empty.
    """
    if isinstance(streams, str):
        streams = [streams] * count
    names = []
    for n, name in enumerate(streams):
        if name is None or name != name or str(name) == "":
            raise ValueError(f"event {n}: the stream has no name")
        names.append(str(name))
    return names
