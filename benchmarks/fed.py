"""The service fed faster than a broker could: what it carries by itself, and how that depends on the load.

One core for the service, another for the feeder (`benchmarks.fake`). Streams and payload sizes are varied,
one at a time, from 1,000 streams and payloads of about 100 bytes.

    python -m benchmarks.fed
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine, settings
from benchmarks.fake import Fake
from benchmarks.filled import fill
from benchmarks.load import Frames
from stream_lstm.demo.broker import free_port

WINDOW = 20_000
TOPICS = 1_000
STREAMS = (100, 1_000, 10_000, 100_000)
PAYLOAD_BYTES = (100, 300, 1_000, 3_000)
SETTLE_SECONDS = 0.3


@contextmanager
def feeding(
    qos: int, cores: Sequence[int], prefix: Sequence[str] = (), *, http: int = 0, streams: int = 0
) -> Iterator[tuple[Fake, int]]:
    """A feeder, and the process id of a service that is connected to it.

    Args:
        prefix: a command that the service is run by.
        http: the service's port; 0: a free one.
        streams: so many are known to it already.
    """
    folder, fake = Path(tempfile.mkdtemp(prefix="stream-lstm-bench-")), Fake()
    config = settings.written(folder, port=fake.port, qos=qos, http=http or free_port())
    if streams:
        fill(folder / "state.db", streams)
    service = subprocess.Popen(
        [*prefix, sys.executable, "-m", "stream_lstm", "run", "--config", str(config)],
        cwd=machine.ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )
    try:
        fake.greet()
        time.sleep(SETTLE_SECONDS)
        yield fake, service.pid
    finally:
        service.send_signal(signal.SIGINT if prefix else signal.SIGKILL)
        service.wait()
        fake.close()
        shutil.rmtree(folder)


def measured(
    events: int,
    *,
    qos: int,
    cores: Sequence[int],
    window: int = WINDOW,
    topics: int = TOPICS,
    payload_bytes: int = 0,
) -> dict[str, float]:
    """Events a second and CPU time an event, once every stream is known."""
    shape = {"topics": topics, "qos": qos, "payload_bytes": payload_bytes}
    with feeding(qos, cores) as (fake, pid):
        warm = max(2 * topics, WINDOW)
        fake.feed(Frames(0, warm, **shape), qos=qos, window=window)
        frames, before = Frames(warm, events, **shape), machine.cpu_seconds(pid)
        fed = fake.feed(frames, qos=qos, window=window)
        spent = machine.cpu_seconds(pid) - before
    return {"events_per_second": events / fed.seconds, "cpu_us_per_event": spent / events * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (5)")
    parser.add_argument("--events", type=int, default=200_000, help="in each measurement (200,000)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    kept: dict[str, dict[str, float]] = {}

    def row(name: str, *, qos: int = 1, events: int = options.events, **load: int) -> None:
        rows = [measured(events, qos=qos, cores=cores, **load) for _ in range(options.rounds)]
        kept[name] = found = machine.medians(rows) | {
            "least": min(row["events_per_second"] for row in rows),
            "most": max(row["events_per_second"] for row in rows),
        }
        said = f"{found['events_per_second']:10,.0f} events/s ({found['least']:,.0f} to {found['most']:,.0f})"
        print(f"{name:28} {said}  {found['cpu_us_per_event']:6.2f} us CPU an event", flush=True)

    row("QoS 1, window 20,000")
    row("QoS 1, window 1,000", window=1_000)
    row("QoS 0", qos=0)
    for topics in STREAMS:
        row(f"{topics:,} streams", topics=topics, events=max(options.events, 2 * topics))
    for size in PAYLOAD_BYTES:
        row(f"payloads of {size:,} bytes", payload_bytes=size, events=options.events // 2)
    print(f"kept in {machine.keep('fed', {'fed': kept})}")


if __name__ == "__main__":
    main()
