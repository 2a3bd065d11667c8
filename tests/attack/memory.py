"""Final memory: the records of a state file, and those of the same events without a fault."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.service.assembly import load_model
from stream_lstm.store.database import Database
from tests.attack.clients import Publisher, Subscriber
from tests.attack.record import EVENTS, Record
from tests.attack.service import ServiceProcess
from tests.brokers import Mosquitto

UNLIMITED = "max_queued_messages 1000000", "max_inflight_messages 0"
SECONDS_MAX = 300.0


def records(state: Path) -> dict[str, bytes]:
    """The record of each stream in a state file."""
    found = {}
    with closing(Database.open_read_only(state)) as database:
        size = database.identity.row_bytes
        for chunk in database.rows():
            for n, key in enumerate(chunk.keys):
                found[key] = chunk.records[n * size : (n + 1) * size]
    return found


def folded(state: Path) -> dict[str, bytes]:
    """The records that the journal's events give, from the first one on, in one run."""
    model = load_model(None)
    with closing(Database.open_read_only(state)) as database:
        names: dict[int, str] = {}
        for chunk in database.rows():
            names.update(zip(chunk.ids.tolist(), chunk.keys, strict=True))
        memories = Memories(model.spec, rows_max=len(names))
        engine = Engine(model, memories)
        rows: dict[int, int] = {}
        first = True
        for entry in database.entries(0):
            assert not first or entry.number == 1, "the journal does not begin with the first entry"
            first = False
            streams = entry.batch.streams.tolist()
            for stream in streams:
                if stream not in rows:
                    rows[stream] = memories.add(names[stream], stream)
            engine.apply(entry.batch.with_streams(np.array([rows[stream] for stream in streams], np.intp)))
    places = np.array(list(rows.values()), np.intp)
    return dict(zip(memories.keys(places.tolist()), memories.records(places), strict=True))


async def undisturbed(folder: Path, events: list[tuple[str, bytes]], *, qos: int) -> tuple[Path, Record]:
    """Let a fresh service predict the same events, with a time, in their order, without a fault.

    Args:
        folder: an empty one.

    Returns:
        Its state file, and the predictions.
    """
    broker = Mosquitto(folder, *UNLIMITED).start()
    service = ServiceProcess(folder / "service", broker.port, timed=True, qos=qos)
    record = Record(unique=True)
    publisher = Publisher(broker.port)
    subscriber = Subscriber(broker.port, "predictions/#", record.receive)
    status = Subscriber(broker.port, "stream_lstm/status", lambda payload: online.set(), name="status")
    online = asyncio.Event()
    tasks = [asyncio.create_task(client.run()) for client in (publisher, subscriber, status)]
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await subscriber.subscribed.wait()
            service.start()
            await online.wait()
            for topic, payload in events:
                await publisher.space()
                publisher.publish(f"{EVENTS}{topic}", payload)
            await publisher.drain()
            while len(record.received) < len(events):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await service.stop()
        assert service.stops == [(0, True)], service.tail()
        return service.state, record
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.end()
        broker.kill()
