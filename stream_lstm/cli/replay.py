"""`stream-lstm replay`: recordings into a broker, or straight through a model; a journal once more."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec
import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.codec.timestamps import epoch_seconds
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import Model
from stream_lstm.errors import SettingsError
from stream_lstm.events import Clock, Events
from stream_lstm.recordings import Due, Recording, read, schedule
from stream_lstm.service.assembly import client_options, load_model
from stream_lstm.service.mqtt import Granted, MqttClient
from stream_lstm.service.settings import load
from stream_lstm.store.database import Database

EVENTS_TOGETHER_MAX = 1_024
CONNECT_SECONDS_MAX = 15.0


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
    """Do as the options say; see the command's help.

    Raises:
        SettingsError: the options do not fit together, or a file cannot be read.
    """
    if journal:
        if len(files) != 1:
            raise SettingsError("--journal", "takes one state file")
        _print(_through(load_model(model), _of_journal(files[0], load_model(model))))
        return
    recordings = [read(path) for path in files]
    if straight:
        _print(_through(load_model(model), _of_recordings(recordings, field)))
        return
    if "{name}" not in topic and len(recordings) > 1:
        raise SettingsError("--topic", "must hold {name} when there are several files")
    asyncio.run(_into_broker(recordings, config, topic, field, speed))


def _print(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")


def _through(model: Model, batches: Iterable[Events]) -> Iterator[bytes]:
    """Predictions of events in order, from blank memories."""
    encoder = Encoder(model.id, model.spec)
    wide = len(model.spec.features)
    engine = Engine(model, Memories(model.spec, rows_max=1_000_000))
    memories = engine.memories
    for events in batches:
        for key in events.keys:
            if key not in memories:
                memories.admit(key, len(memories) + 1)
        rows = np.array(memories.rows(events.keys), np.intp)
        yield from encoder.encode(events, engine.apply(events.batch(rows, wide)))


def _of_recordings(recordings: Sequence[Recording], field: str) -> Iterator[Events]:
    """All readings, by their time since the recordings' start."""
    events = Events()
    for due in schedule(recordings, speed=1.0, seconds=None):
        events.keys.append(f"{due.name}:{field}")
        events.times.append(epoch_seconds(due.reading.time, time.time()))
        events.marks.append(Clock.EVENT)
        events.values.append(due.reading.value)
        if len(events) >= EVENTS_TOGETHER_MAX:
            yield events
            events = Events()
    yield events


def _of_journal(path: Path, model: Model) -> Iterator[Events]:
    """What a state file still holds of the past, from its oldest entry on."""
    database = Database.open_read_only(path)
    try:
        wide = len(model.spec.features)
        keys = {
            stream: key
            for rows in database.rows()
            for stream, key in zip(rows.ids.tolist(), rows.keys, strict=True)
        }
        for entry in database.entries(0):
            if entry.batch.values.shape[1] != wide:
                raise SettingsError(
                    str(path), f"its events have {entry.batch.values.shape[1]} features, the model {wide}"
                )
            yield Events.from_batch([keys[n] for n in entry.batch.streams.tolist()], entry.batch)
    finally:
        database.close()


class _Watcher:
    """Says what the link finds."""

    def connected(self, verdict: Granted) -> None:
        """The link has connected."""
        click.echo("connected", err=True)

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """The link is not connected."""
        click.echo(f"not connected: {reason}; trying again in {retry_seconds:.1f} s", err=True)


async def _into_broker(
    recordings: Sequence[Recording], config: Path | None, topic: str, field: str, speed: float | None
) -> None:
    """Publish every reading at QoS 1, when it is due."""
    options = replace(
        client_options(load(config)),
        client_id=f"stream-lstm-replay-{os.getpid()}",
        filters=(),
        session_expiry_seconds=0,
        publish_qos=1,
        publish_retain=False,
        status_topic="",
    )
    link = MqttClient(options, observer=_Watcher())
    linking = asyncio.create_task(link.run())
    sending = asyncio.create_task(_send(link, recordings, topic, field, speed))
    try:
        await asyncio.wait((linking, sending), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            click.echo(f"{sending.result():,} readings published", err=True)
        else:
            linking.result()  # raises what ended it
    finally:
        sending.cancel()
        await link.stop()
        await asyncio.gather(linking, sending, return_exceptions=True)


async def _send(
    link: MqttClient, recordings: Sequence[Recording], topic: str, field: str, speed: float | None
) -> int:
    """Returns how many readings were published and confirmed."""
    due = schedule(recordings, speed=speed or math.inf, seconds=None)
    total, number, begun = sum(len(recording.readings) for recording in recordings), 0, time.monotonic()
    with click.progressbar(length=total, label="publishing", file=sys.stderr) as bar:
        for together in _together(due, begun):
            ahead = begun + together[-1].at - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            number += 1
            await link.deliver(number, [_message(d, topic, field) for d in together], [])
            bar.update(len(together))
    await link.confirm(number)
    return total


def _together(dues: Iterable[Due], begun: float) -> Iterator[list[Due]]:
    """Readings that are due at once, some at a time."""
    waiting: list[Due] = []
    for due in dues:
        late = due.at <= time.monotonic() - begun
        if waiting and (not late or len(waiting) >= EVENTS_TOGETHER_MAX):
            yield waiting
            waiting = []
        waiting.append(due)
    if waiting:
        yield waiting


def _message(due: Due, topic: str, field: str) -> tuple[str, bytes]:
    payload = {"timestamp": due.reading.time, field: due.reading.value}
    return topic.replace("{name}", due.name), msgspec.json.encode(payload)
