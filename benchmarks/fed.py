"""Throughput of the service without a broker, by number of streams and size of payloads.

The service runs on one core, a fake broker that sends faster than a real one (`benchmarks.fake_broker`) on
another. The number of streams and the payload size vary one at a time, from 1,000 streams and payloads of
about 100 bytes.

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
from benchmarks.fake_broker import FakeBroker
from benchmarks.filled import fill
from benchmarks.load import Frames
from stream_lstm.demo.broker import free_port

WINDOW = 20_000  # events in flight; MQTT 5 has 65,535 packet identifiers
TOPICS = 1_000
STREAMS = (100, 1_000, 10_000, 100_000)
PAYLOAD_BYTES = (100, 300, 1_000, 3_000)
SETTLE_SECONDS = 0.3  # between the subscription and the first event


@contextmanager
def feeding(
    qos: int, cores: Sequence[int], prefix: Sequence[str] = (), *, http: int = 0, streams: int = 0
) -> Iterator[tuple[FakeBroker, int]]:
    """Run the service, connected to a fake broker; gives the broker and the service's process id.

    Args:
        prefix: a command that starts the service, such as a profiler.
        http: the service's HTTP port; 0 for a free one.
        streams: number of streams in its state file at the start.
    """
    folder, broker = Path(tempfile.mkdtemp(prefix="stream-lstm-bench-")), FakeBroker()
    config = settings.write(folder, port=broker.port, qos=qos, http=http or free_port())
    if streams:
        fill(folder / "state.db", streams)
    service = subprocess.Popen(
        [*prefix, sys.executable, "-m", "stream_lstm", "run", "--config", str(config)],
        cwd=machine.ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )
    try:
        broker.accept()
        time.sleep(SETTLE_SECONDS)
        yield broker, service.pid
    finally:
        service.send_signal(signal.SIGINT if prefix else signal.SIGKILL)
        service.wait()
        broker.close()
        shutil.rmtree(folder)


def measure(
    events: int,
    *,
    qos: int,
    cores: Sequence[int],
    window: int = WINDOW,
    topics: int = TOPICS,
    payload_bytes: int = 0,
) -> dict[str, float]:
    """Events per second and CPU time an event, after each stream has had two events."""
    shape = {"topics": topics, "qos": qos, "payload_bytes": payload_bytes}
    with feeding(qos, cores) as (broker, pid):
        warmup = max(2 * topics, WINDOW)
        broker.feed(Frames(0, warmup, **shape), qos=qos, window=window)
        frames, before = Frames(warmup, events, **shape), machine.cpu_seconds(pid)
        fed = broker.feed(frames, qos=qos, window=window)
        spent = machine.cpu_seconds(pid) - before
    return {"events_per_second": events / fed.seconds, "cpu_us_per_event": spent / events * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which medians count (5)")
    parser.add_argument(
        "--events", type=int, default=200_000, help="number of events in each measurement (200,000)"
    )
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    results: dict[str, dict[str, float]] = {}

    def row(name: str, *, qos: int = 1, events: int = options.events, **load: int) -> None:
        rows = [measure(events, qos=qos, cores=cores, **load) for _ in range(options.rounds)]
        results[name] = medians = machine.medians(rows) | {
            "least": min(row["events_per_second"] for row in rows),
            "most": max(row["events_per_second"] for row in rows),
        }
        speed = medians["events_per_second"]
        limits = f"({medians['least']:,.0f} to {medians['most']:,.0f})"
        cpu = f"{medians['cpu_us_per_event']:6.2f} us CPU per event"
        print(f"{name:28} {speed:10,.0f} events/s {limits}  {cpu}", flush=True)

    row("QoS 1, window 20,000")
    row("QoS 1, window 1,000", window=1_000)
    row("QoS 0", qos=0)
    for topics in STREAMS:
        row(f"{topics:,} streams", topics=topics, events=max(options.events, 2 * topics))
    for size in PAYLOAD_BYTES:
        row(f"payloads of {size:,} bytes", payload_bytes=size, events=options.events // 2)
    print(f"written: {machine.keep('fed', {'fed': results})}")


if __name__ == "__main__":
    main()
