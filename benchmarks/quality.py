"""Accuracy of the forecasts on recorded streams, beside baselines and other libraries.

    python -m benchmarks.quality                      the streams in benchmarks/data
    python -m benchmarks.quality --streams DIR        others: DIR/**/*.csv of timestamp,value
    python -m benchmarks.quality --deep-river         also deep-river's LSTM, if installed; takes minutes

Each error is a mean absolute error relative to the last-value forecast (1.0 is no better) over every event
but the first. The model file names the streams that the model was trained on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import detection, machine
from stream_lstm.backtest import baselines
from stream_lstm.backtest.evaluation import (
    Evaluation,
    StreamRun,
    absolute_errors,
    evaluate_stream,
    median,
    median_relative_mae,
    run_streams,
)
from stream_lstm.backtest.files import Series, read
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.events import Batch
from stream_lstm.recordings import parse_time
from stream_lstm.service.assembly import load_model

DATA = Path(__file__).parent / "data"
WINDOWS = "anomaly_windows.json"
BATCH = 256  # events
REPEATS = 60  # timed batches, of which the median counts
Doubles = NDArray[np.float64]
Method = Callable[[Doubles, Doubles], Doubles]


class Result(NamedTuple):
    """Evaluation of one stream, and the relative errors of the other methods."""

    name: str
    held_out: bool
    evaluation: Evaluation
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
    """river's Holt-Winters with level and trend; its season needs a fixed period, which few streams have."""
    from river.time_series import HoltWinters

    model: Any = HoltWinters(alpha=0.3, beta=0.1)  # type: ignore[no-untyped-call, unused-ignore]
    forecast = np.full(len(values), np.nan)
    for n, value in enumerate(values.tolist()):
        if n > 1:
            (forecast[n],) = model.forecast(horizon=1)
        elif n:
            forecast[n] = values[0]
        model.learn_one(value)
    return forecast


def deep_river(times: Doubles, values: Doubles) -> Doubles:
    """deep-river's LSTM of 32 units over a window of 10 events, which trains all weights at every event.

    Its input is the scaled value and its target the next scaled step, as in the default model.
    """
    import torch
    from deep_river.regression.zoo import LSTMRegressor

    torch.set_num_threads(1)
    model = LSTMRegressor(n_features=2, hidden_size=32, window_size=10, optimizer_fn="adam", lr=3e-3, seed=1)
    forecast = baselines.last_value(values)
    mean, variance, before = values[0], 0.0, None
    for n in range(1, len(values)):
        deviation = max(np.sqrt(variance), abs(mean) * 1e-13 + 1e-30)
        if before is not None:
            model.learn_one(before, float(np.clip((values[n - 1] - values[n - 2]) / deviation, -5, 5)))
        step = float(np.clip((values[n - 1] - values[max(n - 2, 0)]) / deviation, -5, 5))
        before = {"value": float(np.clip((values[n - 1] - mean) / deviation, -10, 10)), "step": step}
        if variance > 0.0:
            forecast[n] += float(np.clip(model.predict_one(before), -5, 5)) * deviation
        share = max(1.0 / (n + 1), 1.0 / baselines.MEMORY_EVENTS)
        change = values[n] - mean
        mean, variance = mean + share * change, (1.0 - share) * (variance + share * change * change)
    return forecast


def measure(
    model: LstmModel, streams: Sequence[Series], methods: dict[str, Method]
) -> tuple[list[Result], list[StreamRun], dict[str, float]]:
    """Evaluate the model and the other methods.

    Returns:
        Results by stream, the model's runs, and microseconds an event of each method, one stream at a time.
    """
    trained_on = set(model.spec.made.get("trained_on", "").split(", "))
    runs = run_streams(model, streams)
    seconds, results = dict.fromkeys(methods, 0.0), []
    for stream, run in zip(streams, runs, strict=True):
        evaluation, others = evaluate_stream(stream, run), {}
        for name, method in methods.items():
            begun = time.perf_counter()
            forecast = method(stream.times, stream.values)
            seconds[name] += time.perf_counter() - begun
            others[name] = evaluation.relative(float(absolute_errors(stream.values, forecast).mean()))
        results.append(Result(stream.name, stream.name not in trained_on, evaluation, others))
    events = sum(len(stream.values) for stream in streams)
    return results, runs, {name: 1e6 * spent / events for name, spent in seconds.items()}


def event_cost(model: LstmModel) -> float:
    """Microseconds an event of the whole engine (scale to anomaly score), at batch 256."""
    engine = Engine(model, Memories(model.spec, rows_max=BATCH))
    rows = np.array([engine.memories.add(str(n), n + 1) for n in range(BATCH)], np.intp)
    rng, spent = np.random.default_rng(0), []
    for n in range(REPEATS):
        batch = Batch.timed(rows, np.full(BATCH, 1.7e9 + n * 60), rng.normal(20, 1, (BATCH, 1)))
        begun = time.perf_counter()
        engine.apply(batch)
        spent.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(spent) / BATCH


def table(results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    lines = [
        f"{'stream':48} {'':4} {'events':>7} {'stream_lstm':>11} "
        + " ".join(f"{name:>13}" for name in methods)
        + f" {'first 50':>9} {'coverage':>8} {'alerts':>6}"
    ]
    return lines + [_line(result, methods) for result in results]


def _line(result: Result, methods: Sequence[str]) -> str:
    of = result.evaluation
    return (
        f"{result.name[-48:]:48} {'held' if result.held_out else '':4} "
        + f"{of.events:7,} {of.relative_mae:11.3f} "
        + " ".join(f"{result.others[name]:13.3f}" for name in methods)
        + f" {of.first_relative_mae:9.3f} {of.coverage:8.1%} {of.alerts:6}"
    )


def summary(results: Sequence[Result], methods: Sequence[str]) -> dict[str, Any]:
    """All streams together: medians and shares over the streams that move."""
    evaluations = [result.evaluation for result in results]
    moving = [each for each in evaluations if each.moves]
    return {
        "streams": len(results),
        "stream_lstm": median_relative_mae(evaluations),
        **{name: median((result.others[name] for result in results), evaluations) for name in methods},
        "better than last value": statistics.mean(each.relative_mae < 1.0 for each in moving),
        "worst": max(each.relative_mae for each in moving),
        "first 50": median((each.first_relative_mae for each in evaluations), evaluations),
        "coverage 88 to 92 %": statistics.mean(each.well_covered for each in evaluations),
        "alerts per 1,000 events": 1e3
        * sum(each.alerts for each in evaluations)
        / sum(each.events for each in evaluations),
    }


def labelled_in(
    folder: Path, streams: Sequence[Series], runs: Sequence[StreamRun]
) -> dict[str, detection.Labelled]:
    """Incident scores of the streams that have labelled windows; empty if the folder has no labels."""
    if not (folder / WINDOWS).exists():
        return {}

    labels = json.loads((folder / WINDOWS).read_text())
    return {
        stream.name: detection.Labelled(
            stream.times,
            run.incident_score,
            [(parse_time(start), parse_time(end)) for start, end in labels[f"{stream.name}.csv"]],
        )
        for stream, run in zip(streams, runs, strict=True)
        if f"{stream.name}.csv" in labels
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=Path, default=DATA, help="folder of CSV files (timestamp,value)")
    parser.add_argument("--model", type=Path, help="model file; the default model if left out")
    parser.add_argument("--deep-river", action="store_true", help="also measure deep-river's LSTM")
    options = parser.parse_args()
    model, streams = load_model(options.model), streams_in(options.streams)
    methods: dict[str, Method] = {
        "seasonal naive": baselines.seasonal_naive,
        "least squares": baselines.least_squares,
        "Holt-Winters": holt_winters,
    }
    if options.deep_river:
        methods["deep-river"] = deep_river
    results, runs, costs = measure(model, streams, methods)
    print("\n".join(table(results, list(methods))))
    parts = {
        "all": results,
        "held out": [result for result in results if result.held_out],
        "trained on": [result for result in results if not result.held_out],
    }
    summaries = {name: summary(part, list(methods)) for name, part in parts.items() if part}
    print(f"\n{'':26}" + "".join(f"{name:>12}" for name in summaries))
    for line in next(iter(summaries.values())):
        print(f"{line:26}" + "".join(f"{numbers[line]:12.3f}" for numbers in summaries.values()))
    labelled = labelled_in(options.streams, streams, runs)
    scores = detection.score(labelled) if labelled else {}
    for profile, score in scores.items():
        print(f"anomaly benchmark, {profile:16} {score:5.1f} of 100")
    costs = {"stream_lstm, batch 256": event_cost(model)} | costs
    print("microseconds an event: " + ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items()))
    report = {
        "streams": str(options.streams.name),
        "model": model.id,
        "summary": summaries,
        "anomaly_benchmark": scores,
        "microseconds_an_event": costs,
        "by_stream": [
            {
                "name": result.name,
                "held_out": result.held_out,
                **result.evaluation.fields(),
                **result.others,
            }
            for result in results
        ],
    }
    if options.streams == DATA:
        print(f"written: {machine.keep('quality', report)}")


if __name__ == "__main__":
    main()
