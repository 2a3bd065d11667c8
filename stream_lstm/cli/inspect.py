"""`stream-lstm inspect`: what a state file remembers, for people or as JSON lines."""

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

DIGITS = 3


class InspectOptions(NamedTuple):
    """What is to be shown, and how.

    Attributes:
        stream: one stream; None: a list.
        largest: of that stream, the units of the largest LTM first.
        search: of the list, only names that hold this text.
        sort: which are listed first.
        limit: how many are listed.
        as_json: a JSON object a stream.
        model: whose names of features are used, if it is the state's; None: the default model.
    """

    stream: str | None = None
    largest: bool = False
    search: str = ""
    sort: str = "entered"
    limit: int = 50
    as_json: bool = False
    model: Path | None = None


def inspect(path: Path, wanted: InspectOptions) -> None:
    """Print the streams of a state file, or all of one.

    Raises:
        SettingsError: there is no such file or stream.
        StateError: the file cannot be read.
    """
    if not path.exists():
        raise SettingsError(str(path), "there is no such state file")
    database = Database.open_read_only(path)
    try:
        kind = np.dtype(ast.literal_eval(database.identity.row))
        lines = (_list if wanted.stream is None else _one)(database, kind, wanted)
    finally:
        database.close()
    if wanted.as_json:
        click.echo("\n".join(lines), nl=bool(lines))
    else:
        screen.say(lines)


def _list(database: Database, kind: np.dtype[Any], wanted: InspectOptions) -> list[str]:
    keys, found = _sorted(database, kind, wanted)
    told = {stream["stream"]: stream for stream in _each(database.rows_of(keys), kind)}
    streams = [told[key] for key in keys]
    if wanted.as_json:
        return [in_json(stream) for stream in streams]
    about = inspect_view.About(
        str(database.path), database.identity.model, database.streams, database.last_entry, found
    )
    return inspect_view.listed(
        about, streams, now=time.time(), columns=screen.columns(), colour=screen.coloured()
    )


def _sorted(database: Database, kind: np.dtype[Any], wanted: InspectOptions) -> tuple[list[str], int]:
    """The names of the first streams that are wanted, in order; and how many are wanted in all."""
    keys: list[str] = []
    ranks: list[NDArray[np.float64]] = [np.empty(0)]
    needle = wanted.search.casefold()
    for rows in database.rows():
        chosen = [n for n, key in enumerate(rows.keys) if needle in key.casefold()]
        keys += [rows.keys[n] for n in chosen]
        if wanted.sort in RANKS:
            ranks.append(RANKS[wanted.sort](rows, np.frombuffer(rows.records, kind))[chosen])
        elif wanted.sort == "entered" and not needle and len(keys) >= wanted.limit:
            return keys[: wanted.limit], database.streams  # there is no need to read the others
    if wanted.sort == "name":
        keys.sort()
    elif wanted.sort in RANKS:
        order = np.argsort(-np.nan_to_num(np.concatenate(ranks), nan=-np.inf), kind="stable")
        return [keys[n] for n in order[: wanted.limit].tolist()], len(keys)
    return keys[: wanted.limit], len(keys)


def _worst_ratio(memories: NDArray[Any]) -> NDArray[np.float64]:
    ratio = _skill(memories).relative_mae()
    return np.asarray(np.nan_to_num(ratio, nan=-np.inf).max(axis=1, initial=-np.inf))


# What the largest of comes first.
RANKS: dict[str, Callable[[Rows, NDArray[Any]], NDArray[np.float64]]] = {
    "seen": lambda rows, memories: rows.seen,
    "events": lambda rows, memories: memories["seq"].astype(np.float64),
    "error": lambda rows, memories: _worst_ratio(memories),
    "covered": lambda rows, memories: np.asarray(memories["covered"].min(axis=1, initial=np.inf), np.float64),
}


def _skill(memories: Any) -> Accuracy:
    return Accuracy.read(lambda name: memories[name].astype(float))


def _each(rows: Rows, kind: np.dtype[Any]) -> Iterator[dict[str, Any]]:
    for key, entry, seen, memory in zip(
        rows.keys, rows.entries.tolist(), rows.seen.tolist(), np.frombuffer(rows.records, kind), strict=True
    ):
        yield _told(key, entry, seen, memory)


def _told(key: str, entry: int, seen: float, memory: np.void) -> dict[str, Any]:
    """A stream in a few numbers; `events` is 0 before its first checkpoint."""
    return {
        "stream": key,
        "entry": entry,
        "events": int(memory["seq"]),
        "time": float(memory["time"]),
        "seen": seen,
        "value": memory["value"].tolist(),
        "expected": memory["expected"].tolist(),
        "warm": bool(memory["seq"] >= WARM_EVENTS),
        "error_ratio": np.round(_skill(memory).relative_mae(), DIGITS).tolist(),
        "covered": np.round(memory["covered"].astype(float), DIGITS).tolist(),
        "usual_gap_seconds": round(float(10.0 ** memory["usual"]), DIGITS),
        "mean": memory["mean"].tolist(),
        "deviation": np.sqrt(memory["variance"]).tolist(),
        "lowest": memory["lowest"].tolist(),
        "highest": memory["highest"].tolist(),
    }


def _one(database: Database, kind: np.dtype[Any], wanted: InspectOptions) -> list[str]:
    assert wanted.stream is not None
    rows = database.rows_of([wanted.stream])
    if not rows.keys:
        raise SettingsError("--stream", f"{wanted.stream!r} is not in {database.path}")
    (told,) = _each(rows, kind)
    (memory,) = np.frombuffer(rows.records, kind)
    ltm, stm = memory["ltm"].tolist(), memory["stm"].tolist()
    if wanted.as_json:
        return [in_json(told | {"ltm": ltm, "stm": stm})]
    features, targets = _names(database.identity.model, wanted.model, told)
    room, colour = screen.columns(), screen.coloured()
    lines = inspect_view.paragraphs(
        told, features, targets, database.identity.model, now=time.time(), columns=room, colour=colour
    )
    for layer, (long, short) in enumerate(zip(ltm, stm, strict=True)):
        lines += [
            "",
            *inspect_view.layer(layer, long, short, largest=wanted.largest, columns=room, colour=colour),
        ]
    return lines


def _names(model: str, path: Path | None, told: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What the numbers are called: by the model, if it is the one at hand; else they are counted."""
    try:
        at_hand = load_model(path)
    except ModelError:
        at_hand = load_model(None)
    if at_hand.id == model:
        return at_hand.spec.features, at_hand.spec.targets
    return (
        [f"feature {n}" for n in range(len(told["value"]))],
        [f"target {n}" for n in range(len(told["expected"]))],
    )
