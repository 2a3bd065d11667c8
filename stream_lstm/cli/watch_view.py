"""What `stream-lstm watch` shows: a line on how the service fares, and a table of streams. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.terminal.table import Column, Span, line, table
from stream_lstm.core.codec.naming import Interval, Numbers
from stream_lstm.service.http.schemas import Line, Overview, Streams

BAR_COLUMNS = 6
NAMES_SHOWN_MAX = 2  # of the numbers of a model with several
GOOD, BAD, WARNING, QUIET = {"fg": "green"}, {"fg": "red", "bold": True}, {"fg": "yellow"}, {"dim": True}
COLUMNS = (
    Column("stream", least=16, cut="middle"),
    Column("last value", least=10, most=32, right=True),
    Column("next", least=17, most=48, right=True, leaves=3),
    Column("odd", least=BAR_COLUMNS + 5, leaves=1),
    Column("error", right=True, leaves=5),
    Column("last seen", least=10, right=True, leaves=4),
    Column("", least=5, leaves=2),
)
LEGEND = 'error: by that of "same as last time"; below 1 is better'
AROUND = 2  # lines of a picture that are no streams'


class Snapshot(NamedTuple):
    """What the service said last.

    Attributes:
        at: seconds, monotonic.
    """

    overview: Overview
    streams: Streams
    at: float


class Size(NamedTuple):
    """How much room there is; None: as much as is needed."""

    columns: int | None = None
    lines: int | None = None


def picture(
    look: Snapshot | None, size: Size, *, colour: bool, away: str = "", now: float = 0.0, foot: str = LEGEND
) -> list[str]:
    """The whole of it, in lines.

    Args:
        look: None: nothing was heard yet.
        away: why nothing newer is there, if so.
        now: seconds, monotonic.
        foot: stands beside how many streams are shown.
    """
    wide = 10_000 if size.columns is None else size.columns
    overview = look.overview if look else None
    lines = [line(_head(overview, away, now - look.at if look else 0.0), wide, colour=colour)]
    if look:
        room = len(look.streams.streams) if size.lines is None else max(size.lines - len(lines) - AROUND, 0)
        shown = look.streams.streams[:room]
        rows = [_row(stream, look.overview, dim=bool(away)) for stream in shown]
        lines += table(COLUMNS, rows, size.columns, colour=colour)
        lines.append(
            line([Span(f"{_of_how_many(look.streams, len(shown))}; {foot}", QUIET)], wide, colour=colour)
        )
    return lines if size.lines is None else lines[: size.lines]


def _of_how_many(streams: Streams, shown: int) -> str:
    away = f" ({streams.disk:,} wait on disk)" if streams.disk else ""
    return f"{shown:,} of {streams.total:,} streams{away}"


def _head(of: Overview | None, away: str, old: float) -> list[Span]:
    """How the service fares: whether it is there, whether it is ready, and what it does."""
    if away:
        spans = [Span("away", BAD), Span(f": {away}")]
        return spans + ([Span(f"; this is of {formatting.ago(old)}")] if of else [])
    if of is None:
        return [Span("asking …", QUIET)]
    spans = (
        [Span("ready", GOOD)] if of.ready else [Span("not ready", BAD), Span(f": {'; '.join(of.obstacles)}")]
    )
    streams, latency = of.streams, of.latency
    told = [
        f"{of.events_per_second:,.0f} events/s",
        *(
            [f"delay {formatting.lasting(latency.median_seconds)}"]
            if latency.median_seconds is not None
            else []
        ),
        f"{streams.known:,} streams",
    ]
    spans.append(Span("".join(f" · {part}" for part in told)))
    for count, name, style in ((streams.odd, "odd", BAD), (streams.stale, "stale", WARNING)):
        spans += [Span(" · "), Span(f"{count:,} {name}", style if count else None)]
    rejected = sum(of.rejected.values())
    spans += [Span(" · "), Span(f"{rejected:,} rejected", WARNING if of.rejected_per_second else None)]
    return spans


def _row(of: Line, overview: Overview, *, dim: bool) -> list[Span]:
    odd = of.odd >= overview.alert_from
    marks = [name for name, so in (("stale", of.stale), ("cold", not of.warm)) if so]
    style = QUIET if dim else BAD if odd else None
    return [
        Span(of.name, style),
        Span(formatting.numbers(of.value, most=NAMES_SHOWN_MAX), style),
        Span(_expected(of.prediction, of.interval), style),
        Span(f"{of.odd:4.2f} {formatting.bar(of.odd, BAR_COLUMNS)}", style),
        Span("–" if of.error_ratio is None else f"{of.error_ratio:.2f}", style),
        Span(formatting.ago(overview.now - of.seen) if of.seen else formatting.NONE, style),
        Span(" ".join(marks), style or WARNING),
    ]


def _expected(prediction: Numbers, interval: Interval) -> str:
    """What comes next, and how far beside it most values are."""
    if not isinstance(prediction, Mapping):
        return _around(prediction, interval if isinstance(interval, tuple) else None)
    ends = interval if isinstance(interval, Mapping) else {}
    each = [f"{name} {_around(value, ends.get(name))}" for name, value in prediction.items()]
    more = [f"+{len(each) - NAMES_SHOWN_MAX}"] if len(each) > NAMES_SHOWN_MAX else []
    return ", ".join(each[:NAMES_SHOWN_MAX] + more)


def _around(value: float | None, ends: tuple[float, float] | None) -> str:
    if value is None or ends is None:
        return formatting.number(value)
    return f"{formatting.number(value)} ± {formatting.number((ends[1] - ends[0]) / 2.0, 3)}"
