"""A backtest as a page to look at (one file, no network) and as JSON."""

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
from stream_lstm.backtest.figures import FIRST_EVENTS, Course, Figures, median
from stream_lstm.backtest.files import Series
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD, KINDS
from stream_lstm.json_output import in_json, plain

BUCKETS = 1_500  # of a drawn course; each keeps its lowest, its highest and its oddest event
ALERTS_LISTED_MAX = 1_000


def as_json(
    model: str, streams: Sequence[Series], courses: Sequence[Course], figures: Sequence[Figures]
) -> str:
    """Everything that was found, of each stream and in all."""
    told = [
        {"name": stream.name, **of._asdict(), "ratio": of.ratio, "alerted": _alerted(stream, course)}
        for stream, course, of in zip(streams, courses, figures, strict=True)
    ]
    found = {"version": __version__, "model": model, "all": summary(figures), "streams": told}
    return in_json(found, indent=1)


def summary(figures: Sequence[Figures]) -> dict[str, float]:
    """All streams in a few numbers."""
    moving = [of for of in figures if of.persistence > 0.0]
    events = sum(of.events for of in figures)
    return {
        "streams": len(figures),
        "events": events,
        "median_ratio": median((of.ratio for of in figures), figures),
        "median_ratio_seasonal": median((of.by_persistence(of.seasonal) for of in figures), figures),
        "median_ratio_least_squares": median(
            (of.by_persistence(of.least_squares) for of in figures), figures
        ),
        "median_ratio_first_events": median((of.first for of in figures), figures),
        "better_than_persistence": sum(of.ratio < 1.0 for of in moving),
        "moving": len(moving),
        "median_covered": float(np.nanmedian([of.covered for of in figures])),
        "well_covered": sum(0.88 <= of.covered <= 0.92 for of in figures),
        "alerts": sum(of.alerts for of in figures),
        "alerts_per_1000_events": 1_000.0 * sum(of.alerts for of in figures) / events,
    }


def as_page(
    title: str, model: str, streams: Sequence[Series], courses: Sequence[Course], figures: Sequence[Figures]
) -> str:
    """The page."""
    drawn = [_drawn(stream, course) for stream, course in zip(streams, courses, strict=True)]
    of = summary(figures)
    own, web = resources.files("stream_lstm.backtest"), resources.files("stream_lstm.web")
    return Template(own.joinpath("report.html").read_text("utf-8")).substitute(
        title=html.escape(title),
        about=html.escape(
            f"{of['streams']} streams, {of['events']:,} events through model {model}, as the service would "
            "have predicted them: no event was seen before it came, and none is left out for warming up."
        ),
        cards=_cards(of),
        rows="".join(_row(n, s.name, f) for n, (s, f) in enumerate(zip(streams, figures, strict=True)))
        + _sum(of),
        first=FIRST_EVENTS,
        courses="".join(_course(n, s.name, f) for n, (s, f) in enumerate(zip(streams, figures, strict=True))),
        footer=html.escape(f"stream-lstm {__version__}; charts by uPlot (MIT)"),
        data=json.dumps(plain(drawn), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        style=own.joinpath("report.css").read_text("utf-8"),
        script=own.joinpath("report.js").read_text("utf-8"),
        library_style=web.joinpath("uPlot.min.css").read_text("utf-8"),
        library=web.joinpath("uPlot.iife.min.js").read_text("utf-8"),
        course=web.joinpath("course.js").read_text("utf-8"),
    )


def _cards(of: dict[str, float]) -> str:
    told = {
        "median error by “same as last time”": f"{of['median_ratio']:.3f}",
        "of online least squares": f"{of['median_ratio_least_squares']:.3f}",
        "of “same as a day ago”": f"{of['median_ratio_seasonal']:.3f}",
        "streams better than “same as last time”": f"{of['better_than_persistence']} of {of['moving']}",
        "of values inside the 90 % interval (median)": f"{of['median_covered']:.1%}",
        "alerts in 1,000 events": f"{of['alerts_per_1000_events']:.2f}",
    }
    return "".join(f'<div class="card"><b>{value}</b>{name}</div>' for name, value in told.items())


def _row(number: int, name: str, of: Figures) -> str:
    share = min(of.ratio, 1.5) / 1.5 if math.isfinite(of.ratio) else 1.0
    cells = (
        f"{of.events:,}",
        f'<span class="bar{" worse" if of.ratio > 1.0 else ""}"><i style="width:{share:.0%}"></i></span>',
        *map(
            _number, (of.ratio, of.by_persistence(of.seasonal), of.by_persistence(of.least_squares), of.first)
        ),
        f"{of.covered:.1%}",
        f"{of.alerts:,}",
    )
    link = f'<a href="#stream-{number}">{html.escape(name)}</a>'
    return f"<tr><td>{link}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _sum(of: dict[str, float]) -> str:
    ratios = (
        "median_ratio",
        "median_ratio_seasonal",
        "median_ratio_least_squares",
        "median_ratio_first_events",
    )
    cells = (
        f"{of['events']:,}",
        "",
        *(_number(of[name]) for name in ratios),
        f"{of['median_covered']:.1%}",
        f"{of['alerts']:,}",
    )
    return f'<tr class="sum"><td>median</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _number(ratio: float) -> str:
    return f"{ratio:.3f}" if math.isfinite(ratio) else "–"


def _course(number: int, name: str, of: Figures) -> str:
    return (
        f'<h3 id="stream-{number}">{html.escape(name)}</h3>'
        f'<div class="quiet">error {_number(of.ratio)} of “same as last time”, {of.covered:.1%} inside the '
        f"interval, {of.alerts} alerts; the model’s share in the last prediction is {of.trust:.0%}</div>"
        f'<div class="plot" id="plot-{number}" data-course="{number}" role="img" '
        f'aria-label="Values, predictions and anomalies of {html.escape(name)}"></div>'
    )


def _alerted(stream: Series, course: Course) -> list[dict[str, Any]]:
    """When incidents were told, and why."""
    return [
        {"time": stream.times[n], "anomaly": course.anomaly[n], "kind": KINDS[course.kind[n]]}
        for n in np.flatnonzero(course.alert)[:ALERTS_LISTED_MAX]
    ]


def _drawn(stream: Series, course: Course) -> dict[str, Any]:
    """A course as it is drawn: all of it, or of each bucket what stands out."""
    chosen = _standing_out(stream.values, course.anomaly)
    order = chosen[np.argsort(stream.times[chosen], kind="stable")]
    columns = {
        "time": stream.times,
        "value": stream.values,
        "expected": course.expected,
        "low": course.low,
        "high": course.high,
        "anomaly": course.anomaly,
    }
    drawn = {name: [_short(x) for x in column[order].tolist()] for name, column in columns.items()}
    return drawn | {"alerts": stream.times[course.alert].tolist(), "threshold": ALERT_THRESHOLD}


def _standing_out(values: NDArray[np.float64], anomaly: NDArray[np.float64]) -> NDArray[np.intp]:
    count = len(values)
    if count <= 3 * BUCKETS:
        return np.arange(count)
    edges = np.linspace(0, count, BUCKETS + 1).astype(np.intp)
    kept = {int(n) for n in (0, count - 1)}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        piece = values[start:end]
        kept |= {start + int(piece.argmin()), start + int(piece.argmax())}
        kept.add(start + int(np.nan_to_num(anomaly[start:end]).argmax()))
    return np.array(sorted(kept), np.intp)


def _short(number: float) -> float:
    return float(f"{number:.7g}") if abs(number) < 1e8 else number
