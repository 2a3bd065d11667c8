"""Chart of events per second: docs/performance.svg from results/pipeline.json and results/fed.json.

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

SERVICE, OTHERS = "#2867c9", "#9aa3ad"
TARGET = machine.ROOT / "docs" / "performance.svg"


def results(name: str) -> dict[str, Any]:
    """Checked-in results of a benchmark."""
    content: dict[str, Any] = json.loads((machine.RESULTS / f"{name}.json").read_text())
    return content


def main() -> None:
    pipeline, fed = results("pipeline")["medians"], results("fed")["fed"]
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    names = list(pipeline)[::-1]
    speeds = [pipeline[name]["events_per_second"] / 1e3 for name in names]
    left.barh(names, speeds, color=[SERVICE if name.startswith("service") else OTHERS for name in names])
    left.set_title("through mosquitto", fontsize=10)
    for axis, varied, unit in ((middle, "streams", "streams"), (right, "payloads", "bytes a payload")):
        rows = {name: row for name, row in fed.items() if varied in name}
        sizes = [int("".join(filter(str.isdigit, name))) for name in rows]
        axis.plot(sizes, [row["events_per_second"] / 1e3 for row in rows.values()], "o-", color=SERVICE)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(unit)
        axis.set_title("fed without a broker, QoS 1, fsync", fontsize=10)
    left.set_xlabel("thousand events per second")
    middle.set_ylabel("thousand events per second")
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(TARGET, metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
