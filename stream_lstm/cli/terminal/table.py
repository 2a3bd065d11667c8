"""Lines and tables that fit the terminal's width. Pure; click makes the escape sequences of the colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click

from stream_lstm.cli.terminal import formatting

GAP_COLUMNS = 2  # between two columns of a table
UNLIMITED = 10_000  # columns of a line that need not fit: wider than any name
TITLE_STYLE = {"dim": True}


class Span(NamedTuple):
    """Text in one style.

    Attributes:
        text: not escaped yet.
        style: arguments of `click.style`.
        columns: width; None: as wide as the text.
        right: align the text at the right.
        cut: part to leave out of a text that is too long: `middle` or `end`.
    """

    text: str
    style: dict[str, Any] | None = None
    columns: int | None = None
    right: bool = False
    cut: str = "end"


class Column(NamedTuple):
    """Column of a table.

    Attributes:
        title: its head.
        width_min: keeps the column in place from one frame to the next.
        width_max: longer texts are cut.
        right: align the texts at the right.
        dropped: order in which columns give way where the line is too long, the largest first; 0: never.
        cut: part to leave out of a text that is too long: `middle` or `end`.
    """

    title: str
    width_min: int = 0
    width_max: int = UNLIMITED
    right: bool = False
    dropped: int = 0
    cut: str = "end"


def line(spans: Iterable[Span], columns: int = UNLIMITED, *, colour: bool = False) -> str:
    """Join texts to one line, cut at a number of columns."""
    out, left = [], columns
    for text, style, wanted, right, cut in spans:
        width = min(formatting.width(text) if wanted is None else wanted, left)
        if width <= 0:
            continue
        shown = formatting.fit(text, width, right=right, cut=cut)
        out.append(click.style(shown, **style) if colour and style and shown.strip() else shown)
        left -= width
    return "".join(out).rstrip(" ")


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Span]],
    width_max: int | None = None,
    *,
    colour: bool = False,
) -> list[str]:
    """A line of titles, then a line for each row; the first column takes the space that the others leave.

    Args:
        rows: a text for each column.
        width_max: of a line, in columns; None: unlimited.
    """
    width_max = UNLIMITED if width_max is None else width_max
    widths = [
        min(
            max([c.width_min, formatting.width(c.title), *(formatting.width(row[n].text) for row in rows)]),
            c.width_max,
        )
        for n, c in enumerate(columns)
    ]
    shown = _fitting(columns, widths, width_max)
    others = sum(widths[n] + GAP_COLUMNS for n in shown[1:])
    widths[0] = min(widths[0], max(width_max - others, 1))
    titles = [Span(column.title, TITLE_STYLE) for column in columns]
    return [line(_row(columns, widths, shown, texts), width_max, colour=colour) for texts in (titles, *rows)]


def _fitting(columns: Sequence[Column], widths: Sequence[int], width_max: int) -> list[int]:
    """Indexes of the columns that fit, with the first at its least width."""
    shown = list(range(len(columns)))
    while True:
        needed = min(widths[0], columns[0].width_min) + sum(widths[n] + GAP_COLUMNS for n in shown[1:])
        dropped = max(shown, key=lambda n: columns[n].dropped)
        if needed <= width_max or not columns[dropped].dropped:
            return shown
        shown.remove(dropped)


def _row(
    columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], texts: Sequence[Span]
) -> Iterable[Span]:
    for n in shown:
        if n != shown[0]:
            yield Span(" " * GAP_COLUMNS)
        yield texts[n]._replace(columns=widths[n], right=columns[n].right, cut=columns[n].cut)
