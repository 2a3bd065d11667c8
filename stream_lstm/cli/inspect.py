"""`stream-lstm inspect`: the streams in a state file, or one stream's memory, as text or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from stream_lstm.cli import inspect_view
from stream_lstm.cli.terminal import screen
from stream_lstm.core import conversion
from stream_lstm.core.state import RecordShape
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.views.summary import relative_errors
from stream_lstm.errors import ModelError, SettingsError, StateMismatch
from stream_lstm.json_output import in_json
from stream_lstm.service.assembly import load_model
from stream_lstm.store.checkpoint import Rows
from stream_lstm.store.database import Database

States = NDArray[np.void]  # (N,) of `StreamState`

DIGITS = 3  # of ratios and shares: what tells two streams apart


class InspectOptions(NamedTuple):
    """Streams to show, and how.

    Attributes:
        stream: one stream; None: a list.
        largest: sort that stream's units by the size of their LTM.
        search: list only names that hold this text.
        sort: key of the list.
        limit: most streams of the list.
        as_json: print a JSON object for each stream.
        model: model file whose feature names apply, if it is the state's model; None: the default model.
    """

    stream: str | None = None
    largest: bool = False
    search: str = ""
    sort: str = "entered"
    limit: int = 50
    as_json: bool = False
    model: Path | None = None


class RecordReader:
    """Reads the records of a state file, of this release's layout or of one that it converts.

    Attributes:
        targets: T, of a record.

    Raises:
        StateMismatch: the file has another layout.
    """

    def __init__(self, database: Database) -> None:
        layout = database.identity.row
        former = conversion.shape_of(layout)
        shape = former or RecordShape.parse(layout)
        if shape is None:
            raise StateMismatch(
                "read",
                str(database.path),
                f"has records of another release ({layout[:80]})",
                "use that release",
            )
        self._shape, self._is_former, self.targets = shape, former is not None, shape.targets

    def read(self, records: bytes) -> States:
        """N records, one after the other, as (N,) of `StreamState`."""
        if self._is_former:
            return conversion.converted(records, self._shape)
        return np.frombuffer(bytearray(records), self._shape.dtype)


def inspect(path: Path, options: InspectOptions) -> None:
    """Print the streams of a state file, or one of them.

    Raises:
        SettingsError: the file or the stream does not exist.
        StateError: the file cannot be read.
    """
    if not path.exists():
        raise SettingsError(str(path), "no such state file")
    database = Database.open_read_only(path)
    try:
        reader = RecordReader(database)
        lines = (_list if options.stream is None else _one)(database, reader, options)
    finally:
        database.close()
    if options.as_json:
        click.echo("\n".join(lines), nl=bool(lines))
    else:
        screen.print_lines(lines)


def _list(database: Database, reader: RecordReader, options: InspectOptions) -> list[str]:
    keys, matching = _sorted(database, reader, options)
    found = {stream["stream"]: stream for stream in _streams(database.rows_of(keys), reader)}
    streams = [found[key] for key in keys]
    if options.as_json:
        return [in_json(stream) for stream in streams]
    summary = inspect_view.StateSummary(
        str(database.path), database.identity.model, database.streams, database.last_entry, matching
    )
    return inspect_view.stream_table(
        summary, streams, now=time.time(), columns=screen.columns(), colour=screen.coloured()
    )


def _sorted(database: Database, reader: RecordReader, options: InspectOptions) -> tuple[list[str], int]:
    """The names of the first matching streams, in order; and how many match."""
    keys: list[str] = []
    ranks: list[NDArray[np.float64]] = [np.empty(0)]
    needle = options.search.casefold()
    for rows in database.rows():
        chosen = [n for n, key in enumerate(rows.keys) if needle in key.casefold()]
        keys += [rows.keys[n] for n in chosen]
        if options.sort in RANKS:
            ranks.append(RANKS[options.sort](rows, reader.read(rows.records), reader.targets)[chosen])
        elif options.sort == "entered" and not needle and len(keys) >= options.limit:
            return keys[: options.limit], database.streams  # the others need not be read
    if options.sort == "name":
        keys.sort()
    elif options.sort in RANKS:
        order = np.argsort(-np.nan_to_num(np.concatenate(ranks), nan=-np.inf), kind="stable")
        return [keys[n] for n in order[: options.limit].tolist()], len(keys)
    return keys[: options.limit], len(keys)


# Keys of a sorted list, of rows, records and their number of targets; the largest comes first.
RANKS: dict[str, Callable[[Rows, States, int], NDArray[np.float64]]] = {
    "seen": lambda rows, states, targets: rows.seen,
    "events": lambda rows, states, targets: states["seq"].astype(np.float64),
    "error": lambda rows, states, targets: np.asarray(
        np.nan_to_num(_relative_errors(states, targets), nan=-np.inf).max(axis=1, initial=-np.inf)
    ),
    "covered": lambda rows, states, targets: np.asarray(
        states["targets"]["accuracy"]["coverage"][:, :targets].min(axis=1, initial=np.inf)
    ),
}


def _relative_errors(states: States, targets: int) -> NDArray[np.float64]:
    return relative_errors(states, np.arange(len(states)), targets)


def _streams(rows: Rows, reader: RecordReader) -> Iterator[dict[str, Any]]:
    """Streams in a few numbers each; `events` is 0 before the first checkpoint."""
    states = reader.read(rows.records)
    columns = zip(rows.keys, rows.entries.tolist(), rows.seen.tolist(), states, strict=True)
    errors = _relative_errors(states, reader.targets).round(DIGITS).tolist()
    for (key, entry, seen, state), ratio in zip(columns, errors, strict=True):
        targets = state["targets"][: reader.targets]
        yield {
            "stream": key,
            "entry": entry,
            "events": int(state["seq"]),
            "time": float(state["event_time"]["time"]),
            "seen": seen,
            "value": state["value"].tolist(),
            "expected": targets["interval"]["expected"].tolist(),
            "warm": bool(state["seq"] >= WARM_EVENTS),
            "error_ratio": ratio,
            "covered": targets["accuracy"]["coverage"].round(DIGITS).tolist(),
            "usual_gap_seconds": round(float(10.0 ** state["event_time"]["usual_gap"]), DIGITS),
            "mean": state["scale"]["mean"].tolist(),
            "deviation": np.sqrt(state["scale"]["variance"]).tolist(),
            "lowest": targets["anomaly"]["lowest"].tolist(),
            "highest": targets["anomaly"]["highest"].tolist(),
        }


def _one(database: Database, reader: RecordReader, options: InspectOptions) -> list[str]:
    assert options.stream is not None
    rows = database.rows_of([options.stream])
    if not rows.keys:
        raise SettingsError("--stream", f"{options.stream!r} is not in {database.path}")
    (stream,) = _streams(rows, reader)
    (record,) = reader.read(rows.records)
    ltm, stm = record["ltm"].tolist(), record["stm"].tolist()
    if options.as_json:
        return [in_json(stream | {"ltm": ltm, "stm": stm})]
    features, targets = _names(database.identity.model, options.model, stream)
    columns, colour = screen.columns(), screen.coloured()
    lines = inspect_view.description(
        stream, features, targets, database.identity.model, now=time.time(), columns=columns, colour=colour
    )
    for number, (of_ltm, of_stm) in enumerate(zip(ltm, stm, strict=True)):
        lines += [
            "",
            *inspect_view.layer_table(
                number, of_ltm, of_stm, largest=options.largest, columns=columns, colour=colour
            ),
        ]
    return lines


def _names(model: str, path: Path | None, stream: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of features and targets: those of the model file if it is the state's model, else numbers."""
    try:
        given = load_model(path)
    except ModelError:
        given = load_model(None)
    if given.id == model:
        return given.spec.features, given.spec.targets
    return (
        [f"feature {n}" for n in range(len(stream["value"]))],
        [f"target {n}" for n in range(len(stream["expected"]))],
    )
