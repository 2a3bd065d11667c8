"""Draw what was measured: docs/performance.svg of results/line.json and results/fed.json.

python -m benchmarks.draw
"""

from __future__ import annotations

import json
from typing import Any

import matplotlib

from benchmarks import machine

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "stream_lstm"
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot  # noqa: E402

OURS, OTHERS = "#2867c9", "#9aa3ad"
TARGET = machine.ROOT / "docs" / "performance.svg"


def kept(name: str) -> dict[str, Any]:
    """The figures of a benchmark."""
    found: dict[str, Any] = json.loads((machine.RESULTS / f"{name}.json").read_text())
    return found


def main() -> None:
    line, fed = kept("line")["medians"], kept("fed")["fed"]
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    names = list(line)[::-1]
    speeds = [line[name]["events_per_second"] / 1e3 for name in names]
    left.barh(names, speeds, color=[OURS if name.startswith("service") else OTHERS for name in names])
    left.set_title("through mosquitto", fontsize=10)
    for axis, sign, unit in ((middle, "streams", "streams"), (right, "payloads", "bytes a payload")):
        rows = {name: row for name, row in fed.items() if sign in name}
        sizes = [int("".join(filter(str.isdigit, name))) for name in rows]
        axis.plot(sizes, [row["events_per_second"] / 1e3 for row in rows.values()], "o-", color=OURS)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(unit)
        axis.set_title("fed without a broker, QoS 1, fsync", fontsize=10)
    left.set_xlabel("thousand events a second")
    middle.set_ylabel("thousand events a second")
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(TARGET, metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
