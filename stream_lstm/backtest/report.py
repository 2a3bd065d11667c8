"""Backtest report: an HTML page (one file, no network) and JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm import __version__
from stream_lstm.backtest.evaluation import FIRST_EVENTS, Evaluation, StreamRun, median
from stream_lstm.backtest.files import Series
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.json_output import in_json, without_non_finite

# Of a long stream's chart; each keeps its lowest, highest and most anomalous event. More than the page has
# pixels across (72rem in report.css, 1,152), so that thinning out does not show.
BUCKETS = 1_500
ALERTS_LISTED_MAX = 1_000  # a stream; bounds the JSON of one that alerts all the time
BAR_RELATIVE_MAE_MAX = 1.5  # relative error of a full bar; worse forecasts differ by colour and number


def as_json(
    model: str, streams: Sequence[Series], runs: Sequence[StreamRun], evaluations: Sequence[Evaluation]
) -> str:
    """Report as JSON: every stream, and all streams together."""
    by_stream = [
        {"name": stream.name, **evaluation.fields(), "alerted": _alerts(stream, run)}
        for stream, run, evaluation in zip(streams, runs, evaluations, strict=True)
    ]
    report = {"version": __version__, "model": model, "all": summary(evaluations), "streams": by_stream}
    return in_json(report, indent=1)


def summary(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """All streams together; medians over the streams that move. The keys are public."""
    moving = [each for each in evaluations if each.moves]
    # Targets of one stream have its events and alerts in common; each counts once.
    events = round(sum(each.events / each.targets for each in evaluations))
    alerts = round(sum(each.alerts / each.targets for each in evaluations))
    covered = [each.coverage for each in evaluations if not math.isnan(each.coverage)]

    def median_relative(errors: list[float]) -> float:
        relative = [each.relative(mae) for each, mae in zip(evaluations, errors, strict=True)]
        return median(relative, evaluations)

    return {
        "streams": len(evaluations),
        "events": events,
        "median_ratio": median_relative([each.mae for each in evaluations]),
        "median_ratio_seasonal": median_relative([each.seasonal_naive_mae for each in evaluations]),
        "median_ratio_least_squares": median_relative([each.least_squares_mae for each in evaluations]),
        "median_ratio_first_events": median((each.first_relative_mae for each in evaluations), evaluations),
        "better_than_persistence": sum(each.relative_mae < 1.0 for each in moving),
        "moving": len(moving),
        "median_covered": float(np.median(covered)) if covered else float("nan"),
        "well_covered": sum(each.well_covered for each in evaluations),
        "alerts": alerts,
        "alerts_per_1000_events": 1_000.0 * alerts / events,
    }


def as_page(
    title: str,
    model: str,
    streams: Sequence[Series],
    runs: Sequence[StreamRun],
    evaluations: Sequence[Evaluation],
) -> str:
    """Report as an HTML page."""
    charts = [_chart_data(stream, run) for stream, run in zip(streams, runs, strict=True)]
    numbered = [(n, s.name, e) for n, (s, e) in enumerate(zip(streams, evaluations, strict=True))]
    total = summary(evaluations)
    own, web = resources.files("stream_lstm.backtest"), resources.files("stream_lstm.web")
    return Template(own.joinpath("report.html").read_text("utf-8")).substitute(
        title=html.escape(title),
        about=html.escape(
            f"{total['streams']} streams, {total['events']:,} events, model {model}. Each event is predicted "
            "from the events before it, as in the service; there is no warm-up."
        ),
        cards=_cards(total),
        rows="".join(_row(*each) for each in numbered) + _total_row(total),
        first=FIRST_EVENTS,
        charts="".join(_chart(*each) for each in numbered),
        footer=html.escape(f"stream-lstm {__version__}; charts by uPlot (MIT)"),
        data=json.dumps(without_non_finite(charts), allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
        style=own.joinpath("report.css").read_text("utf-8"),
        script=own.joinpath("report.js").read_text("utf-8"),
        library_style=web.joinpath("uPlot.min.css").read_text("utf-8"),
        library=web.joinpath("uPlot.iife.min.js").read_text("utf-8"),
        course=web.joinpath("course.js").read_text("utf-8"),
    )


def _cards(total: dict[str, float]) -> str:
    cards = {
        "median relative error": f"{total['median_ratio']:.3f}",
        "median relative error of online least squares": f"{total['median_ratio_least_squares']:.3f}",
        "median relative error of the seasonal naive forecast": f"{total['median_ratio_seasonal']:.3f}",
        "streams better than the last-value forecast": (
            f"{total['better_than_persistence']} of {total['moving']}"
        ),
        "median coverage of the 90 % interval": percent(total["median_covered"]),
        "alerts per 1,000 events": f"{total['alerts_per_1000_events']:.2f}",
    }
    return "".join(f'<div class="card"><b>{value}</b>{name}</div>' for name, value in cards.items())


def _row(number: int, name: str, of: Evaluation) -> str:
    relative = of.relative_mae
    share = min(relative, BAR_RELATIVE_MAE_MAX) / BAR_RELATIVE_MAE_MAX if math.isfinite(relative) else 1.0
    cells = (
        f"{of.events:,}",
        f'<span class="bar{" worse" if relative > 1.0 else ""}"><i style="width:{share:.0%}"></i></span>',
        _number(relative),
        _number(of.relative(of.seasonal_naive_mae)),
        _number(of.relative(of.least_squares_mae)),
        _number(of.first_relative_mae),
        percent(of.coverage),
        f"{of.alerts:,}",
    )
    link = f'<a href="#stream-{number}">{html.escape(name)}</a>'
    return f"<tr><td>{link}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _total_row(total: dict[str, float]) -> str:
    medians = (
        "median_ratio",
        "median_ratio_seasonal",
        "median_ratio_least_squares",
        "median_ratio_first_events",
    )
    cells = (
        f"{total['events']:,}",
        "",
        *(_number(total[name]) for name in medians),
        percent(total["median_covered"]),
        f"{total['alerts']:,}",
    )
    return f'<tr class="total"><td>median</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def percent(share: float) -> str:
    """A share in percent; a dash where it is unknown."""
    return "–" if math.isnan(share) else f"{share:.1%}"


def _number(relative_mae: float) -> str:
    return f"{relative_mae:.3f}" if math.isfinite(relative_mae) else "–"


def _chart(number: int, name: str, of: Evaluation) -> str:
    return (
        f'<h3 id="stream-{number}">{html.escape(name)}</h3>'
        f'<div class="quiet">relative error {_number(of.relative_mae)}, coverage {percent(of.coverage)}, '
        f"{of.alerts} alerts; weight of the model in the last prediction {of.model_weight:.0%}</div>"
        f'<div class="plot" id="plot-{number}" data-chart="{number}" role="img" '
        f'aria-label="Values, predictions and anomalies of {html.escape(name)}"></div>'
    )


def _alerts(stream: Series, run: StreamRun) -> list[dict[str, Any]]:
    """Time, anomaly score and kind of each alert."""
    return [
        {"time": stream.times[n], "anomaly": run.anomaly[n], "kind": KINDS[run.kind[n]]}
        for n in np.flatnonzero(run.alert)[:ALERTS_LISTED_MAX]
    ]


def _chart_data(stream: Series, run: StreamRun) -> dict[str, Any]:
    """Columns of a chart, thinned out if the stream is long."""
    chosen = _drawn_events(stream.values, run.anomaly)
    order = chosen[np.argsort(stream.times[chosen], kind="stable")]
    columns = {
        "time": stream.times,
        "value": stream.values,
        "expected": run.expected,
        "low": run.low,
        "high": run.high,
        "anomaly": run.anomaly,
    }
    drawn = {name: [_short(x) for x in column[order].tolist()] for name, column in columns.items()}
    return drawn | {"alerts": stream.times[run.alert].tolist(), "threshold": ALERT_THRESHOLD}


def _drawn_events(values: NDArray[np.float64], anomaly: NDArray[np.float64]) -> NDArray[np.intp]:
    """Events to draw: all, or of each bucket the lowest, the highest and the most anomalous."""
    count = len(values)
    if count <= 3 * BUCKETS:
        return np.arange(count)
    edges = np.linspace(0, count, BUCKETS + 1).astype(np.intp)
    chosen = {0, count - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        piece = values[start:end]
        chosen |= {start + int(piece.argmin()), start + int(piece.argmax())}
        chosen.add(start + int(np.nan_to_num(anomaly[start:end]).argmax()))
    return np.array(sorted(chosen), np.intp)


def _short(number: float) -> float:
    return float(f"{number:.7g}") if abs(number) < 1e8 else number
