"""Text for a terminal: what is safe to show, how wide it is, and how numbers and times read. Pure.

Names of streams come from sensors. What would move the cursor, change colours, turn the writing round or
take no room of its own is shown as an escape (Unicode's categories C and Z; Unicode Technical Report 36,
section 3.6, on bidirectional text). Widths are those of Unicode Standard Annex 11: wide characters take two
columns, marks that combine with the one before take none.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

NONE = "–"
CUT = "…"
MARKS_MAX = 2  # that combine with one character; more would pile up over other lines
MARK_OF_LEFT_TO_RIGHT = "\u200e"
EIGHTHS = " ▏▎▍▌▋▊▉█"
DIGITS = 6
AGES = (  # seconds up to which an age is told so, seconds of the unit, its name
    (99.5, 1.0, "s"),
    (5_970.0, 60.0, "min"),
    (172_800.0, 3_600.0, "h"),
    (63_072_000.0, 86_400.0, "d"),
    (math.inf, 31_536_000.0, "y"),
)


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _harmful(character: str) -> bool:
    """Whether it is no plain character: controls, formats, halves of pairs, unknown ones, odd spaces.

    Also what changes how wide the one before it is (variation selectors, skin tones): terminals differ.
    """
    category = unicodedata.category(character)
    return (
        category[0] == "C"
        or (category[0] == "Z" and character != " ")
        or category == "Me"
        or "\ufe00" <= character <= "\ufe0f"
        or "\u1160" <= character <= "\u11ff"  # vowels and endings that join the Korean letter before
        or "\U000e0100" <= character <= "\U000e01ef"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def pieces(text: str) -> Iterator[tuple[str, int]]:
    """What is shown of a text, by the piece that must not be cut, each with its width in columns."""
    piece, width, marks = "", 0, 0
    for character in text:
        if character.isascii() and character.isprintable():
            mark, shown = False, character
        elif _harmful(character):
            mark, shown = False, _escaped(character)
        else:
            mark = unicodedata.category(character) == "Mn" or unicodedata.combining(character) > 0
            shown = character
        if mark and piece and marks < MARKS_MAX:
            piece, marks = piece + shown, marks + 1
            continue
        if piece:
            yield piece, width
        if mark:  # with nothing to combine with, or one too many
            shown = _escaped(character)
        wide = len(shown) == 1 and unicodedata.east_asian_width(shown) in "WF"
        # What combines with an escape would change how that reads.
        piece, width, marks = shown, 2 if wide else len(shown), MARKS_MAX if len(shown) > 1 else 0
    if piece:
        yield piece, width


def safe(text: str) -> str:
    """A text as it may be shown."""
    return _turned("".join(piece for piece, _ in pieces(text)))


def width(text: str) -> int:
    """How many columns a text takes when it is shown."""
    return sum(wide for _, wide in pieces(text))


def _turned(shown: str) -> str:
    """Behind writing from right to left, a mark that what follows it is not part of it."""
    if shown.isascii():
        return shown
    turned = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown)
    return shown + MARK_OF_LEFT_TO_RIGHT if turned else shown


def fit(text: str, columns: int, *, right: bool = False, cut: str = "middle") -> str:
    """A text in exactly so many columns: cut where it is too long, filled with spaces where it is too short.

    Args:
        right: the spaces go before it.
        cut: what is left out of a text that is too long: its `middle`, or its `end`.
    """
    shown = list(pieces(text))
    taken = sum(wide for _, wide in shown)
    if taken > columns:
        room = max(columns - 1, 0)
        before, begin = _leading(shown, room - room // 2 if cut == "middle" else room)
        behind, end = _leading(shown[::-1], room - begin) if cut == "middle" else ([], 0)
        shown = [*before, *([(CUT, 1)] if columns > 0 else []), *behind[::-1]]
        taken = begin + end + min(columns, 1)
    spaces = " " * (columns - taken)
    written = _turned("".join(piece for piece, _ in shown))
    return spaces + written if right else written + spaces


def _leading(shown: list[tuple[str, int]], columns: int) -> tuple[list[tuple[str, int]], int]:
    """As many pieces from the beginning as fit, and how much room they take."""
    out: list[tuple[str, int]] = []
    taken = 0
    for piece, wide in shown:
        if taken + wide > columns:
            break
        out.append((piece, wide))
        taken += wide
    return out, taken


def bar(share: float | None, columns: int) -> str:
    """A share of 1 as a bar in so many columns, to an eighth of one; never longer than that."""
    if share is None or math.isnan(share):
        return " " * columns
    eighths = round(min(max(share, 0.0), 1.0) * columns * 8)
    whole, rest = divmod(eighths, 8)
    return (EIGHTHS[8] * whole + (EIGHTHS[rest] if rest else "")).ljust(columns)


def number(value: float | None, digits: int = DIGITS) -> str:
    """A number in so many digits."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.{digits}g}"


def numbers(value: Any, digits: int = DIGITS, most: int = 3) -> str:
    """A number, or an object of them by name, or a list: the first `most`, and how many more there are."""
    if isinstance(value, Mapping):
        each = [f"{name} {number(one, digits)}" for name, one in value.items()]
    elif isinstance(value, list | tuple):
        each = [number(one, digits) for one in value]
    else:
        return number(value, digits)
    more = [f"+{len(each) - most}"] if len(each) > most else []
    return ", ".join(each[:most] + more) or NONE


def ago(seconds: float | None) -> str:
    """How long something is past, in words; what is still to come counts as now."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 1.0:
        return "now"
    return f"{lasting(seconds)} ago"


def lasting(seconds: float) -> str:
    """How long something lasts, in the unit that fits; below ten seconds to a tenth."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 0.0995:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    unit, name = next((unit, name) for most, unit, name in AGES if seconds < most)
    return f"{seconds / unit:,.0f} {name}"


def when(seconds: float, zone: tzinfo | None = UTC) -> str:
    """A time of the clock, with its zone.

    Args:
        zone: None: the one that this machine is set to.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError, OSError):
        return f"{number(seconds, 12)} s since 1970"
