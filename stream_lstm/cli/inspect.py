"""`stream-lstm inspect`: the streams in a state file, or one stream's memory, as text or JSON lines."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from stream_lstm.cli import inspect_view
from stream_lstm.cli.terminal import screen
from stream_lstm.core.trackers.accuracy import WARM_EVENTS, Accuracy
from stream_lstm.errors import ModelError, SettingsError
from stream_lstm.json_output import in_json
from stream_lstm.service.assembly import load_model
from stream_lstm.store.checkpoint import Rows
from stream_lstm.store.database import Database

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
        record_type = np.dtype(ast.literal_eval(database.identity.row))
        lines = (_list if options.stream is None else _one)(database, record_type, options)
    finally:
        database.close()
    if options.as_json:
        click.echo("\n".join(lines), nl=bool(lines))
    else:
        screen.print_lines(lines)


def _list(database: Database, record_type: np.dtype[Any], options: InspectOptions) -> list[str]:
    keys, matching = _sorted(database, record_type, options)
    found = {stream["stream"]: stream for stream in _streams(database.rows_of(keys), record_type)}
    streams = [found[key] for key in keys]
    if options.as_json:
        return [in_json(stream) for stream in streams]
    summary = inspect_view.StateSummary(
        str(database.path), database.identity.model, database.streams, database.last_entry, matching
    )
    return inspect_view.stream_table(
        summary, streams, now=time.time(), columns=screen.columns(), colour=screen.coloured()
    )


def _sorted(database: Database, record_type: np.dtype[Any], options: InspectOptions) -> tuple[list[str], int]:
    """The names of the first matching streams, in order; and how many match."""
    keys: list[str] = []
    ranks: list[NDArray[np.float64]] = [np.empty(0)]
    needle = options.search.casefold()
    for rows in database.rows():
        chosen = [n for n, key in enumerate(rows.keys) if needle in key.casefold()]
        keys += [rows.keys[n] for n in chosen]
        if options.sort in RANKS:
            ranks.append(RANKS[options.sort](rows, np.frombuffer(rows.records, record_type))[chosen])
        elif options.sort == "entered" and not needle and len(keys) >= options.limit:
            return keys[: options.limit], database.streams  # the others need not be read
    if options.sort == "name":
        keys.sort()
    elif options.sort in RANKS:
        order = np.argsort(-np.nan_to_num(np.concatenate(ranks), nan=-np.inf), kind="stable")
        return [keys[n] for n in order[: options.limit].tolist()], len(keys)
    return keys[: options.limit], len(keys)


def _worst_ratio(records: NDArray[Any]) -> NDArray[np.float64]:
    ratio = _accuracy(records).relative_mae()
    return np.asarray(np.nan_to_num(ratio, nan=-np.inf).max(axis=1, initial=-np.inf))


# Keys of a sorted list; the largest comes first.
RANKS: dict[str, Callable[[Rows, NDArray[Any]], NDArray[np.float64]]] = {
    "seen": lambda rows, records: rows.seen,
    "events": lambda rows, records: records["seq"].astype(np.float64),
    "error": lambda rows, records: _worst_ratio(records),
    "covered": lambda rows, records: np.asarray(records["covered"].min(axis=1, initial=np.inf), np.float64),
}


def _accuracy(records: Any) -> Accuracy:
    return Accuracy.read(lambda name: records[name].astype(float))


def _streams(rows: Rows, record_type: np.dtype[Any]) -> Iterator[dict[str, Any]]:
    for key, entry, seen, record in zip(
        rows.keys,
        rows.entries.tolist(),
        rows.seen.tolist(),
        np.frombuffer(rows.records, record_type),
        strict=True,
    ):
        yield _stream(key, entry, seen, record)


def _stream(key: str, entry: int, seen: float, record: np.void) -> dict[str, Any]:
    """A stream in a few numbers; `events` is 0 before its first checkpoint."""
    return {
        "stream": key,
        "entry": entry,
        "events": int(record["seq"]),
        "time": float(record["time"]),
        "seen": seen,
        "value": record["value"].tolist(),
        "expected": record["expected"].tolist(),
        "warm": bool(record["seq"] >= WARM_EVENTS),
        "error_ratio": np.round(_accuracy(record).relative_mae(), DIGITS).tolist(),
        "covered": np.round(record["covered"].astype(float), DIGITS).tolist(),
        "usual_gap_seconds": round(float(10.0 ** record["usual"]), DIGITS),
        "mean": record["mean"].tolist(),
        "deviation": np.sqrt(record["variance"]).tolist(),
        "lowest": record["lowest"].tolist(),
        "highest": record["highest"].tolist(),
    }


def _one(database: Database, record_type: np.dtype[Any], options: InspectOptions) -> list[str]:
    assert options.stream is not None
    rows = database.rows_of([options.stream])
    if not rows.keys:
        raise SettingsError("--stream", f"{options.stream!r} is not in {database.path}")
    (stream,) = _streams(rows, record_type)
    (record,) = np.frombuffer(rows.records, record_type)
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
