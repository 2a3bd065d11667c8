"""`stream-lstm replay`: recordings into a broker or through a model, or a journal through a model."""

from __future__ import annotations

import asyncio
import heapq
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from stream_lstm.backtest.files import EventSeries, read_events
from stream_lstm.cli.options import require_extra
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.codec.timestamps import epoch_seconds
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.errors import SettingsError
from stream_lstm.events import Clock, Events
from stream_lstm.recordings import Recording, read, schedule
from stream_lstm.service.assembly import CLIENT_ID, client_options, load_model
from stream_lstm.service.settings import load
from stream_lstm.store.database import Database

BATCH_EVENTS_MAX = 1_024  # a trade-off: larger batches gain little time, and delay the first prediction


def replay(
    *,
    files: Sequence[Path],
    config: Path | None,
    topic: str,
    field: str,
    speed: float | None,
    straight: bool,
    journal: bool,
    model: Path | None,
) -> None:
    """Replay recordings or a journal; the command's help describes the options.

    Raises:
        SettingsError: options exclude each other, a file cannot be read, or the extra `demo` is missing.
    """
    if journal:
        if len(files) != 1:
            raise SettingsError("--journal", "takes one state file")
        _print(_through(load_model(model), _of_journal(files[0], load_model(model))))
        return
    if straight:
        loaded = load_model(model)
        features = loaded.spec.features
        events = (
            _of_recordings([read(path) for path in files], field)
            if len(features) == 1
            else _of_series(
                [
                    read_events(path, features, rows_min=1, hint="its columns must have the features' names")
                    for path in files
                ]
            )
        )
        _print(_through(loaded, events))
        return
    recordings = [read(path) for path in files]
    if "{name}" not in topic and len(recordings) > 1:
        raise SettingsError("--topic", "must hold {name} for several files")
    if not topic or set(topic) & set("+#"):
        raise SettingsError("--topic", "must be a topic, without the wildcards + and #")
    require_extra("demo", "aiomqtt")
    asyncio.run(_into_broker(recordings, config, topic, field, speed))


def _print(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")


def _through(model: LstmModel, batches: Iterable[Events]) -> Iterator[bytes]:
    """Predictions for events in order, starting with blank memories."""
    encoder = Encoder(model.id, model.spec)
    features = len(model.spec.features)
    engine = Engine(model, Memories(model.spec, rows_max=1_000_000))
    memories = engine.memories
    for events in batches:
        for key in events.keys:
            if key not in memories:
                memories.add(key, len(memories) + 1)
        rows = np.array(memories.rows(events.keys), np.intp)
        yield from encoder.encode(events, engine.apply(events.batch(rows, features)))


def _of_recordings(recordings: Sequence[Recording], field: str) -> Iterator[Events]:
    """All readings, ordered by their time since the start of their recording."""
    events = Events()
    for due in schedule(recordings, speed=1.0, seconds=None):
        events.keys.append(f"{due.name}:{field}")
        events.times.append(epoch_seconds(due.reading.time, time.time()))
        events.marks.append(Clock.EVENT)
        events.values.append(due.reading.value)
        if len(events) >= BATCH_EVENTS_MAX:
            yield events
            events = Events()
    yield events


def _of_series(streams: Sequence[EventSeries]) -> Iterator[Events]:
    """All events of several features, ordered by their time since the start of their recording."""

    def timed(stream: EventSeries) -> Iterator[tuple[float, str, float, list[float]]]:
        for at, values in zip(stream.times.tolist(), stream.values.tolist(), strict=True):
            yield max(at - stream.times[0], 0.0), stream.name, at, values

    events = Events()
    for _, key, at, values in heapq.merge(*map(timed, streams), key=lambda each: each[0]):
        events.keys.append(key)
        events.times.append(at)
        events.marks.append(Clock.EVENT)
        events.values += values
        if len(events) >= BATCH_EVENTS_MAX:
            yield events
            events = Events()
    yield events


def _of_journal(path: Path, model: LstmModel) -> Iterator[Events]:
    """The events in a state file's journal, from its oldest entry on."""
    database = Database.open_read_only(path)
    try:
        features = len(model.spec.features)
        keys = {
            stream: key
            for rows in database.rows()
            for stream, key in zip(rows.ids.tolist(), rows.keys, strict=True)
        }
        for entry in database.entries(0):
            if entry.batch.values.shape[1] != features:
                raise SettingsError(
                    str(path), f"its events have {entry.batch.values.shape[1]} features, the model {features}"
                )
            yield Events.from_batch([keys[n] for n in entry.batch.streams.tolist()], entry.batch)
    finally:
        database.close()


async def _into_broker(
    recordings: Sequence[Recording], config: Path | None, topic: str, field: str, speed: float | None
) -> None:
    """Publish every reading when it is due, at QoS 1; connect again after a lost connection."""
    from stream_lstm.demo.publisher import Publisher, publications

    options = replace(client_options(load(config)), client_id=f"{CLIENT_ID}-replay-{os.getpid()}")
    dues = schedule(recordings, speed=speed or math.inf, seconds=None)
    total = sum(len(recording.readings) for recording in recordings)
    with click.progressbar(length=total, label="publishing", file=sys.stderr) as bar:
        publisher = Publisher(
            options,
            publications(dues, topic=topic, field=field),
            report=lambda line: click.echo(line, err=True),
            progress=bar.update,
        )
        await publisher.run()
    click.echo(f"{publisher.published:,} readings published", err=True)
