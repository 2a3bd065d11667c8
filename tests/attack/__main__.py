"""Attack the delivery guarantees, count what is lost, doubled or changed: `make attack KILLS=200`.

Without options, several scenarios share the kills; the exit code is 1 if a promise was broken. With
--payload, one scenario is run with the options given. Payloads: `timed`, with a time; `unique`, without one,
no two equal; `constant`, 21.5 each time: their losses are counted, not judged.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.attack.scenario import BETWEEN, Report, Run, Scenario

KINDS = ["service", "broker", "both", "twice", "stop", "cut"]
COLUMNS = (
    *("scenario", "faults", "kills", "harms", "events", "missing", "unexp.", "doubled", "wrong", "early"),
    *("memories", "copies", "broker: lost", "saved", "doubled", "pred.", "exit", "s"),
)
DETAILS_MAX = 12


def mixed(kills: int, seed: int) -> list[Scenario]:
    """Scenarios that share this number of kills."""

    def share(percent: int) -> int:
        return max(kills * percent // 100, 1)

    return [
        Scenario("timed", 0, "service", share(20), seed=seed),
        Scenario("unique", 1, "service", share(20), cuts=True, seed=seed + 1),
        Scenario("timed", 1, "broker", share(15), seed=seed + 2),
        Scenario("timed", 1, "both", share(10), cuts=True, seed=seed + 3),
        Scenario("unique", 0, "broker", share(5), seed=seed + 4),
        Scenario("timed", 0, "both", share(5), seed=seed + 5),
        Scenario("timed", 0, "service", share(2), freezes=2, seed=seed + 6),
        Scenario("unique", 1, "service", share(3), freezes=2, seed=seed + 7),
        *(
            Scenario("constant", 0, kill, share(5), rate=100.0, between=(1.0, 2.0), seed=seed + 8)
            for kill in ("service", "twice", "cut", "stop")
        ),
    ]


def row(report: Report) -> tuple[object, ...]:
    """A line of the table."""
    verdict = report.verdict
    stops = {code for code, _ in report.stops}
    return (
        *(report.scenario.name, report.faults, report.kills, report.harms, report.events),
        *(verdict.missing, verdict.unexpected, verdict.doubled, verdict.wrong, report.early),
        *(report.differing, report.copies),
        *(verdict.broker_events, verdict.broker_saved, verdict.broker_doubled, verdict.broker_predictions),
        *(",".join(map(str, stops)), round(report.seconds)),
    )


def table(rows: list[tuple[object, ...]]) -> str:
    """Aligned columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]))
    return "\n".join(lines)


def constant(report: Report) -> str:
    """Readings lost and doubled, of a scenario with constant payloads."""
    lost = sum(max(count, 0) for count in report.lost.values())
    doubled = sum(max(-count, 0) for count in report.lost.values())
    faults, most = max(report.faults, 1), max(report.lost.values(), default=0)
    clean = sum(cleanly for _, cleanly in report.stops)
    scenario = report.scenario
    about = f"{scenario.name}, {scenario.events_per_second:g}/s over {scenario.streams} streams"
    return (
        f"{', '.join(filter(None, [about, scenario.more]))}: {report.faults} faults, "
        f"{report.events:,} readings, {lost} lost, {doubled} doubled: {lost / faults:.2f} lost a fault, "
        f"{lost / faults / scenario.streams:.4f} a fault and stream, at most {most} of one stream in all; "
        f"{clean} of {len(report.stops)} stops clean"
    )


def scenarios(options: argparse.Namespace) -> list[Scenario]:
    if options.payload is None:
        return mixed(options.kills, options.seed)
    return [
        Scenario(
            options.payload,
            options.qos,
            options.kill,
            options.kills if options.kill else 0,
            cuts=options.cuts,
            freezes=options.freeze,
            freeze_seconds=options.freeze_seconds,
            rate=options.rate,
            streams=options.streams,
            seed=options.seed,
            between=tuple(options.between),
            more=options.state,
        )
    ]


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="python -m tests.attack", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    out.add_argument("--kills", type=int, default=200, help="number of kills, stops or cuts (200)")
    out.add_argument("--kill", choices=KINDS, default="", help="of what; twice: again within the start")
    out.add_argument("--cuts", action="store_true", help="cut, stall and half-close at random bytes")
    out.add_argument("--freeze", type=int, default=0, help="SIGSTOPs of service and broker in turns (0)")
    out.add_argument("--freeze-seconds", type=float, default=30.0, help="length of each (30)")
    out.add_argument("--payload", choices=["timed", "unique", "constant"])
    out.add_argument("--qos", type=int, choices=[0, 1], default=0, help="of predictions (0)")
    out.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="events per second, of all streams (1,000; 60 with kills of the broker)",
    )
    out.add_argument("--streams", type=int, default=50)
    out.add_argument("--seed", type=int, default=1)
    out.add_argument(
        *("--between",), nargs=2, type=float, default=BETWEEN, help="seconds between two faults, from and to"
    )
    out.add_argument("--state", default="", help="a line of the service's [state]")
    return out


def main() -> int:
    """Run; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the processes that were started
    rows: list[tuple[object, ...]] = [COLUMNS]
    constants, good = [], True
    for scenario in scenarios(parser().parse_args()):
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            report = asyncio.run(Run(scenario, Path(folder)).run())
        if scenario.payload == "constant":
            constants.append(constant(report))
            print(constants[-1], flush=True)
        rows.append(row(report))
        print(table([COLUMNS, rows[-1]]), flush=True)
        for detail in report.verdict.details[:DETAILS_MAX]:
            print(f"    seed {scenario.seed}: {detail}", flush=True)
        good = good and report.good
    print("", table(rows), *constants, sep="\n", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
