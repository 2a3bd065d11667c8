"""Lines and tables that fit: which columns there is room for, how wide each is, and colours if wanted.

Pure but for the colours' escapes, which click makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click

from stream_lstm.cli.terminal import formatting

BETWEEN = 2  # spaces between two columns
WIDE = 10_000  # columns, where nothing has to fit: wider than any name
HEAD = {"dim": True}


class Span(NamedTuple):
    """Text in one colour.

    Attributes:
        text: as it came; it is made safe when it is shown.
        style: what `click.style` takes.
        columns: how many it has; None: as many as it needs.
        right: it stands at their right.
        cut: what is left out of a text that is too long: its middle, or its end.
    """

    text: str
    style: dict[str, Any] | None = None
    columns: int | None = None
    right: bool = False
    cut: str = "end"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: above it.
        least: how wide it is at least, so that it stays where it is from one picture to the next.
        most: how wide at most.
        right: its texts stand at the right.
        leaves: where there is no room, the column of the largest number is left out first; 0: it stays.
        cut: what is left out of a text that is too long: its middle, or its end.
    """

    title: str
    least: int = 0
    most: int = WIDE
    right: bool = False
    leaves: int = 0
    cut: str = "end"


def line(spans: Iterable[Span], columns: int = WIDE, *, colour: bool = False) -> str:
    """Texts one after the other in one line, which is cut where it is longer than so many columns."""
    out, left = [], columns
    for text, style, wanted, right, cut in spans:
        wide = min(formatting.width(text) if wanted is None else wanted, left)
        if wide <= 0:
            continue
        shown = formatting.fit(text, wide, right=right, cut=cut)
        out.append(click.style(shown, **style) if colour and style and shown.strip() else shown)
        left -= wide
    return "".join(out).rstrip(" ")


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Span]],
    most: int | None = None,
    *,
    colour: bool = False,
) -> list[str]:
    """A line of titles, then one a row; the first column has what room the others leave.

    Args:
        rows: a text for each column.
        most: how wide a line may be; None: as wide as it needs.
    """
    most = WIDE if most is None else most
    widths = [
        min(
            max([c.least, formatting.width(c.title), *(formatting.width(row[n].text) for row in rows)]),
            c.most,
        )
        for n, c in enumerate(columns)
    ]
    shown = _those_that_fit(columns, widths, most)
    others = sum(widths[n] + BETWEEN for n in shown[1:])
    widths[0] = min(widths[0], max(most - others, 1))
    heads = [Span(column.title, HEAD) for column in columns]
    return [line(_laid(columns, widths, shown, texts), most, colour=colour) for texts in (heads, *rows)]


def _those_that_fit(columns: Sequence[Column], widths: Sequence[int], most: int) -> list[int]:
    """Which columns there is room for, the first at its least width."""
    shown = list(range(len(columns)))
    while True:
        needed = min(widths[0], columns[0].least) + sum(widths[n] + BETWEEN for n in shown[1:])
        leaving = max(shown, key=lambda n: columns[n].leaves)
        if needed <= most or not columns[leaving].leaves:
            return shown
        shown.remove(leaving)


def _laid(
    columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], texts: Sequence[Span]
) -> Iterable[Span]:
    for n in shown:
        if n != shown[0]:
            yield Span(" " * BETWEEN)
        yield texts[n]._replace(columns=widths[n], right=columns[n].right, cut=columns[n].cut)
