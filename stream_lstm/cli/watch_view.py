"""Frame of `stream-lstm watch`: a line on the service, a table of streams, a line on the list. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.terminal.table import UNLIMITED, Column, Span, line, table
from stream_lstm.core.codec.naming import Interval, Numbers
from stream_lstm.service.http.schemas import Line, Overview, Streams

BAR_COLUMNS = 6
VALUES_SHOWN_MAX = 2  # of a stream of several values: a row must fit 80 columns
GOOD, BAD, WARNING, QUIET = {"fg": "green"}, {"fg": "red", "bold": True}, {"fg": "yellow"}, {"dim": True}
COLUMNS = (
    Column("stream", width_min=16, cut="middle"),
    Column("last value", width_min=10, width_max=32, right=True),
    Column("next", width_min=17, width_max=48, right=True, dropped=3),
    Column("anomaly", width_min=BAR_COLUMNS + 5, dropped=1),
    Column("error", right=True, dropped=5),
    Column("last seen", width_min=10, right=True, dropped=4),
    Column("", width_min=5, dropped=2),
)
LEGEND = "error: relative to the last-value forecast; 1.0 is no better"
LINES_AROUND = 2  # of a frame beside its first and the streams: titles and foot


class Snapshot(NamedTuple):
    """State of the service as of one request.

    Attributes:
        at: monotonic seconds.
    """

    overview: Overview
    streams: Streams
    at: float


class Size(NamedTuple):
    """Space for a frame; None: unlimited."""

    columns: int | None = None
    lines: int | None = None


def render(
    snapshot: Snapshot | None,
    size: Size,
    *,
    colour: bool,
    problem: str = "",
    now: float = 0.0,
    foot: str = LEGEND,
) -> list[str]:
    """Lines of a frame.

    Args:
        snapshot: the last one; None before the first.
        problem: why there is no newer one; empty if there is none.
        now: monotonic seconds.
        foot: text after the count of streams.
    """
    width = UNLIMITED if size.columns is None else size.columns
    overview = snapshot.overview if snapshot else None
    head = _head(overview, problem, now - snapshot.at if snapshot else 0.0)
    lines = [line(head, width, colour=colour)]
    if snapshot:
        streams = snapshot.streams
        room = len(streams.streams) if size.lines is None else max(size.lines - len(lines) - LINES_AROUND, 0)
        shown = streams.streams[:room]
        rows = [_row(stream, snapshot.overview, dim=bool(problem)) for stream in shown]
        lines += table(COLUMNS, rows, size.columns, colour=colour)
        lines.append(line([Span(f"{_count(streams, len(shown))}; {foot}", QUIET)], width, colour=colour))
    return lines if size.lines is None else lines[: size.lines]


def _count(streams: Streams, shown: int) -> str:
    on_disk = f" ({streams.disk:,} on disk, not listed)" if streams.disk else ""
    return f"{shown:,} of {streams.total:,} streams{on_disk}"


def _head(overview: Overview | None, problem: str, age: float) -> list[Span]:
    """Health and load of the service, or why they are not known."""
    if problem:
        spans = [Span("unreachable", BAD), Span(f": {problem}")]
        return spans + ([Span(f"; last answer {formatting.ago(age)}")] if overview else [])
    if overview is None:
        return [Span("connecting …", QUIET)]
    if overview.ready:
        spans = [Span("ready", GOOD)]
    else:
        spans = [Span("not ready", BAD), Span(f": {'; '.join(overview.obstacles)}")]
    streams, latency = overview.streams, overview.latency
    load = [f"{overview.events_per_second:,.0f} events/s"]
    if latency.median_seconds is not None:
        load.append(f"latency p50 {formatting.duration(latency.median_seconds)}")
    load.append(f"{streams.known:,} streams")
    spans.append(Span("".join(f" · {part}" for part in load)))
    for count, name, style in ((streams.odd, "anomalous", BAD), (streams.stale, "stale", WARNING)):
        spans += [Span(" · "), Span(f"{count:,} {name}", style if count else None)]
    rejected = sum(overview.rejected.values())
    spans += [Span(" · "), Span(f"{rejected:,} rejected", WARNING if overview.rejected_per_second else None)]
    return spans


def _row(stream: Line, overview: Overview, *, dim: bool) -> list[Span]:
    anomalous = stream.odd >= overview.alert_from
    marks = [name for name, holds in (("stale", stream.stale), ("cold", not stream.warm)) if holds]
    style = QUIET if dim else BAD if anomalous else None
    return [
        Span(stream.name, style),
        Span(formatting.numbers(stream.value, limit=VALUES_SHOWN_MAX), style),
        Span(_forecasts(stream.prediction, stream.interval), style),
        Span(f"{stream.odd:4.2f} {formatting.bar(stream.odd, BAR_COLUMNS)}", style),
        Span(formatting.NONE if stream.error_ratio is None else f"{stream.error_ratio:.2f}", style),
        Span(formatting.ago(overview.now - stream.seen) if stream.seen else formatting.NONE, style),
        Span(" ".join(marks), style or WARNING),
    ]


def _forecasts(predictions: Numbers, intervals: Interval) -> str:
    """The next value, or values by name, each with the half-width of its prediction interval."""
    if not isinstance(predictions, Mapping):
        return _forecast(predictions, intervals if isinstance(intervals, tuple) else None)
    bounds = intervals if isinstance(intervals, Mapping) else {}
    each = [f"{name} {_forecast(value, bounds.get(name))}" for name, value in predictions.items()]
    more = [f"+{len(each) - VALUES_SHOWN_MAX}"] if len(each) > VALUES_SHOWN_MAX else []
    return ", ".join(each[:VALUES_SHOWN_MAX] + more)


def _forecast(value: float | None, bounds: tuple[float, float] | None) -> str:
    if value is None or bounds is None:
        return formatting.number(value)
    return f"{formatting.number(value)} ± {formatting.number((bounds[1] - bounds[0]) / 2.0, 3)}"
