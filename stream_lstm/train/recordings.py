"""Recorded streams: CSV files of `timestamp,value`, and which of them training never sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream_lstm.errors import SettingsError
from stream_lstm.recordings import epoch, read
from stream_lstm.train.generate import GeneratedStream

HELD_OUT_EVERY = 4  # of the files in order of their names


class Named(NamedTuple):
    """A recorded stream; `name` is its path below the folder, without the ending."""

    name: str
    stream: GeneratedStream
    held_out: bool


def load(folder: Path) -> list[Named]:
    """Every CSV file below a folder, in order of names; each fourth is held out.

    Raises:
        SettingsError: there is none, or one cannot be read.
    """
    found = list(_load(folder))
    if not found:
        raise SettingsError(str(folder), "holds no .csv files")
    return found


def _load(folder: Path) -> Iterator[Named]:
    for number, path in enumerate(sorted(folder.rglob("*.csv"))):
        readings = read(path).readings
        times = np.array([epoch(reading.time) for reading in readings])
        values = np.array([reading.value for reading in readings])
        name = str(path.relative_to(folder).with_suffix(""))
        yield Named(name, GeneratedStream(times, values), number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
