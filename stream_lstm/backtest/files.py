"""Recordings to backtest on: CSV and Parquet files, a column of times and one or more of values."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import SettingsError
from stream_lstm.recordings import epoch

Doubles = NDArray[np.float64]
ROWS_MIN = 3


class Series(NamedTuple):
    """One stream: times (L,) in epoch seconds and values (L,), in the order of the file."""

    name: str
    times: Doubles
    values: Doubles


def read(path: Path, *, time: str | None = None, values: Sequence[str] = ()) -> list[Series]:
    """The streams of a file: one a column, named after the file, and after the column if there are several.

    Args:
        path: ends in .csv, or in .parquet, for which the extra `parquet` is needed.
        time: the column of times; the first if left out.
        values: the columns of values; all others that hold numbers if left out.

    Raises:
        SettingsError: says which file, column or line cannot be read.
    """
    columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    clock = time or next(iter(columns))
    for name in (clock, *values):
        if name not in columns:
            raise SettingsError(str(path), f"has no column {name!r}; there are {', '.join(columns)}")
    when = _times(columns[clock], path)
    named = {name: columns[name] for name in values or [name for name in columns if name != clock]}
    found = {name: _numbers(column) for name, column in named.items()}
    for name in values:
        if found[name] is None:
            raise SettingsError(str(path), f"column {name!r} holds other things than numbers")
    usable = {name: numbers for name, numbers in found.items() if numbers is not None}
    if not usable:
        raise SettingsError(str(path), "has no column of numbers beside the times")
    return [
        _series(path.stem if len(usable) == 1 else f"{path.stem}:{name}", when, numbers, path)
        for name, numbers in usable.items()
    ]


def _series(name: str, times: Doubles, values: Doubles, path: Path) -> Series:
    """Without the rows that hold no value."""
    known = np.isfinite(values)
    if known.sum() < ROWS_MIN:
        raise SettingsError(
            str(path), f"{name} has {int(known.sum())} values, at least {ROWS_MIN} are needed"
        )
    return Series(name, times[known], values[known])


def _csv(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None
    if not lines:
        raise SettingsError(str(path), "is empty")
    headed = not any(character.isdigit() for character in lines[0][0])
    unnamed = ["time", "value", *(f"value{n}" for n in range(2, len(lines[0])))]
    head = lines[0] if headed else unnamed[: len(lines[0])]
    if len(set(head)) != len(head):
        raise SettingsError(str(path), "names a column twice")
    for number, line in enumerate(lines, 1):
        if len(line) != len(head):
            raise SettingsError(str(path), f"line {number} has {len(line)} columns, expected {len(head)}")
    rows = lines[1:] if headed else lines
    return {name: [line[n] for line in rows] for n, name in enumerate(head)}


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise SettingsError(str(path), "needs pyarrow: pip install 'stream-lstm[parquet]'") from None
    try:
        found: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (OSError, ArrowException) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None
    if not found:
        raise SettingsError(str(path), "has no columns")
    return found


def _times(column: Sequence[Any], path: Path) -> Doubles:
    out = np.empty(len(column))
    for n, stamp in enumerate(column):
        try:
            out[n] = epoch(stamp.isoformat() if hasattr(stamp, "isoformat") else str(stamp).strip())
        except ValueError:
            raise SettingsError(str(path), f"row {n + 1}: {str(stamp)[:40]!r} is no time") from None
    return out


def _numbers(column: Sequence[Any]) -> Doubles | None:
    """A column as numbers, NaN where there is nothing; None if it holds other things."""
    out = np.empty(len(column))
    for n, value in enumerate(column):
        if value is None or (isinstance(value, str) and not value.strip()):
            out[n] = math.nan
            continue
        try:
            out[n] = float(value)
        except (TypeError, ValueError):
            return None
    return out
