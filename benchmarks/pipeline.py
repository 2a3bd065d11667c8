"""Throughput and latency of the whole pipeline through mosquitto: service, bare echo, handwritten script.

Each contender runs with a mosquitto of its own, one after another in each round: broker and sensors on one
core, the contender on another. An event counts when its prediction has come back from the broker.

    python -m benchmarks.pipeline --rounds 5
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mqtt5
import msgspec

from benchmarks import machine, settings
from benchmarks.load import SEQ_FROM, Client, Frames, Sensors, Stalled, topic
from stream_lstm.demo.broker import free_port

TOPICS = 1_000
WINDOW = 2_000  # events that the sensors may have unacknowledged
LATENCY_SECONDS = 8.0  # of which the first is left out
RATES = (1_000, 5_000)  # events per second
SETTLE_SECONDS = 2.0  # after the start, before the CPU time of an idle service counts
IDLE_SECONDS = 20.0
ANSWER_SECONDS_MAX = 120.0  # for the last prediction of a throughput measurement
LATE_ANSWER_SECONDS_MAX = 20.0  # for the last predictions of a latency measurement
MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay {nodelay}
log_type none
"""


@dataclass(frozen=True)
class Contender:
    """Program under comparison.

    Attributes:
        qos: of its subscription.
        events: number in one measurement; a slow contender gets fewer.
        suffix: of its predictions' topics, after the sensor's topic.
        number: returns the number of the event that a prediction answers, by the number of topics.
        commit_interval_seconds: of the service.
    """

    name: str
    qos: int
    events: int
    suffix: str
    number: Callable[[dict[str, Any], int], int]
    commit_interval_seconds: float = 0.0


def _by_seq(prediction: dict[str, Any], topics: int) -> int:
    """Event number from the service's stream and `seq`, which counts each stream's events."""
    return (int(prediction["seq"]) - 1) * topics + int(prediction["stream"][9:13])


def _by_number(answer: dict[str, Any], topics: int) -> int:
    """Event number from the payload's own `seq`, which the other contenders send back."""
    return int(answer["seq"]) - SEQ_FROM


def contenders(events: int) -> list[Contender]:
    """Contenders; the first is the service, to which the others are compared."""
    few = max(events // 20, TOPICS)
    return [
        Contender("service, QoS 1, fsync", 1, events, ":temp", _by_seq),
        Contender("echo, QoS 1", 1, events, "", _by_number),
        Contender("handwritten, QoS 1", 1, few, "", _by_number),
        Contender("service, QoS 0", 0, events, ":temp", _by_seq),
        Contender("echo, QoS 0", 0, events, "", _by_number),
    ]


@contextmanager
def running(contender: Contender, cores: list[int], *, nodelay: bool = False) -> Iterator[tuple[int, int]]:
    """Run a broker and a contender; gives the broker's port and the contender's process id.

    Args:
        nodelay: the broker sends each packet at once. Otherwise it joins small ones, as by default (Nagle's
            algorithm): more events a second, but some wait for up to 40 ms.
    """
    folder = Path(tempfile.mkdtemp(prefix="stream-lstm-bench-"))
    port = free_port()
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "mosquitto is needed: tools/get-programs mosquitto"
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "broker.conf").write_text(MOSQUITTO.format(port=port, nodelay=str(nodelay).lower()) + user)
    broker = _start([program, "-c", str(folder / "broker.conf")], cores[0])
    process = None
    try:
        _wait_for_broker(port)
        process = _start(_command(contender, folder, port), cores[-1], folder)
        if process.stdout:
            assert process.stdout.readline() == b"ready\n"
        yield port, process.pid
    finally:
        for child in (process, broker):
            if child:
                child.send_signal(signal.SIGKILL)
                child.wait()
        shutil.rmtree(folder)


def _command(contender: Contender, folder: Path, port: int) -> list[str]:
    if contender.name.startswith("service"):
        interval, http = contender.commit_interval_seconds, free_port()
        config = settings.write(folder, port=port, qos=contender.qos, http=http, interval=interval)
        return [sys.executable, "-m", "benchmarks.contenders.service", str(config), str(http)]
    module = contender.name.split(",")[0]
    return [sys.executable, "-m", f"benchmarks.contenders.{module}", str(port), str(contender.qos)]


def _start(command: list[str], core: int, folder: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process on one core; with a folder, a contender that prints `ready`."""
    return subprocess.Popen(
        command,
        cwd=machine.ROOT,
        stdout=subprocess.PIPE if folder else subprocess.DEVNULL,
        stderr=None if folder else subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def _wait_for_broker(port: int) -> None:
    for _ in range(1_000):
        try:
            Client(port, "probe").close()
            return
        except OSError:
            time.sleep(0.01)
    raise Stalled("broker")


def _wait_for_prediction(reader: Client, mark: str) -> float:
    """Wait for the prediction that contains `mark`; returns the time, on the monotonic clock."""
    end = time.monotonic() + ANSWER_SECONDS_MAX
    while time.monotonic() < end:
        for packet in reader.packets():
            if isinstance(packet, mqtt5.PublishPacket) and mark.encode() in packet.payload:
                return time.monotonic()
    raise Stalled(mark)


def throughput(contender: Contender, cores: list[int]) -> dict[str, float]:
    """Events per second and CPU time an event, from the first event to the last prediction."""
    with running(contender, cores) as (port, pid):
        reader = Client(port, "reader")
        reader.subscribe(f"predictions/{topic(TOPICS - 1, TOPICS)}{contender.suffix}")
        sensors = Sensors(port, window=WINDOW)
        total = -(-contender.events // TOPICS) * TOPICS
        warmup, frames = (
            Frames(start, count, topics=TOPICS, qos=contender.qos)
            for start, count in ((0, 2 * TOPICS), (2 * TOPICS, total))
        )
        sensors.send(warmup, qos=contender.qos)
        _wait_for_prediction(reader, _mark(contender, 2 * TOPICS - 1))
        before = machine.cpu_seconds(pid)
        begun = sensors.send(frames, qos=contender.qos)
        took = _wait_for_prediction(reader, _mark(contender, 2 * TOPICS + total - 1)) - begun
        spent = machine.cpu_seconds(pid) - before
        return {"events_per_second": total / took, "cpu_us_per_event": spent / total * 1e6}


def _mark(contender: Contender, event: int) -> str:
    """Text that only the prediction of this event contains, on its topic."""
    return f'"seq":{event // TOPICS + 1},' if contender.suffix else str(SEQ_FROM + event)


def latency(
    contender: Contender,
    cores: list[int],
    rate: int,
    *,
    topics: int = TOPICS,
    seconds: float = LATENCY_SECONDS,
) -> dict[str, float]:
    """Milliseconds from sending an event to receiving its prediction, and CPU, at a constant rate.

    The first second is left out of the delays, and all before the first event of the CPU.
    """
    with running(contender, cores, nodelay=True) as (port, pid):
        reader = Client(port, "reader")
        reader.subscribe("predictions/#")
        reader.socket.setblocking(False)
        sensors = Sensors(port, window=60_000)
        count = int(rate * seconds)
        times: list[float] = []
        arrived: dict[int, float] = {}

        def read() -> None:
            try:
                for packet in reader.packets():
                    if isinstance(packet, mqtt5.PublishPacket):
                        answer = msgspec.json.decode(packet.payload)
                        arrived[contender.number(answer, topics)] = time.monotonic()
            except BlockingIOError:
                pass

        frames = Frames(0, count, topics=topics, qos=contender.qos)
        begun, before = time.monotonic(), machine.cpu_seconds(pid)
        sensors.send(frames, qos=contender.qos, rate=rate, beside=read, times=times, reader=reader)
        end = time.monotonic() + LATE_ANSWER_SECONDS_MAX
        share = (machine.cpu_seconds(pid) - before) / (time.monotonic() - begun)
        while len(arrived) < count and time.monotonic() < end:
            read()
            time.sleep(0.0002)
        warmup = rate  # events of the first second
        delays = sorted((arrived[n] - times[n]) * 1e3 for n in arrived if n >= warmup)
        percentiles = statistics.quantiles(delays, n=100)
        return {
            "p50_ms": percentiles[49],
            "p99_ms": percentiles[98],
            "unanswered": float(count - len(arrived)),
            "cpu_share": share,
        }


def idle(cores: list[int]) -> dict[str, float]:
    """Seconds from start to ready with an empty state, and the share of a core that an idle service takes."""
    begun = time.monotonic()
    with running(contenders(0)[0], cores) as (_, pid):
        ready = time.monotonic() - begun
        time.sleep(SETTLE_SECONDS)
        before = machine.cpu_seconds(pid)
        time.sleep(IDLE_SECONDS)
        spent = machine.cpu_seconds(pid) - before
    return {"ready_seconds": ready, "idle_share": spent / IDLE_SECONDS}


def show(medians: dict[str, dict[str, float]]) -> None:
    """Print medians, and the service's speed relative to each contender's."""
    service = next(iter(medians.values()))["events_per_second"]
    print(f"{'':24} {'events/s':>10} {'us CPU/event':>13} {'service':>8}")
    for name, row in medians.items():
        ratio = service / row["events_per_second"]
        print(f"{name:24} {row['events_per_second']:10,.0f} {row['cpu_us_per_event']:13.1f} {ratio:7.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which medians count (5)")
    parser.add_argument(
        "--events", type=int, default=300_000, help="number of events in each measurement (300,000)"
    )
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    all_rounds: dict[str, list[dict[str, float]]] = {}
    for number in range(options.rounds):
        for contender in contenders(options.events):
            row = throughput(contender, cores)
            all_rounds.setdefault(contender.name, []).append(row)
            print(
                f"  round {number + 1}: {contender.name}: {row['events_per_second']:,.0f} events/s",
                flush=True,
            )
    medians = {name: machine.medians(rows) for name, rows in all_rounds.items()}
    show(medians)
    delays: dict[str, dict[str, float]] = {}
    for contender in contenders(options.events)[:3]:
        for rate in RATES:
            row = delays[f"{contender.name}, {rate:,} events/s"] = latency(contender, cores, rate)
            percentiles = f"p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms"
            print(f"{contender.name:24} at {rate:5,} events/s: {percentiles}", flush=True)
    without_load = idle(cores)
    ready, share = without_load["ready_seconds"], without_load["idle_share"]
    print(f"ready after {ready:.2f} s, idle at {share:.1%} of a core")
    results = {"rounds": all_rounds, "medians": medians, "latency": delays, "idle": without_load}
    print(f"written: {machine.keep('pipeline', results)}")


if __name__ == "__main__":
    main()
