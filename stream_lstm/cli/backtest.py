"""`stream-lstm backtest`: forecast quality on recorded streams, as a table, a page and JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from stream_lstm import __version__
from stream_lstm.backtest import classes, files, report
from stream_lstm.backtest.classes import ClassEvaluation
from stream_lstm.backtest.evaluation import (
    Evaluation,
    StreamRun,
    evaluate_stream,
    predict,
    run_events,
    run_streams,
)
from stream_lstm.backtest.files import Series
from stream_lstm.core.model.file import LstmModel
from stream_lstm.errors import SettingsError
from stream_lstm.json_output import in_json

NAME_WIDTH = 44
LABEL = "label"  # the column of labels, unless another is named


class Columns(NamedTuple):
    """Which columns of the files to read.

    Attributes:
        time: of times; None: the first.
        values: of values; empty: those of the model's features, or with a single feature every other column.
        label: of a classifying model's labels; None: `LABEL`.
    """

    time: str | None
    values: Sequence[str]
    label: str | None


def backtest(
    paths: Sequence[Path], model: LstmModel, columns: Columns, *, page: Path | None, numbers: Path | None
) -> None:
    """Print the metrics of each stream, and write page and JSON.

    Args:
        page: file of the report; None: no report.
        numbers: file of the JSON; None: no JSON.

    Raises:
        SettingsError: a file cannot be read or written, or an option does not fit the model.
    """
    if model.spec.labels:
        if page:
            raise SettingsError(
                "--report", f"draws forecasts, and {model.id} makes none: it classifies; use --json"
            )
        _write(_classes(paths, model, columns), numbers)
        return
    if columns.label:
        raise SettingsError("--label", f"{model.id} does not classify")
    streams, runs, targets = _runs(paths, model, columns)
    evaluations = []
    with click.progressbar(
        length=sum(len(stream.values) for stream in streams), label="comparing", file=sys.stderr
    ) as bar:
        for stream, run in zip(streams, runs, strict=True):
            evaluations.append(evaluate_stream(stream, run, targets=targets))
            bar.update(len(stream.values))
    click.echo("\n".join(table(streams, evaluations)))
    if page:
        _write(report.as_page("Backtest", model.id, streams, runs, evaluations), page)
    _write(report.as_json(model.id, streams, runs, evaluations), numbers)


def _runs(
    paths: Sequence[Path], model: LstmModel, columns: Columns
) -> tuple[list[Series], list[StreamRun], int]:
    """A series and a run for each target of each stream, and the number of targets of a stream."""
    spec = model.spec
    if spec.features == spec.targets and len(spec.features) == 1:
        streams = [
            series for path in paths for series in files.read(path, time=columns.time, values=columns.values)
        ]
        total = sum(len(stream.values) for stream in streams)
        with click.progressbar(length=total, label="predicting", file=sys.stderr) as bar:
            return streams, run_streams(model, streams, bar.update), 1
    events = [
        files.read_events(path, spec.features, time=columns.time, values=columns.values) for path in paths
    ]
    series = [
        Series(
            stream.name if len(spec.targets) == 1 else f"{stream.name}:{target}",
            stream.times,
            stream.values[:, spec.features.index(target)]
            if target in spec.features
            else stream.numbers(target, path),
        )
        for path, stream in zip(paths, events, strict=True)
        for target in spec.targets
    ]
    runs = [run for each in run_events(model, events) for run in each]
    return series, runs, len(spec.targets)


def _classes(paths: Sequence[Path], model: LstmModel, columns: Columns) -> str:
    """Print a classifying model's metrics; returns them as JSON."""
    spec, label = model.spec, columns.label or LABEL
    streams = [
        files.read_events(path, spec.features, time=columns.time, values=columns.values) for path in paths
    ]
    labels = [
        classes.label_indices(stream.texts(label, path), spec.labels, path)
        for path, stream in zip(paths, streams, strict=True)
    ]
    predictions = predict(model, streams)
    evaluations = [
        classes.evaluate_classes(found.probabilities, which)
        for found, which in zip(predictions, labels, strict=True)
    ]
    all_ = classes.total(evaluations)
    names = [stream.name for stream in streams]
    click.echo("\n".join(class_table([*names, "all"], [*evaluations, all_])))
    by_stream = [{"name": name} | of.fields() for name, of in zip(names, evaluations, strict=True)]
    written = {"version": __version__, "model": model.id, "all": all_.fields(), "streams": by_stream}
    return in_json(written, indent=1)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(str(path), f"cannot be written: {error.strerror}") from None
    click.echo(f"written: {path}", err=True)


def table(streams: Sequence[Series], evaluations: Sequence[Evaluation]) -> list[str]:
    """A line of titles, a line for each stream, and a line of medians."""
    lines = [
        f"{'stream':{NAME_WIDTH}} {'events':>9} {'error':>7} {'seasonal':>8} {'squares':>8} {'first 50':>9} "
        f"{'covered':>8} {'alerts':>7}"
    ]
    for stream, of in zip(streams, evaluations, strict=True):
        day, squares = of.relative(of.seasonal_naive_mae), of.relative(of.least_squares_mae)
        lines.append(
            f"{stream.name[-NAME_WIDTH:]:{NAME_WIDTH}} {of.events:9,} {of.relative_mae:7.3f} {day:8.3f} "
            f"{squares:8.3f} {of.first_relative_mae:9.3f} {report.percent(of.coverage):>8} {of.alerts:7,}"
        )
    all_ = report.summary(evaluations)
    lines.append(
        f"{'median':{NAME_WIDTH}} {all_['events']:9,} {all_['median_ratio']:7.3f} "
        f"{all_['median_ratio_seasonal']:8.3f} {all_['median_ratio_least_squares']:8.3f} "
        f"{all_['median_ratio_first_events']:9.3f} {report.percent(all_['median_covered']):>8} "
        f"{all_['alerts']:7,}"
    )
    lines.append("error, seasonal, squares, first 50: relative to the last-value forecast; 1.0 is no better")
    return lines


def class_table(names: Sequence[str], evaluations: Sequence[ClassEvaluation]) -> list[str]:
    """A line of titles, and a line for each name."""
    lines = [
        f"{'stream':{NAME_WIDTH}} {'events':>9} {'labelled':>9} {'correct':>8} {'majority':>8} "
        f"{'last label':>10} {'log loss':>8}"
    ]
    for name, of in zip(names, evaluations, strict=True):
        share = of.fields()
        lines.append(
            f"{name[-NAME_WIDTH:]:{NAME_WIDTH}} {of.events:9,} {of.labelled:9,} {share['accuracy']:8.1%} "
            f"{share['accuracy_majority']:8.1%} {share['accuracy_last_label']:10.1%} {share['log_loss']:8.3f}"
        )
    lines.append("majority: the label seen most often before; last label: the one before")
    return lines
