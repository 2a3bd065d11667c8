"""What `stream-lstm inspect` says: a table of streams; one stream in words, and its memory. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.terminal.table import Column, Span, line, table

WIDE = 96  # of a paragraph, at most
UNITS_SHOWN_MAX = 1_024  # of a layer
BAR_COLUMNS = 8
UNIT_COLUMNS = 4 + 9 + 1 + BAR_COLUMNS + 7 + 1 + BAR_COLUMNS  # a unit's number, its LTM and its STM
BETWEEN_UNITS = 3
QUIET, WARNING, GOOD, NEGATIVE = {"dim": True}, {"fg": "yellow"}, {"fg": "green"}, {"fg": "cyan"}
COLUMNS = (
    Column("stream", least=16, cut="middle"),
    Column("events", right=True, leaves=3),
    Column("last value", most=32, right=True),
    Column("expected next", most=32, right=True, leaves=1),
    Column("error", right=True, leaves=2),
    Column("covered", right=True, leaves=4),
    Column("last heard", right=True),
    Column("its time", right=True, leaves=5),
)
NOT_YET = "only in the journal"


class About(NamedTuple):
    """A state file, and how many of its streams are wanted."""

    path: str
    model: str
    streams: int
    entries: int
    wanted: int


def listed(
    about: About, streams: Sequence[dict[str, Any]], *, now: float, columns: int | None, colour: bool
) -> list[str]:
    """A line about the file, then a line a stream."""
    head = f"{about.path}: {about.streams:,} streams, {about.entries:,} entries, model {about.model}"
    if about.wanted < about.streams:
        head += f"; {about.wanted:,} match"
    lines = [
        formatting.safe(head),
        *table(COLUMNS, [_row(told, now) for told in streams], columns, colour=colour),
    ]
    if len(streams) < about.wanted:
        lines.append(f"… and {about.wanted - len(streams):,} more (--limit)")
    return lines


def _row(told: dict[str, Any], now: float) -> list[Span]:
    if not told["events"]:
        return [Span(told["stream"]), Span("–"), *[Span("")] * 4, Span(formatting.NONE), Span(NOT_YET, QUIET)]
    ratios = [ratio for ratio in told["error_ratio"] if ratio == ratio]
    return [
        Span(told["stream"]),
        Span(f"{told['events']:,}"),
        Span(formatting.numbers(told["value"])),
        Span(formatting.numbers(told["expected"])),
        Span(_each(told["error_ratio"], ".2f"), WARNING if max(ratios, default=0.0) > 1.0 else None),
        Span(_each(told["covered"], ".0%")),
        Span(formatting.ago(now - told["seen"]) if told["seen"] else formatting.NONE),
        Span(formatting.when(told["time"], None)),
    ]


def _each(numbers: Sequence[float], form: str) -> str:
    shown = [formatting.NONE if number != number else format(number, form) for number in numbers[:3]]
    return ", ".join(shown + ([f"+{len(numbers) - 3}"] if len(numbers) > 3 else [])) or formatting.NONE


def paragraphs(
    told: dict[str, Any],
    features: Sequence[str],
    targets: Sequence[str],
    model: str,
    *,
    now: float,
    columns: int | None,
    colour: bool,
) -> list[str]:
    """One stream in words: what it is, what is expected, how well it is predicted, what is normal for it.

    Args:
        features: names of what comes in.
        targets: names of what is predicted.
        columns: how wide a line may be; None: as wide as a paragraph should be.
    """
    name = formatting.safe(told["stream"])
    lines = [click.style(name, bold=True) if colour else name, ""]
    wide = WIDE if columns is None else min(columns, WIDE)
    if not told["events"]:
        waiting = f"Its events are {NOT_YET}, and not yet in a checkpoint; the service has them."
        return lines + _wrapped(waiting, wide)
    lines += _wrapped(_heard(told, model, now), wide)
    single = len(features) == 1 and len(targets) <= 1
    said = _single(told, targets) if single else _several(told, features, targets, columns, colour=colour)
    for part in said:
        lines += ["", *(_wrapped(part, wide) if isinstance(part, str) else part)]
    return lines


def _wrapped(text: str, wide: int) -> list[str]:
    return textwrap.wrap(formatting.safe(text), max(wide, 20), break_on_hyphens=False)


def _heard(told: dict[str, Any], model: str, now: float) -> str:
    heard = (
        f"last heard {formatting.ago(now - told['seen'])}" if told["seen"] else "last heard nobody knows when"
    )
    warm = "" if told["warm"] else ", which are few: the stream is cold"
    return (
        f"{told['events']:,} event{'s' if told['events'] > 1 else ''} up to entry {told['entry']:,} of the "
        f"journal{warm}; {heard}, with an event of {formatting.when(told['time'], None)}. As a rule one "
        f"comes every {formatting.lasting(told['usual_gap_seconds'])}. Remembered for model {model}."
    )


def _single(told: dict[str, Any], targets: Sequence[str]) -> list[str]:
    """Of a stream of one number."""
    value = f"The last value is {formatting.numbers(told['value'])}"
    deviation = formatting.numbers(told["deviation"], 3)
    normal = f"Normal is {formatting.numbers(told['mean'])} with a deviation of {deviation}"
    if not targets:
        return [f"{value}.", f"{normal}."]
    (ratio,), (covered,) = told["error_ratio"], told["covered"]
    judged = (
        f"It is predicted {'better' if ratio < 1.0 else 'no better'} than by repeating it: its mean error of "
        f'late is {ratio:.2f} of that of "same as last time"; {covered:.0%} of the values lay inside their '
        "interval."
    )
    if ratio != ratio:
        judged = "It cannot be said yet how well it is predicted: nothing has changed so far."
    return [
        f"{value}; expected next is {formatting.numbers(told['expected'])}.",
        judged,
        f"{normal}; all values were between {formatting.numbers(told['lowest'])} and "
        f"{formatting.numbers(told['highest'])}.",
    ]


def _several(
    told: dict[str, Any],
    features: Sequence[str],
    targets: Sequence[str],
    columns: int | None,
    *,
    colour: bool,
) -> list[list[str]]:
    """Of a stream of several numbers: a table of what comes in, and one of what is predicted."""

    def drawn(
        first: str, titles: Sequence[str], names: Sequence[str], texts: Sequence[Sequence[str]]
    ) -> list[str]:
        heads = [Column(first, least=8, cut="middle"), *(Column(title, right=True) for title in titles)]
        return table(
            heads, [[Span(t) for t in row] for row in zip(names, *texts, strict=True)], columns, colour=colour
        )

    def each(name: str, digits: int = formatting.DIGITS) -> list[str]:
        return [formatting.number(number, digits) for number in told[name]]

    came = drawn(
        "what comes in",
        ("last value", "mean", "deviation"),
        features,
        (each("value"), each("mean"), each("deviation", 3)),
    )
    if not targets:
        return [came]
    covered = [f"{share:.0%}" for share in told["covered"]]
    texts = (each("expected"), each("error_ratio", 2), covered, each("lowest"), each("highest"))
    titles = ("expected next", "error", "covered", "lowest", "highest")
    return [came, drawn("what is predicted", titles, targets, texts)]


def layer(
    number: int,
    ltm: Sequence[float],
    stm: Sequence[float],
    *,
    largest: bool,
    columns: int | None,
    colour: bool,
) -> list[str]:
    """The memory of a layer, several units beside each other; bars of LTM by its largest, of STM by 1."""
    order = sorted(range(len(ltm)), key=lambda unit: -abs(ltm[unit])) if largest else list(range(len(ltm)))
    shown, most = order[:UNITS_SHOWN_MAX], max((abs(value) for value in ltm), default=0.0)
    wide = WIDE if columns is None else columns
    beside = max((wide + BETWEEN_UNITS) // (UNIT_COLUMNS + BETWEEN_UNITS), 1)
    high = -(-len(shown) // beside)
    title = f"layer {number}: {len(ltm):,} units; LTM (for long), its largest {most:.3g}; STM (for now)"
    head = line([Span(f"{'unit':>4}{'LTM':>9} {'':{BAR_COLUMNS}}{'STM':>7}", QUIET)], wide, colour=colour)
    lines = [title, head]
    for n in range(high):
        spans: list[Span] = []
        for unit in shown[n::high]:
            spans += [Span(" " * BETWEEN_UNITS)] if spans else []
            spans += _unit(unit, ltm[unit], stm[unit], most)
        lines.append(line(spans, wide, colour=colour))
    if len(shown) < len(order):
        lines.append(f"… and {len(order) - len(shown):,} more (--json has all)")
    return lines


def _unit(unit: int, ltm: float, stm: float, most: float) -> list[Span]:
    """One unit's number, LTM and STM, each with a bar of its size; its sign is before the number."""
    of_ltm, of_stm = (NEGATIVE if value < 0.0 else GOOD for value in (ltm, stm))
    return [
        Span(f"{unit:4}{ltm:+9.3f} "),
        Span(formatting.bar(abs(ltm) / most if most else 0.0, BAR_COLUMNS), of_ltm),
        Span(f"{stm:+7.3f} "),
        Span(formatting.bar(abs(stm), BAR_COLUMNS), of_stm),
    ]
