"""Recorded streams for training: CSV files of `timestamp,value`, a fixed share of them held out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream_lstm.errors import SettingsError
from stream_lstm.recordings import parse_time, read
from stream_lstm.train.generate import TimeSeries

# Of the files in order of their names: a trade-off between streams to learn from and streams to evaluate on.
HELD_OUT_EVERY = 4


class RecordedStream(NamedTuple):
    """A recorded stream; `name` is its path below the folder, without the suffix."""

    name: str
    series: TimeSeries
    held_out: bool


def load(folder: Path) -> list[RecordedStream]:
    """Read every CSV file below a folder, in order of names; each fourth is held out.

    Raises:
        SettingsError: there is none, or one cannot be read.
    """
    streams = list(_load(folder))
    if not streams:
        raise SettingsError(str(folder), "holds no .csv files")
    return streams


def _load(folder: Path) -> Iterator[RecordedStream]:
    for number, path in enumerate(sorted(folder.rglob("*.csv"))):
        readings = read(path).readings
        times = np.array([parse_time(reading.time) for reading in readings])
        values = np.array([reading.value for reading in readings])
        name = str(path.relative_to(folder).with_suffix(""))
        yield RecordedStream(name, TimeSeries(times, values), number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
