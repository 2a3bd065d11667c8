"""Profile of the service at full load: samples of py-spy by stage.

python -m benchmarks.profile
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks import machine
from benchmarks.fed import feeding
from benchmarks.load import Frames

EVENTS, WINDOW, TOPICS = 1_500_000, 20_000, 1_000
RATE_HZ = 500  # samples; the profiler itself then costs about a third of the speed
# Stages by module or folder, asyncio's by method. A sample belongs to the stage of its innermost frame that
# is in one of these.
STAGES = {
    "stream_lstm/core/engine.py": "engine",
    "stream_lstm/core/codec/encoder.py": "encoding predictions to JSON",
    "stream_lstm/core/codec/decoder.py": "decoding JSON to events",
    "stream_lstm/service/publications.py": "topics of predictions",
    "stream_lstm/service/pipeline/ingest.py": "digests and deduplication",
    "stream_lstm/service/pipeline/": "rows, journal entry, counters",
    "stream_lstm/service/mqtt/packets.py": "PUBLISH packets",
    "stream_lstm/service/mqtt/outbound.py": "writing, PUBACKs",
    "stream_lstm/service/mqtt/framing.py": "MQTT packets (mqtt5)",
    "_read_ready (": "reading the socket",
    "stream_lstm/store/": "journal (its own thread)",
}


def stage(stack: str) -> str:
    """Stage of a sample, from frames such as `Engine.apply (stream_lstm/core/engine.py:93)`."""
    for frame in reversed(stack.split(";")):
        for place, name in STAGES.items():
            if place in frame:
                return name
    return "event loop, rest"


def check_stages() -> None:
    """Exit if a module or folder of `STAGES` has been renamed; its samples would count as the rest."""
    gone = [path for path in STAGES if path.startswith("stream_lstm/") and not (machine.ROOT / path).exists()]
    if gone:
        raise SystemExit(f"benchmarks/profile.py: STAGES names paths that do not exist: {', '.join(gone)}")


def main() -> None:
    check_stages()
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise SystemExit("py-spy is not installed: pip install -r requirements/bench.txt")
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    with tempfile.TemporaryDirectory(prefix="stream-lstm-bench-") as folder:
        raw = Path(folder) / "stacks"
        command = [program, "record", "--rate", str(RATE_HZ), "--format", "raw", "--output", str(raw), "--"]
        with feeding(1, cores, command) as (broker, _):
            broker.feed(Frames(0, 2 * TOPICS, topics=TOPICS, qos=1), qos=1, window=WINDOW)
            fed = broker.feed(Frames(2 * TOPICS, EVENTS, topics=TOPICS, qos=1), qos=1, window=WINDOW)
        samples: Counter[str] = Counter()
        for line in raw.read_text().splitlines():
            stack, count = line.rsplit(" ", 1)
            if "run_forever" in stack or "Database." in stack:  # not the start, not an idle thread
                samples[stage(stack)] += int(count)
    total = samples.total()
    each = fed.seconds / EVENTS * 1e6
    print(f"{EVENTS / fed.seconds:,.0f} events/s under the profiler, {each:.2f} us an event")
    shares = {name: number / total for name, number in samples.most_common()}
    for name, share in shares.items():
        print(f"| {name:34} | {share:6.1%} | {share * each:5.2f} |")
    print(f"written: {machine.keep('profile', {'us_an_event': each, 'share': shares})}")


if __name__ == "__main__":
    main()
