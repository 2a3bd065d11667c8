"""CPU and delay at everyday rates, beside a bare echo and a handwritten script; and one stream at full speed.

Through mosquitto with `set_tcp_nodelay`: broker and sensors on one core, the contender on another, one after
another in each round. The delay is that from sending an event to receiving its prediction. One stream alone
is fed without a broker.

    python -m benchmarks.everyday --rounds 5
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from benchmarks import fed, machine
from benchmarks.pipeline import Contender, contenders, latency

RATES = (10, 100, 1_000, 5_000)  # events per second, over as many streams
STREAMS_MAX = 1_000
SECONDS = 10.0  # of each measurement
ALONE = {"one stream, window 1,000": (1_000, 60_000), "one stream, one after another": (1, 12_000)}


def compared() -> list[Contender]:
    """The service, also with fewer commits, and the others, at QoS 1."""
    service, *others = [contender for contender in contenders(0) if contender.qos == 1]
    fewer = replace(service, name="service, a commit in 2 ms", commit_interval_seconds=0.002)
    return [service, fewer, *others]


def alone(cores: list[int]) -> dict[str, float]:
    """Events per second of a single stream, by the number of events in flight."""
    return {
        name: fed.measure(events, qos=1, cores=cores, window=window, topics=1)["events_per_second"]
        for name, (window, events) in ALONE.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which medians count (5)")
    rounds = parser.parse_args().rounds
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    measured: dict[str, list[dict[str, float]]] = {}
    singles = []
    for _ in range(rounds):
        for rate in RATES:
            for contender in compared():
                name = f"{contender.name}, {rate:,} events/s"
                row = latency(contender, cores, rate, topics=min(rate, STREAMS_MAX), seconds=SECONDS)
                measured.setdefault(name, []).append(row)
        singles.append(alone(cores))
    medians = {name: machine.medians(rows) for name, rows in measured.items()}
    print(f"{'':36} {'CPU':>7} {'p50 ms':>8} {'p99 ms':>8}")
    for name, row in medians.items():
        late = f"  {row['unanswered']:,.0f} unanswered" if row["unanswered"] else ""
        print(f"{name:36} {row['cpu_share']:7.1%} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f}{late}")
    single = machine.medians(singles)
    for name, speed in single.items():
        print(f"{name:36} {speed:,.0f} events/s")
    results = {"rounds": measured, "medians": medians, "one_stream": single, "one_stream_rounds": singles}
    print(f"written: {machine.keep('everyday', results)}")


if __name__ == "__main__":
    main()
