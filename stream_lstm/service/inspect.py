"""`stream-lstm inspect`: what a state file remembers, for people or as JSON lines."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from stream_lstm.core.skill import WARM_EVENTS, Skill
from stream_lstm.errors import SettingsError
from stream_lstm.store.database import Database
from stream_lstm.store.rows import Rows

LAYER_UNITS_SHOWN_MAX = 256
DIGITS = 3


def inspect(path: Path, *, stream: str | None, limit: int, as_json: bool) -> None:
    """Print the streams of a state file, or all of one.

    Raises:
        SettingsError: there is no such file or stream.
        StateError: the file cannot be read.
    """
    if not path.exists():
        raise SettingsError(str(path), "there is no such state file")
    database = Database.peek(path)
    try:
        kind = np.dtype(ast.literal_eval(database.identity.row))
        if stream is not None:
            _one(database, kind, stream, as_json=as_json)
        else:
            _list(database, kind, limit, as_json=as_json)
    finally:
        database.close()


def _list(database: Database, kind: np.dtype[Any], limit: int, *, as_json: bool) -> None:
    total = database.streams
    if not as_json:
        model = database.identity.model
        click.echo(f"{database.path}: {total:,} streams, {database.last_entry:,} entries, model {model}")
        head = f"{'stream':50} {'events':>9} {'last value':>14} {'expected next':>14}"
        click.echo(f"{head} {'error':>7} {'covered':>8}  last event (UTC)")
    shown = 0
    for key, entry, memory in _memories(database, kind):
        if shown >= limit:
            break
        shown += 1
        told = _told(key, entry, memory)
        click.echo(json.dumps(told) if as_json else _line(told))
    if shown < total and not as_json:
        click.echo(f"… and {total - shown:,} more (--limit)")


def _memories(database: Database, kind: np.dtype[Any]) -> Iterator[tuple[str, int, np.void]]:
    for rows in database.rows():
        yield from _each(rows, kind)


def _each(rows: Rows, kind: np.dtype[Any]) -> Iterator[tuple[str, int, np.void]]:
    return zip(rows.keys, rows.entries.tolist(), np.frombuffer(rows.records, kind), strict=True)


def _told(key: str, entry: int, memory: np.void) -> dict[str, Any]:
    """A stream in a few numbers; `events` is 0 before its first checkpoint."""
    return {
        "stream": key,
        "entry": entry,
        "events": int(memory["seq"]),
        "time": float(memory["time"]),
        "value": memory["value"].tolist(),
        "expected": memory["expected"].tolist(),
        "warm": bool(memory["seq"] >= WARM_EVENTS),
        "error_ratio": _ratios(memory),
        "covered": np.round(memory["covered"].astype(float), DIGITS).tolist(),
        "usual_gap_seconds": round(float(10.0 ** memory["usual"]), DIGITS),
        "mean": memory["mean"].tolist(),
        "deviation": np.sqrt(memory["variance"]).tolist(),
    }


def _ratios(memory: np.void) -> list[float | None]:
    """Mean error of late by that of "same as last time", by target; None where nothing was judged."""
    ratios = Skill(*(memory[name].astype(float) for name in Skill._fields)).ratio()
    return [None if ratio != ratio else round(ratio, DIGITS) for ratio in ratios.tolist()]


def _line(told: dict[str, Any]) -> str:
    if not told["events"]:
        return f"{told['stream']:50} {'–':>9}  (no checkpoint yet; its events are in the journal)"
    when = datetime.fromtimestamp(told["time"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    value, expected = (", ".join(f"{x:.6g}" for x in told[name][:3]) for name in ("value", "expected"))
    error = ", ".join("–" if ratio is None else f"{ratio:.2f}" for ratio in told["error_ratio"][:3])
    covered = ", ".join(f"{share:.0%}" for share in told["covered"][:3])
    return (
        f"{told['stream']:50} {told['events']:9,} {value:>14} {expected:>14} {error:>7} {covered:>8}  {when}"
    )


def _one(database: Database, kind: np.dtype[Any], stream: str, *, as_json: bool) -> None:
    rows = database.rows_of([stream])
    if not rows.keys:
        raise SettingsError("--stream", f"{stream!r} is not in {database.path}")
    ((key, entry, memory),) = _each(rows, kind)
    told = _told(key, entry, memory) | {name: memory[name].tolist() for name in ("ltm", "stm")}
    if as_json:
        click.echo(json.dumps(told))
        return
    for name, value in told.items():
        if name not in ("ltm", "stm"):
            click.echo(f"{name:10} {value}")
    for layer, (ltm, stm) in enumerate(zip(memory["ltm"], memory["stm"], strict=True)):
        click.echo(f"layer {layer}: unit, LTM (for long), STM (for now)")
        for unit in range(min(len(ltm), LAYER_UNITS_SHOWN_MAX)):
            click.echo(f"  {unit:4} {ltm[unit]:+9.4f} {stm[unit]:+9.4f}  {_bar(float(stm[unit]))}")


def _bar(value: float) -> str:
    """A number in [-1, 1] as a bar around a middle."""
    size = round(abs(value) * 20)
    return f"{('█' * size):>20}|" if value < 0 else f"{'':20}|{'█' * size}"
