"""Output of `stream-lstm inspect`: a table of streams; one stream in sentences, and its memory. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.terminal.table import Column, Span, line, table
from stream_lstm.core.trackers.accuracy import WARM_EVENTS

PARAGRAPH_COLUMNS_MAX = 96  # longer lines are hard to read
UNITS_SHOWN_MAX = 1_024  # of a layer: the largest that `train` makes; --json prints all
BAR_COLUMNS = 8
UNIT_COLUMNS = 4 + 9 + 1 + BAR_COLUMNS + 7 + 1 + BAR_COLUMNS  # the unit's index, its LTM and its STM
GAP_COLUMNS = 3  # between two units
QUIET, WARNING, GOOD, NEGATIVE = {"dim": True}, {"fg": "yellow"}, {"fg": "green"}, {"fg": "cyan"}
COLUMNS = (
    Column("stream", width_min=16, cut="middle"),
    Column("events", right=True, dropped=3),
    Column("last value", width_max=32, right=True),
    Column("expected next", width_max=32, right=True, dropped=1),
    Column("error", right=True, dropped=2),
    Column("covered", right=True, dropped=4),
    Column("last seen", right=True),
    Column("event time", right=True, dropped=5),
)
JOURNAL_ONLY = "only in the journal"


class StateSummary(NamedTuple):
    """Contents of a state file in numbers.

    Attributes:
        matching: streams that match the search.
    """

    path: str
    model: str
    streams: int
    entries: int
    matching: int


def stream_table(
    summary: StateSummary, streams: Sequence[dict[str, Any]], *, now: float, columns: int | None, colour: bool
) -> list[str]:
    """A line on the file, then a line for each stream.

    Args:
        now: epoch seconds.
        columns: width of a line; None: unlimited.
    """
    head = f"{summary.path}: {summary.streams:,} streams, {summary.entries:,} entries, model {summary.model}"
    if summary.matching < summary.streams:
        head += f"; {summary.matching:,} match"
    lines = [
        formatting.safe(head),
        *table(COLUMNS, [_row(stream, now) for stream in streams], columns, colour=colour),
    ]
    if len(streams) < summary.matching:
        lines.append(f"… and {summary.matching - len(streams):,} more (--limit)")
    return lines


def _row(stream: dict[str, Any], now: float) -> list[Span]:
    if not stream["events"]:
        none = Span(formatting.NONE)
        return [Span(stream["stream"]), none, *[Span("")] * 4, none, Span(JOURNAL_ONLY, QUIET)]
    ratios = [ratio for ratio in stream["error_ratio"] if ratio == ratio]
    return [
        Span(stream["stream"]),
        Span(f"{stream['events']:,}"),
        Span(formatting.numbers(stream["value"])),
        Span(formatting.numbers(stream["expected"])),
        Span(_each(stream["error_ratio"], ".2f"), WARNING if max(ratios, default=0.0) > 1.0 else None),
        Span(_each(stream["covered"], ".0%")),
        Span(formatting.ago(now - stream["seen"]) if stream["seen"] else formatting.NONE),
        Span(formatting.timestamp(stream["time"], None)),
    ]


def _each(numbers: Sequence[float], form: str) -> str:
    shown = [formatting.NONE if number != number else format(number, form) for number in numbers[:3]]
    return ", ".join(shown + ([f"+{len(numbers) - 3}"] if len(numbers) > 3 else [])) or formatting.NONE


def description(
    stream: dict[str, Any],
    features: Sequence[str],
    targets: Sequence[str],
    model: str,
    *,
    now: float,
    columns: int | None,
    colour: bool,
) -> list[str]:
    """One stream: its events, its next expected value, forecast quality, and its usual values.

    Args:
        features: names of the input values.
        targets: names of the predicted values.
        now: epoch seconds.
        columns: width of a line; None: that of a paragraph.
    """
    name = formatting.safe(stream["stream"])
    lines = [click.style(name, bold=True) if colour else name, ""]
    width = PARAGRAPH_COLUMNS_MAX if columns is None else min(columns, PARAGRAPH_COLUMNS_MAX)
    if not stream["events"]:
        return lines + _wrapped(f"Its events are {JOURNAL_ONLY}, not yet in a checkpoint.", width)
    lines += _wrapped(_events(stream, model, now), width)
    if len(features) == 1 and len(targets) <= 1:
        for sentence in _single_value(stream, targets):
            lines += ["", *_wrapped(sentence, width)]
    else:
        for rows in _several_values(stream, features, targets, columns, colour=colour):
            lines += ["", *rows]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(formatting.safe(text), max(width, 20), break_on_hyphens=False)


def _events(stream: dict[str, Any], model: str, now: float) -> str:
    seen = f"last seen {formatting.ago(now - stream['seen'])}" if stream["seen"] else "last seen: not known"
    cold = "" if stream["warm"] else f" (cold: fewer than {WARM_EVENTS})"
    event_time = formatting.timestamp(stream["time"], None)
    gap = formatting.duration(stream["usual_gap_seconds"])
    return (
        f"{stream['events']:,} event{'s' if stream['events'] > 1 else ''}{cold} up to entry "
        f"{stream['entry']:,} of the journal; {seen}, event time {event_time}. Usual gap between events: "
        f"{gap}. Model: {model}."
    )


def _single_value(stream: dict[str, Any], targets: Sequence[str]) -> list[str]:
    """Sentences on a stream of one value."""
    value = f"Last value: {formatting.numbers(stream['value'])}"
    deviation = formatting.numbers(stream["deviation"], 3)
    usual = f"Mean: {formatting.numbers(stream['mean'])}, standard deviation {deviation}"
    if not targets:
        return [f"{value}.", f"{usual}."]
    (ratio,), (covered,) = stream["error_ratio"], stream["covered"]
    accuracy = (
        f"Relative error: {ratio:.2f} (to the last-value forecast; 1.0 is no better), over the last "
        f"hundreds of events. {covered:.0%} of the values were inside their prediction interval."
    )
    if ratio != ratio:
        accuracy = "Relative error: not known yet, the value has not changed."
    return [
        f"{value}; expected next: {formatting.numbers(stream['expected'])}.",
        accuracy,
        f"{usual}; range {formatting.numbers(stream['lowest'])} to {formatting.numbers(stream['highest'])}.",
    ]


def _several_values(
    stream: dict[str, Any],
    features: Sequence[str],
    targets: Sequence[str],
    columns: int | None,
    *,
    colour: bool,
) -> list[list[str]]:
    """A table of the input values, and one of the predicted values."""

    def rows_of(
        first: str, titles: Sequence[str], names: Sequence[str], texts: Sequence[Sequence[str]]
    ) -> list[str]:
        heads = [Column(first, width_min=8, cut="middle"), *(Column(title, right=True) for title in titles)]
        rows = [[Span(text) for text in row] for row in zip(names, *texts, strict=True)]
        return table(heads, rows, columns, colour=colour)

    def each(name: str, digits: int = formatting.DIGITS) -> list[str]:
        return [formatting.number(number, digits) for number in stream[name]]

    inputs = rows_of(
        "feature",
        ("last value", "mean", "deviation"),
        features,
        (each("value"), each("mean"), each("deviation", 3)),
    )
    if not targets:
        return [inputs]
    covered = [f"{share:.0%}" for share in stream["covered"]]
    texts = (each("expected"), each("error_ratio", 2), covered, each("lowest"), each("highest"))
    titles = ("expected next", "error", "covered", "lowest", "highest")
    return [inputs, rows_of("target", titles, targets, texts)]


def layer_table(
    number: int,
    ltm: Sequence[float],
    stm: Sequence[float],
    *,
    largest: bool,
    columns: int | None,
    colour: bool,
) -> list[str]:
    """Memory of a layer, several units to a line; LTM bars relative to the largest, STM bars to 1.

    Args:
        ltm: a value for each unit, as is `stm`.
        largest: sort the units by the size of their LTM.
        columns: width of a line; None: that of a paragraph.
    """
    order = sorted(range(len(ltm)), key=lambda unit: -abs(ltm[unit])) if largest else list(range(len(ltm)))
    shown, ltm_max = order[:UNITS_SHOWN_MAX], max((abs(value) for value in ltm), default=0.0)
    width = PARAGRAPH_COLUMNS_MAX if columns is None else columns
    units_per_line = max((width + GAP_COLUMNS) // (UNIT_COLUMNS + GAP_COLUMNS), 1)
    height = -(-len(shown) // units_per_line)
    title = f"layer {number}: {len(ltm):,} units; LTM (long-term, largest {ltm_max:.3g}), STM (short-term)"
    head = line([Span(f"{'unit':>4}{'LTM':>9} {'':{BAR_COLUMNS}}{'STM':>7}", QUIET)], width, colour=colour)
    lines = [title, head]
    for n in range(height):
        spans: list[Span] = []
        for unit in shown[n::height]:
            spans += [Span(" " * GAP_COLUMNS)] if spans else []
            spans += _unit(unit, ltm[unit], stm[unit], ltm_max)
        lines.append(line(spans, width, colour=colour))
    if len(shown) < len(order):
        lines.append(f"… and {len(order) - len(shown):,} more (--json prints all)")
    return lines


def _unit(unit: int, ltm: float, stm: float, ltm_max: float) -> list[Span]:
    """A unit's index, LTM and STM, each with a bar of its absolute value."""
    of_ltm, of_stm = (NEGATIVE if value < 0.0 else GOOD for value in (ltm, stm))
    return [
        Span(f"{unit:4}{ltm:+9.3f} "),
        Span(formatting.bar(abs(ltm) / ltm_max if ltm_max else 0.0, BAR_COLUMNS), of_ltm),
        Span(f"{stm:+7.3f} "),
        Span(formatting.bar(abs(stm), BAR_COLUMNS), of_stm),
    ]
