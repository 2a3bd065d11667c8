"""The whole line, side by side: this service, a bare echo, and a script written by hand.

All of them through the same kind of mosquitto, one after another in each round: broker and sensors on one
core, the contender on another. An event counts when its prediction has come back from the broker.

    python -m benchmarks.line --rounds 5
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
from benchmarks.load import SEQ_FROM, Client, Dried, Frames, Sensors, topic
from stream_lstm.demo.broker import free_port

TOPICS = 1_000
WINDOW = 2_000
LATENCY_SECONDS = 8.0
RATES = (1_000, 5_000)
CALM_SECONDS = 20.0
QUIET_SECONDS_MAX = 20.0
MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
log_type none
"""


@dataclass(frozen=True)
class Contender:
    """One of those that are compared.

    Attributes:
        qos: at which it reads.
        events: of one measurement; a slow one gets fewer.
        suffix: of its predictions' topics, behind the sensor's.
        number: which event a prediction answers.
    """

    name: str
    qos: int
    events: int
    suffix: str
    number: Callable[[dict[str, Any]], int]


def _by_seq(prediction: dict[str, Any]) -> int:
    """The service counts each stream's events."""
    return (int(prediction["seq"]) - 1) * TOPICS + int(prediction["stream"][9:13])


def _by_number(answer: dict[str, Any]) -> int:
    return int(answer["seq"]) - SEQ_FROM


def contenders(events: int) -> list[Contender]:
    """All of them; the first is ours."""
    few = max(events // 20, TOPICS)
    return [
        Contender("service, QoS 1, fsync", 1, events, ":temp", _by_seq),
        Contender("echo, QoS 1", 1, events, "", _by_number),
        Contender("handwritten, QoS 1", 1, few, "", _by_number),
        Contender("service, QoS 0", 0, events, ":temp", _by_seq),
        Contender("echo, QoS 0", 0, events, "", _by_number),
    ]


@contextmanager
def running(contender: Contender, cores: list[int]) -> Iterator[tuple[int, int]]:
    """A broker and a contender that listens; gives the broker's port and the contender's process id."""
    folder = Path(tempfile.mkdtemp(prefix="stream-lstm-bench-"))
    port = free_port()
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "mosquitto is needed: tools/get-programs mosquitto"
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "broker.conf").write_text(MOSQUITTO.format(port=port) + user)
    broker = _start([program, "-c", str(folder / "broker.conf")], cores[0])
    process = None
    try:
        _until_open(port)
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
        config = settings.written(folder, port=port, qos=contender.qos, http=(http := free_port()))
        return [sys.executable, "-m", "benchmarks.contenders.service", str(config), str(http)]
    module = contender.name.split(",")[0]
    return [sys.executable, "-m", f"benchmarks.contenders.{module}", str(port), str(contender.qos)]


def _start(command: list[str], core: int, folder: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process on one core; with a folder it says on its standard output when it is ready."""
    return subprocess.Popen(
        command,
        cwd=machine.ROOT,
        stdout=subprocess.PIPE if folder else subprocess.DEVNULL,
        stderr=None if folder else subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def _until_open(port: int) -> None:
    for _ in range(1_000):
        try:
            Client(port, "probe").close()
            return
        except OSError:
            time.sleep(0.01)
    raise Dried("broker")


def _until_answered(reader: Client, last: str, seconds: float = QUIET_SECONDS_MAX * 6) -> float:
    """When the last event's prediction has come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for packet in reader.packets():
            if isinstance(packet, mqtt5.PublishPacket) and last.encode() in packet.payload:
                return time.monotonic()
    raise Dried(last)


def throughput(contender: Contender, cores: list[int]) -> dict[str, float]:
    """Events a second, and the contender's CPU time an event, from the first event to the last prediction."""
    with running(contender, cores) as (port, pid):
        reader = Client(port, "reader")
        reader.subscribe(f"predictions/{topic(TOPICS - 1, TOPICS)}{contender.suffix}")
        sensors = Sensors(port, window=WINDOW)
        total = -(-contender.events // TOPICS) * TOPICS
        warm, frames = (
            Frames(start, count, topics=TOPICS, qos=contender.qos)
            for start, count in ((0, 2 * TOPICS), (2 * TOPICS, total))
        )
        sensors.send(warm, qos=contender.qos)
        _until_answered(reader, _mark(contender, 2 * TOPICS - 1))
        before = machine.cpu_seconds(pid)
        begun = sensors.send(frames, qos=contender.qos)
        took = _until_answered(reader, _mark(contender, 2 * TOPICS + total - 1)) - begun
        spent = machine.cpu_seconds(pid) - before
        return {"events_per_second": total / took, "cpu_us_per_event": spent / total * 1e6}


def _mark(contender: Contender, event: int) -> str:
    """What the prediction of an event has and no other."""
    return f'"seq":{event // TOPICS + 1},' if contender.suffix else str(SEQ_FROM + event)


def latency(contender: Contender, cores: list[int], rate: int) -> dict[str, float]:
    """Milliseconds from an event's sending to its prediction's arrival, over some seconds at a rate."""
    with running(contender, cores) as (port, _):
        reader = Client(port, "reader")
        reader.subscribe("predictions/#")
        reader.socket.setblocking(False)
        sensors = Sensors(port, window=60_000)
        count = int(rate * LATENCY_SECONDS)
        times: list[float] = []
        arrived: dict[int, float] = {}

        def read() -> None:
            try:
                for packet in reader.packets():
                    if isinstance(packet, mqtt5.PublishPacket):
                        arrived[contender.number(msgspec.json.decode(packet.payload))] = time.monotonic()
            except BlockingIOError:
                pass

        frames = Frames(0, count, topics=TOPICS, qos=contender.qos)
        sensors.send(frames, qos=contender.qos, rate=rate, beside=read, times=times, reader=reader)
        end = time.monotonic() + QUIET_SECONDS_MAX
        while len(arrived) < count and time.monotonic() < end:
            read()
            time.sleep(0.0002)
        warm = rate  # the first second
        delays = sorted((arrived[n] - times[n]) * 1e3 for n in arrived if n >= warm)
        found = statistics.quantiles(delays, n=100)
        return {"p50_ms": found[49], "p99_ms": found[98], "unanswered": float(count - len(arrived))}


def calm(cores: list[int]) -> dict[str, float]:
    """Seconds until the service is ready with an empty state, and its share of a core when nothing comes."""
    begun = time.monotonic()
    with running(contenders(0)[0], cores) as (_, pid):
        ready = time.monotonic() - begun
        time.sleep(2.0)
        before = machine.cpu_seconds(pid)
        time.sleep(CALM_SECONDS)
        spent = machine.cpu_seconds(pid) - before
    return {"ready_seconds": ready, "idle_share": spent / CALM_SECONDS}


def show(figures: dict[str, dict[str, float]]) -> None:
    """Medians, and how they stand beside ours."""
    ours = next(iter(figures.values()))["events_per_second"]
    print(f"{'':24} {'events/s':>10} {'us CPU/event':>13} {'ours is':>8}")
    for name, row in figures.items():
        ratio = ours / row["events_per_second"]
        print(f"{name:24} {row['events_per_second']:10,.0f} {row['cpu_us_per_event']:13.1f} {ratio:7.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (5)")
    parser.add_argument("--events", type=int, default=300_000, help="in each measurement (300,000)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    all_rounds: dict[str, list[dict[str, float]]] = {}
    for number in range(options.rounds):
        for contender in contenders(options.events):
            found = throughput(contender, cores)
            all_rounds.setdefault(contender.name, []).append(found)
            print(
                f"  round {number + 1}: {contender.name}: {found['events_per_second']:,.0f} events/s",
                flush=True,
            )
    medians = {name: machine.medians(rows) for name, rows in all_rounds.items()}
    show(medians)
    delays: dict[str, dict[str, float]] = {}
    for contender in contenders(options.events)[:3]:
        for rate in RATES:
            row = delays[f"{contender.name}, {rate:,} events/s"] = latency(contender, cores, rate)
            said = f"p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms"
            print(f"{contender.name:24} at {rate:5,} events/s: {said}", flush=True)
    quiet = calm(cores)
    print(f"ready after {quiet['ready_seconds']:.2f} s, idle at {quiet['idle_share']:.1%} of a core")
    kept = {"rounds": all_rounds, "medians": medians, "latency": delays, "calm": quiet}
    print(f"kept in {machine.keep('line', kept)}")


if __name__ == "__main__":
    main()
