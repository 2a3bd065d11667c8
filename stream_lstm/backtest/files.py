"""Recordings for backtests: CSV and Parquet files with a column of times and one or more of values."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import SettingsError
from stream_lstm.recordings import parse_time

Doubles = NDArray[np.float64]
ROWS_MIN = 3  # the third event is the first with a prediction interval


class Series(NamedTuple):
    """One recorded stream: times (L,) in epoch seconds and values (L,), in the order of the file."""

    name: str
    times: Doubles
    values: Doubles


class EventSeries(NamedTuple):
    """One recorded stream of events with F features each, in the order of the file.

    Attributes:
        times: (L,), epoch seconds.
        values: (L, F), all of them known.
        columns: the file's other columns, without the rows left out.
    """

    name: str
    times: Doubles
    values: Doubles
    columns: dict[str, list[Any]]

    def texts(self, column: str, path: Path) -> list[Any]:
        """Another column as it is, (L,).

        Raises:
            SettingsError: there is no such column.
        """
        if column not in self.columns:
            raise SettingsError(str(path), f"has no column {column!r}; name that of the labels with --label")
        return self.columns[column]

    def numbers(self, column: str, path: Path) -> Doubles:
        """Another column as numbers, (L,); NaN where a cell is empty.

        Raises:
            SettingsError: there is no such column, or it is not numeric.
        """
        if column not in self.columns:
            raise SettingsError(str(path), f"has no column {column!r}, which the model predicts")
        return _numeric(self.columns, column, path)


def read(path: Path, *, time: str | None = None, values: Sequence[str] = ()) -> list[Series]:
    """Read the streams of a file: one a column, named after the file, and the column if there are several.

    Args:
        path: a .csv file, or a .parquet file, which needs the extra `parquet`.
        time: the column of times; the first if left out.
        values: the columns of values; all others that hold numbers if left out.

    Raises:
        SettingsError: a file, column or line cannot be read; the message gives which.
    """
    columns = _columns(path)
    time_column = time or next(iter(columns))
    _check_columns(columns, (time_column, *values), path)
    times = _times(columns[time_column], path)
    chosen = values or [name for name in columns if name != time_column]
    parsed = {name: _numbers(columns[name]) for name in chosen}
    for name in values:
        if parsed[name] is None:
            raise _not_numeric(name, columns[name], path)
    numeric = {name: numbers for name, numbers in parsed.items() if numbers is not None}
    if not chosen:
        raise SettingsError(str(path), "has no column beside the times")
    if not numeric:
        raise _not_numeric(chosen[0], columns[chosen[0]], path)
    return [
        _series(path.stem if len(numeric) == 1 else f"{path.stem}:{name}", times, numbers, path)
        for name, numbers in numeric.items()
    ]


def read_events(
    path: Path,
    features: Sequence[str],
    *,
    time: str | None = None,
    values: Sequence[str] = (),
    rows_min: int = ROWS_MIN,
    hint: str = "name the features' columns with --value",
) -> EventSeries:
    """Read a file as one stream whose events have a number for each feature of a model.

    Rows in which one of them is missing are left out.

    Args:
        path: as for `read`.
        features: of the model.
        time: the column of times; the first if left out.
        values: the columns of the features, in their order; those of the features' names if left out.
        rows_min: fewer complete rows are an error.
        hint: what to do about a missing column, for the error.

    Raises:
        SettingsError: a file, column or line cannot be read; the message gives which.
    """
    if values and len(values) != len(features):
        wanted = f"the model has {len(features)} features ({', '.join(features)})"
        raise SettingsError("--value", f"names {len(values)} columns, and {wanted}")
    columns = _columns(path)
    time_column, chosen = time or next(iter(columns)), list(values or features)
    _check_columns(columns, (time_column, *chosen), path, hint=hint)
    times = _times(columns[time_column], path)
    numbers = np.stack([_numeric(columns, name, path) for name in chosen], axis=1)
    known = np.isfinite(numbers).all(axis=1)
    _check_count(path.stem, int(known.sum()), path, rows_min)
    kept = np.flatnonzero(known).tolist()
    others = {name: [column[n] for n in kept] for name, column in columns.items() if name not in chosen}
    return EventSeries(path.stem, times[known], numbers[known], others)


def _columns(path: Path) -> dict[str, list[Any]]:
    return _parquet(path) if path.suffix == ".parquet" else _csv(path)


def _check_columns(columns: dict[str, list[Any]], names: Sequence[str], path: Path, hint: str = "") -> None:
    for name in names:
        if name not in columns:
            there_are = f"has no column {name!r}; there are {', '.join(columns)}"
            raise SettingsError(str(path), f"{there_are}; {hint}" if hint else there_are)


def _check_count(name: str, count: int, path: Path, rows_min: int = ROWS_MIN) -> None:
    if count < rows_min:
        raise SettingsError(str(path), f"{name} has {count} values; at least {rows_min} are needed")


def _not_numeric(name: str, column: Sequence[Any], path: Path) -> SettingsError:
    row, cell = next((n, cell) for n, cell in enumerate(column, 1) if _numbers([cell]) is None)
    problem = (
        f"column {name!r} is not numeric: row {row} holds {str(cell)[:40]!r} (an empty cell is left out)"
    )
    return SettingsError(str(path), problem)


def _numeric(columns: dict[str, list[Any]], name: str, path: Path) -> Doubles:
    numbers = _numbers(columns[name])
    if numbers is None:
        raise _not_numeric(name, columns[name], path)
    return numbers


def _series(name: str, times: Doubles, values: Doubles, path: Path) -> Series:
    """Leave out the rows without a value."""
    known = np.isfinite(values)
    _check_count(name, int(known.sum()), path)
    return Series(name, times[known], values[known])


def _csv(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None
    if not lines:
        raise SettingsError(str(path), "is empty")
    if any(";" in cell for cell in lines[0]):
        problem = "has semicolons in its first line: separate columns with commas, and decimals with a point"
        raise SettingsError(str(path), problem)
    has_header = not any(character.isdigit() for character in lines[0][0])
    defaults = ["time", "value", *(f"value{n}" for n in range(2, len(lines[0])))]
    names = lines[0] if has_header else defaults[: len(lines[0])]
    if len(set(names)) != len(names):
        raise SettingsError(str(path), "has two columns of one name")
    for number, line in enumerate(lines, 1):
        if len(line) != len(names):
            raise SettingsError(str(path), f"line {number} has {len(line)} columns, expected {len(names)}")
    rows = lines[1:] if has_header else lines
    return {name: [line[n] for line in rows] for n, name in enumerate(names)}


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise SettingsError(str(path), "needs pyarrow: pip install 'stream-lstm[parquet]'") from None
    try:
        columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (OSError, ArrowException) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None
    if not columns:
        raise SettingsError(str(path), "has no columns")
    return columns


def _times(column: Sequence[Any], path: Path) -> Doubles:
    times = np.empty(len(column))
    for n, stamp in enumerate(column):
        try:
            times[n] = parse_time(stamp.isoformat() if hasattr(stamp, "isoformat") else str(stamp).strip())
        except ValueError:
            raise SettingsError(str(path), f"row {n + 1}: {str(stamp)[:40]!r} is not a time") from None
    return times


def _numbers(column: Sequence[Any]) -> Doubles | None:
    """Parse a column as numbers, NaN for empty cells; None if a cell is anything else."""
    numbers = np.empty(len(column))
    for n, value in enumerate(column):
        if value is None or (isinstance(value, str) and not value.strip()):
            numbers[n] = math.nan
            continue
        try:
            numbers[n] = float(value)
        except (TypeError, ValueError):
            return None
    return numbers
