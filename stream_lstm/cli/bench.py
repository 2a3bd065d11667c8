"""`stream-lstm bench`: time per event of the engine alone, on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.events import Batch
from stream_lstm.json_output import in_json
from stream_lstm.service.assembly import load_model

REPEATS = 7  # the median of seven ignores three disturbed runs
SECONDS_EACH = 0.15  # long against the clock's resolution; five batch sizes then take 5 s


def bench(path: Path | None, batches: Sequence[int], *, as_json: bool) -> None:
    """Print the time per event for each batch size, the median of `REPEATS`; as JSON if asked."""
    model = load_model(path)
    spec = model.spec
    if not as_json:
        click.echo(f"model {model.id}: {spec.layers} layer(s) of {spec.units} units")
        click.echo(f"{'batch':>7} {'us/event':>10} {'events/s':>12}")
    found = []
    for size in batches:
        seconds = statistics.median(seconds_an_event(model_engine(model, size), size) for _ in range(REPEATS))
        found.append({"batch": size, "seconds_per_event": seconds, "events_per_second": 1 / seconds})
        if not as_json:
            click.echo(f"{size:7} {seconds * 1e6:10.2f} {1 / seconds:12,.0f}")
    if as_json:
        of = {"model": model.id, "layers": spec.layers, "units": spec.units}
        click.echo(in_json(of | {"batches": found}))


def model_engine(model: LstmModel, streams: int) -> Engine:
    """An engine with a number of blank streams, in the rows from 1 on."""
    memories = Memories(model.spec, rows_max=streams)
    for n in range(streams):
        memories.add(str(n), n + 1)
    return Engine(model, memories)


def seconds_an_event(engine: Engine, size: int) -> float:
    """Seconds per event in batches of one size, measured for `SECONDS_EACH`."""
    rng = np.random.default_rng(0)
    rows, times = np.arange(1, size + 1), np.full(size, 1e9)
    values = rng.normal(20.0, 1.0, (size, len(engine.model.spec.features)))
    engine.apply(Batch.timed(rows, times, values))
    rounds, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < SECONDS_EACH:
        engine.apply(Batch.timed(rows, times, values))
        rounds += 1
    return spent / (rounds * size)
