"""Cost of a million streams: memory, checkpoint, recovery, and commit delay during a checkpoint.

Runs the service's engine, state writer and state file on events made here, without a broker.

    python -m benchmarks.streams --streams 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.events import Batch
from stream_lstm.service.assembly import identity, load_model
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import PublishSettings, StateSettings
from stream_lstm.service.state.recovery import RecoveredState, recover
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.database import Database
from stream_lstm.store.entry import Entry

BATCH = 1_024
PROBE_EVENTS = 256  # a batch
PROBES = 400  # batches without a checkpoint: enough for a p99
PROBE_PAUSE_SECONDS = 0.002


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


class Pipeline:
    """Apply and commit as in the service's pipeline, without MQTT."""

    def __init__(self, path: Path, streams: int) -> None:
        self.model = load_model(None)
        self.database = Database.open(path, identity(self.model))
        builder = PublicationBuilder(
            PublishSettings(), Encoder(self.model.id, self.model.spec), status_topic=""
        )
        self.recovered: RecoveredState = recover(
            self.database, self.model, builder, streams_max=streams, now=time.time()
        )
        self.state_writer = StateWriter(self.database, self.recovered, StateSettings(path=path), Counters())

    async def apply(self, rows: np.ndarray[Any, Any], new_streams: list[tuple[int, str]]) -> float:
        """Apply and commit one batch; returns the duration in seconds."""
        begun = time.perf_counter()
        memories = self.recovered.memories
        values = np.random.default_rng(0).normal(20.0, 1.0, (len(rows), 1))
        times = np.full(len(rows), 1.7e9)
        batch = Batch.timed(rows, times, values)
        self.recovered.engine.apply(batch)
        number = self.state_writer.number + 1
        self.recovered.registry.record_applied(rows, number, 1.7e9)
        entry = Entry(
            number=number,
            model=self.model.id,
            batch=batch.with_streams(memories.ids[rows].astype(np.intp)),
            new_streams=new_streams,
            digests=np.empty((0, 2), np.uint64),
            rejected=[],
            published_through=number - 1,
            acked_through=number - 1,
        )
        await self.state_writer.commit(entry)
        return time.perf_counter() - begun


async def confirmed(number: int) -> None:
    """Confirm at once, as if every prediction had reached the broker."""


async def probe(pipeline: Pipeline, streams: int, during: asyncio.Task[Any] | None) -> list[float]:
    """Milliseconds of each batch, until a task is done or for `PROBES` batches."""
    rng = np.random.default_rng(1)
    taken: list[float] = []
    while (during is None and len(taken) < PROBES) or (during is not None and not during.done()):
        rows = rng.choice(streams, PROBE_EVENTS, replace=False) + 1
        taken.append(await pipeline.apply(rows.astype(np.intp), []) * 1e3)
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
    return taken


async def measure(path: Path, streams: int) -> dict[str, float]:
    small = Pipeline(path.with_name("small.db"), 1)  # loads the compiled engine, which is no stream's cost
    await small.apply(np.array([small.recovered.memories.add("a", 1)]), [(1, "a")])
    await small.state_writer.close(cleanly=False)
    before = resident_bytes()
    pipeline = Pipeline(path, streams)
    for start in range(0, streams, BATCH):
        keys = [
            (n + 1, f"plant/line{n % 40}/sensor{n:07}:v") for n in range(start, min(start + BATCH, streams))
        ]
        rows = np.array([pipeline.recovered.memories.add(key, n) for n, key in keys], np.intp)
        await pipeline.apply(rows, keys)
    figures = {"memory_bytes_a_stream": (resident_bytes() - before) / streams}
    calm = await probe(pipeline, streams, None)
    begun = time.perf_counter()
    checkpoint = asyncio.create_task(pipeline.state_writer.checkpoint(confirmed))
    busy = await probe(pipeline, streams, checkpoint)
    figures["checkpoint_seconds"] = time.perf_counter() - begun
    for name, taken in (("calm", calm), ("checkpointing", busy)):
        figures[f"batch_ms_p50_{name}"] = statistics.median(taken)
        figures[f"batch_ms_p99_{name}"] = statistics.quantiles(taken, n=100)[98]
    figures["state_bytes_a_stream"] = pipeline.database.size_bytes / streams
    await pipeline.state_writer.close(cleanly=False)
    del pipeline
    begun = time.perf_counter()
    restarted = Pipeline(path, streams)
    figures["restart_seconds"] = time.perf_counter() - begun
    figures["replayed_events"] = restarted.recovered.replayed
    await restarted.state_writer.close(cleanly=False)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000_000)
    streams = parser.parse_args().streams
    with tempfile.TemporaryDirectory(prefix="stream-lstm-bench-") as folder:
        figures = asyncio.run(measure(Path(folder) / "state.db", streams))
    for name, number in figures.items():
        print(f"{name:28} {number:12,.2f}")
    print(f"written: {machine.keep('streams', {'streams': streams, **figures})}")


if __name__ == "__main__":
    main()
