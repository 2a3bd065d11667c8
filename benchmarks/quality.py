"""How good the predictions are: recorded streams through the engine, beside simpler and other methods.

    python -m benchmarks.quality                      the streams in benchmarks/data
    python -m benchmarks.quality --streams DIR        others: DIR/**/*.csv of timestamp,value
    python -m benchmarks.quality --deep-river         its LSTM, too, if it is installed; takes minutes

Each error is a mean absolute one by that of "same as last time"; every event but the first counts. Which
streams the model was trained on is read from the model file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import detection, machine
from stream_lstm.backtest import baselines
from stream_lstm.backtest.figures import Course, Figures, follow, judge
from stream_lstm.backtest.files import Series, read
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import Model
from stream_lstm.events import Batch
from stream_lstm.service.assembly import load_model

DATA = Path(__file__).parent / "data"
WINDOWS = "anomaly_windows.json"
BATCH = 256
REPEATS = 60
Doubles = NDArray[np.float64]
Method = Callable[[Doubles, Doubles], Doubles]


class Result(NamedTuple):
    """Of one stream: our figures, and the other methods' errors by persistence's."""

    name: str
    held_out: bool
    figures: Figures
    others: dict[str, float]


def streams_in(folder: Path) -> list[Series]:
    paths = sorted(folder.rglob("*.csv"))
    if not paths:
        raise SystemExit(f"{folder} holds no .csv files")
    return [
        Series(str(path.relative_to(folder).with_suffix("")), *series[1:])
        for path in paths
        for series in read(path)
    ]


def holt_winters(times: Doubles, values: Doubles) -> Doubles:
    """river's, additive, level and trend; its season has no use for streams without a fixed period."""
    from river.time_series import HoltWinters

    model: Any = HoltWinters(alpha=0.3, beta=0.1)  # type: ignore[no-untyped-call, unused-ignore]
    said = np.full(len(values), np.nan)
    for n, value in enumerate(values.tolist()):
        if n > 1:
            (said[n],) = model.forecast(horizon=1)
        elif n:
            said[n] = values[0]
        model.learn_one(value)
    return said


def deep_river(times: Doubles, values: Doubles) -> Doubles:
    """deep-river's LSTM of 32 units over a window of 10 events, learning every weight at every event.

    It sees the scaled value and predicts the next scaled step, as ours does.
    """
    import torch
    from deep_river.regression.zoo import LSTMRegressor

    torch.set_num_threads(1)
    model = LSTMRegressor(n_features=2, hidden_size=32, window_size=10, optimizer_fn="adam", lr=3e-3, seed=1)
    said = baselines.persistence(values)
    mean, variance, before = values[0], 0.0, None
    for n in range(1, len(values)):
        deviation = max(np.sqrt(variance), abs(mean) * 1e-13 + 1e-30)
        if before is not None:
            model.learn_one(before, float(np.clip((values[n - 1] - values[n - 2]) / deviation, -5, 5)))
        step = float(np.clip((values[n - 1] - values[max(n - 2, 0)]) / deviation, -5, 5))
        before = {"value": float(np.clip((values[n - 1] - mean) / deviation, -10, 10)), "step": step}
        if variance > 0.0:
            said[n] += float(np.clip(model.predict_one(before), -5, 5)) * deviation
        share = max(1.0 / (n + 1), 1.0 / baselines.MEMORY_EVENTS)
        news = values[n] - mean
        mean, variance = mean + share * news, (1.0 - share) * (variance + share * news * news)
    return said


def measure(
    model: Model, streams: Sequence[Series], methods: dict[str, Method]
) -> tuple[list[Result], list[Course], dict[str, float]]:
    """Results by stream, what was said, and microseconds an event of each method, one stream at a time."""
    made = model.spec.made
    trained = set(made.get("trained_on", "").split(", "))
    courses = follow(model, streams)
    seconds, results = dict.fromkeys(methods, 0.0), []
    for stream, course in zip(streams, courses, strict=True):
        figures, others = judge(stream, course), {}
        for name, method in methods.items():
            begun = time.perf_counter()
            said = method(stream.times, stream.values)
            seconds[name] += time.perf_counter() - begun
            others[name] = figures.by_persistence(float(np.abs(stream.values - said)[1:].mean()))
        results.append(Result(stream.name, stream.name not in trained, figures, others))
    events = sum(len(stream.values) for stream in streams)
    return results, courses, {name: 1e6 * spent / events for name, spent in seconds.items()}


def event_cost(model: Model) -> float:
    """Microseconds an event, whole: scale, gates, readout, adaptation, interval, score, at batch 256."""
    engine = Engine(model, Memories(model.spec, rows_max=BATCH))
    rows = np.array([engine.memories.admit(str(n), n + 1) for n in range(BATCH)], np.intp)
    rng, spent = np.random.default_rng(0), []
    for n in range(REPEATS):
        batch = Batch.timed(rows, np.full(BATCH, 1.7e9 + n * 60), rng.normal(20, 1, (BATCH, 1)))
        begun = time.perf_counter()
        engine.apply(batch)
        spent.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(spent) / BATCH


def table(results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    lines = [
        f"{'stream':48} {'':4} {'events':>7} {'ours':>6} "
        + " ".join(f"{name:>13}" for name in methods)
        + f" {'first 50':>9} {'covered':>8} {'alerts':>6}"
    ]
    return lines + [_line(of, methods) for of in results]


def _line(of: Result, methods: Sequence[str]) -> str:
    figures = of.figures
    return (
        f"{of.name[-48:]:48} {'held' if of.held_out else '':4} {figures.events:7,} {figures.ratio:6.3f} "
        + " ".join(f"{of.others[name]:13.3f}" for name in methods)
        + f" {figures.first:9.3f} {figures.covered:8.1%} {figures.alerts:6}"
    )


def summary(results: Sequence[Result], methods: Sequence[str]) -> dict[str, Any]:
    moving = [of for of in results if of.figures.persistence > 0.0]
    return {
        "streams": len(results),
        "ours": statistics.median(of.figures.ratio for of in moving),
        **{name: statistics.median(of.others[name] for of in moving) for name in methods},
        "better than last time": statistics.mean(of.figures.ratio < 1.0 for of in moving),
        "worst": max(of.figures.ratio for of in moving),
        "first 50": statistics.median(of.figures.first for of in moving),
        "covered 88 to 92 %": statistics.mean(0.88 <= of.figures.covered <= 0.92 for of in results),
        "alerts in 1,000 events": 1e3
        * sum(of.figures.alerts for of in results)
        / sum(of.figures.events for of in results),
    }


def labelled_in(
    folder: Path, streams: Sequence[Series], courses: Sequence[Course]
) -> dict[str, detection.Labelled]:
    """The labelled streams with the anomaly of each event that was told; none where there are no labels."""
    if not (folder / WINDOWS).exists():
        return {}

    def epoch(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    labels = json.loads((folder / WINDOWS).read_text())
    return {
        stream.name: detection.Labelled(
            stream.times,
            course.incident_score,
            [(epoch(a), epoch(b)) for a, b in labels[f"{stream.name}.csv"]],
        )
        for stream, course in zip(streams, courses, strict=True)
        if f"{stream.name}.csv" in labels
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=Path, default=DATA, help="a folder of CSV files (timestamp,value)")
    parser.add_argument("--model", type=Path, help="a model file; the default model if left out")
    parser.add_argument("--deep-river", action="store_true", help="compare with deep-river's LSTM, too")
    options = parser.parse_args()
    model, streams = load_model(options.model), streams_in(options.streams)
    methods: dict[str, Method] = {
        "a day ago": baselines.seasonal,
        "least squares": baselines.least_squares,
        "Holt-Winters": holt_winters,
    }
    if options.deep_river:
        methods["deep-river"] = deep_river
    results, courses, costs = measure(model, streams, methods)
    print("\n".join(table(results, list(methods))))
    parts = {
        "all": results,
        "held out": [of for of in results if of.held_out],
        "trained on": [of for of in results if not of.held_out],
    }
    found = {name: summary(part, list(methods)) for name, part in parts.items() if part}
    print(f"\n{'':26}" + "".join(f"{name:>12}" for name in found))
    for line in next(iter(found.values())):
        print(f"{line:26}" + "".join(f"{of[line]:12.3f}" for of in found.values()))
    labelled = labelled_in(options.streams, streams, courses)
    scores = detection.score(labelled) if labelled else {}
    for profile, of in scores.items():
        print(f"anomaly benchmark, {profile:16} {of:5.1f} of 100")
    costs = {"ours, batch 256": event_cost(model)} | costs
    print("microseconds an event: " + ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items()))
    kept = {
        "streams": str(options.streams.name),
        "model": model.id,
        "summary": found,
        "anomaly_benchmark": scores,
        "microseconds_an_event": costs,
        "by_stream": [
            {
                "name": of.name,
                "held_out": of.held_out,
                **of.figures._asdict(),
                "ratio": of.figures.ratio,
                **of.others,
            }
            for of in results
        ],
    }
    if options.streams == DATA:
        print(f"kept in {machine.keep('quality', kept)}")


if __name__ == "__main__":
    main()
