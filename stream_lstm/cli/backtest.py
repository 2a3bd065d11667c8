"""`stream-lstm backtest`: forecast quality on recorded streams, as a table, a page and JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from stream_lstm.backtest import files, report
from stream_lstm.backtest.evaluation import Evaluation, StreamRun, evaluate_stream, run_streams
from stream_lstm.backtest.files import Series
from stream_lstm.core.model.file import LstmModel
from stream_lstm.errors import SettingsError

NAME_WIDTH = 44


def backtest(
    paths: Sequence[Path],
    model: LstmModel,
    *,
    time: str | None,
    values: Sequence[str],
    page: Path | None,
    numbers: Path | None,
) -> None:
    """Print the metrics of each stream, and write page and JSON.

    Args:
        time: column of times; None: the first.
        values: columns of values; empty: every other column.
        page: file of the report; None: no report.
        numbers: file of the JSON; None: no JSON.

    Raises:
        SettingsError: a file cannot be read or written, or the model does not predict its one feature.
    """
    if model.spec.features != model.spec.targets or len(model.spec.features) != 1:
        raise SettingsError("--model", f"{model.id} does not have one feature that is also its target")
    streams = [series for path in paths for series in files.read(path, time=time, values=values)]
    total = sum(len(stream.values) for stream in streams)
    with click.progressbar(length=total, label="predicting", file=sys.stderr) as bar:
        courses = run_streams(model, streams, bar.update)
    with click.progressbar(length=total, label="comparing", file=sys.stderr) as bar:
        figures = []
        for stream, course in zip(streams, courses, strict=True):
            figures.append(evaluate_stream(stream, course))
            bar.update(len(stream.values))
    click.echo("\n".join(table(streams, figures)))
    for path, text in _reports(model, streams, courses, figures, page, numbers):
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(str(path), f"cannot be written: {error.strerror}") from None
        click.echo(f"written: {path}", err=True)


def _reports(
    model: LstmModel,
    streams: Sequence[Series],
    courses: Sequence[StreamRun],
    figures: Sequence[Evaluation],
    page: Path | None,
    numbers: Path | None,
) -> list[tuple[Path, str]]:
    out = []
    if page:
        out.append((page, report.as_page("Backtest", model.id, streams, courses, figures)))
    if numbers:
        out.append((numbers, report.as_json(model.id, streams, courses, figures)))
    return out


def table(streams: Sequence[Series], figures: Sequence[Evaluation]) -> list[str]:
    """A line of titles, a line for each stream, and a line of medians."""
    lines = [
        f"{'stream':{NAME_WIDTH}} {'events':>9} {'error':>7} {'seasonal':>8} {'squares':>8} {'first 50':>9} "
        f"{'covered':>8} {'alerts':>7}"
    ]
    for stream, of in zip(streams, figures, strict=True):
        day, squares = of.relative(of.seasonal_naive_mae), of.relative(of.least_squares_mae)
        lines.append(
            f"{stream.name[-NAME_WIDTH:]:{NAME_WIDTH}} {of.events:9,} {of.relative_mae:7.3f} {day:8.3f} "
            f"{squares:8.3f} {of.first_relative_mae:9.3f} {of.coverage:8.1%} {of.alerts:7,}"
        )
    all_ = report.summary(figures)
    lines.append(
        f"{'median':{NAME_WIDTH}} {all_['events']:9,} {all_['median_ratio']:7.3f} "
        f"{all_['median_ratio_seasonal']:8.3f} {all_['median_ratio_least_squares']:8.3f} "
        f"{all_['median_ratio_first_events']:9.3f} {all_['median_covered']:8.1%} {all_['alerts']:7,}"
    )
    lines.append("error, seasonal, squares, first 50: relative to the last-value forecast; 1.0 is no better")
    return lines
