"""Where the time goes at full load: the service, fed, under py-spy; samples by stage.

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
# The first of these that a stack holds, from its inside, is its stage.
STAGES = {
    "step (stream_lstm/core/model/cell.py": "the four gates",
    "Engine.apply (": "the engine beside the gates",
    "parts (stream_lstm/core/batch.py": "cutting batches",
    "Encoder.encode (": "predictions to JSON",
    "Outbox.publications (": "topics of predictions",
    "Decoder.decode_all (": "JSON to events",
    "Worker._read (": "digests, window, copies",
    "Worker._take (": "rows, entry, counting",
    "publications (stream_lstm/service/mqtt/packets.py": "PUBLISH packets",
    "Outbound.deliver (": "writing, PUBACKs",
    "Framing.parse (": "MQTT packets (mqtt5)",
    "_read_ready (": "reading the socket",
    "Database.commit (": "journal (its own thread)",
}


def stage(stack: str) -> str:
    """What a stack was doing."""
    for frame in reversed(stack.split(";")):
        for sign, what in STAGES.items():
            if sign in frame:
                return what
    return "event loop, rest"


def main() -> None:
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise SystemExit("py-spy is needed: requirements/bench.txt holds it")
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    with tempfile.TemporaryDirectory(prefix="stream-lstm-bench-") as folder:
        raw = Path(folder) / "stacks"
        command = [program, "record", "--rate", "500", "--format", "raw", "--output", str(raw), "--"]
        with feeding(1, cores, command) as (fake, _):
            fake.feed(Frames(0, 2 * TOPICS, topics=TOPICS, qos=1), qos=1, window=WINDOW)
            fed = fake.feed(Frames(2 * TOPICS, EVENTS, topics=TOPICS, qos=1), qos=1, window=WINDOW)
        samples: Counter[str] = Counter()
        for line in raw.read_text().splitlines():
            stack, count = line.rsplit(" ", 1)
            if "run_forever" in stack or "Database." in stack:  # neither the start nor a thread that waits
                samples[stage(stack)] += int(count)
    total = samples.total()
    each = fed.seconds / EVENTS * 1e6
    print(f"{EVENTS / fed.seconds:,.0f} events/s under the profiler, {each:.2f} us an event")
    shares = {what: number / total for what, number in samples.most_common()}
    for what, share in shares.items():
        print(f"| {what:30} | {share:6.1%} | {share * each:5.2f} |")
    print(f"kept in {machine.keep('profile', {'us_an_event': each, 'share': shares})}")


if __name__ == "__main__":
    main()
