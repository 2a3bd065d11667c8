"""Text for a terminal: safe to show, of known width; numbers, durations and times. Pure.

Stream names come from sensors. A character that would move the cursor, change colours, reverse the writing
direction or take no column of its own is shown as an escape (Unicode's categories C and Z; Unicode Technical
Report 36, section 3.6, on bidirectional text). Widths are those of Unicode Standard Annex 11: wide characters
take two columns, combining marks take none.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

NONE = "–"
ELLIPSIS = "…"
MARKS_MAX = 2  # combining marks of one character, as in Vietnamese; more would cover the lines around it
LEFT_TO_RIGHT_MARK = "\u200e"
EIGHTHS = " ▏▎▍▌▋▊▉█"
DIGITS = 6
UNITS = (  # a duration up to so many seconds is given in this unit: its seconds, its symbol
    (99.5, 1.0, "s"),
    (5_970.0, 60.0, "min"),
    (172_800.0, 3_600.0, "h"),
    (63_072_000.0, 86_400.0, "d"),
    (math.inf, 31_536_000.0, "y"),
)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_unsafe(character: str) -> bool:
    """True for controls, formats, surrogates, unassigned characters, and separators other than the space.

    Also for variation selectors and skin tones, which change the width of the character before them in some
    terminals only.
    """
    category = unicodedata.category(character)
    return (
        category[0] == "C"
        or (category[0] == "Z" and character != " ")
        or category == "Me"
        or "\ufe00" <= character <= "\ufe0f"
        or "\u1160" <= character <= "\u11ff"  # Hangul vowels and finals, which join the letter before them
        or "\U000e0100" <= character <= "\U000e01ef"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def clusters(text: str) -> Iterator[tuple[str, int]]:
    """Split a text into units that must not be cut, escaped where needed, each with its width in columns."""
    cluster, width, marks = "", 0, 0
    for character in text:
        if character.isascii() and character.isprintable():
            mark, shown = False, character
        elif _is_unsafe(character):
            mark, shown = False, _escape(character)
        else:
            mark = unicodedata.category(character) == "Mn" or unicodedata.combining(character) > 0
            shown = character
        if mark and cluster and marks < MARKS_MAX:
            cluster, marks = cluster + shown, marks + 1
            continue
        if cluster:
            yield cluster, width
        if mark:  # with no character to combine with, or beyond MARKS_MAX
            shown = _escape(character)
        wide = len(shown) == 1 and unicodedata.east_asian_width(shown) in "WF"
        # A mark on the last character of an escape would make it read differently.
        cluster, width, marks = shown, 2 if wide else len(shown), MARKS_MAX if len(shown) > 1 else 0
    if cluster:
        yield cluster, width


def safe(text: str) -> str:
    """Escape a text for display."""
    return _isolated("".join(cluster for cluster, _ in clusters(text)))


def width(text: str) -> int:
    """Columns of a text when shown by `safe`."""
    return sum(columns for _, columns in clusters(text))


def _isolated(shown: str) -> str:
    """Add a mark after right-to-left text, so that the text behind it keeps its place."""
    if shown.isascii():
        return shown
    reversed_ = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown)
    return shown + LEFT_TO_RIGHT_MARK if reversed_ else shown


def fit(text: str, columns: int, *, right: bool = False, cut: str = "middle") -> str:
    """Fit a text into a number of columns: cut it where it is too long, pad it with spaces where too short.

    Args:
        right: pad at the left.
        cut: part to leave out of a text that is too long: `middle` or `end`.
    """
    shown = list(clusters(text))
    taken = sum(wide for _, wide in shown)
    if taken > columns:
        room = max(columns - 1, 0)
        before, begin = _leading(shown, room - room // 2 if cut == "middle" else room)
        behind, end = _leading(shown[::-1], room - begin) if cut == "middle" else ([], 0)
        shown = [*before, *([(ELLIPSIS, 1)] if columns > 0 else []), *behind[::-1]]
        taken = begin + end + min(columns, 1)
    padding = " " * (columns - taken)
    fitted = _isolated("".join(cluster for cluster, _ in shown))
    return padding + fitted if right else fitted + padding


def _leading(shown: list[tuple[str, int]], columns: int) -> tuple[list[tuple[str, int]], int]:
    """The clusters at the beginning that fit, and their width."""
    out: list[tuple[str, int]] = []
    taken = 0
    for cluster, wide in shown:
        if taken + wide > columns:
            break
        out.append((cluster, wide))
        taken += wide
    return out, taken


def bar(share: float | None, columns: int) -> str:
    """A bar for a share from 0 to 1, resolved to an eighth of a column."""
    if share is None or math.isnan(share):
        return " " * columns
    eighths = round(min(max(share, 0.0), 1.0) * columns * 8)
    whole, rest = divmod(eighths, 8)
    return (EIGHTHS[8] * whole + (EIGHTHS[rest] if rest else "")).ljust(columns)


def number(value: float | None, digits: int = DIGITS) -> str:
    """A number to some significant digits."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.{digits}g}"


def numbers(value: Any, digits: int = DIGITS, limit: int = 3) -> str:
    """A number, a list of numbers, or numbers by name: the first `limit`, and the count of the others."""
    if isinstance(value, Mapping):
        each = [f"{name} {number(one, digits)}" for name, one in value.items()]
    elif isinstance(value, list | tuple):
        each = [number(one, digits) for one in value]
    else:
        return number(value, digits)
    more = [f"+{len(each) - limit}"] if len(each) > limit else []
    return ", ".join(each[:limit] + more) or NONE


def ago(seconds: float | None) -> str:
    """An age; a time in the future counts as now."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 1.0:
        return "now"
    return f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """A duration in the unit that fits; below ten seconds to a tenth."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 0.0995:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    unit, symbol = next((unit, symbol) for most, unit, symbol in UNITS if seconds < most)
    return f"{seconds / unit:,.0f} {symbol}"


def timestamp(seconds: float, zone: tzinfo | None = UTC) -> str:
    """A date and time with its zone.

    Args:
        seconds: since 1970.
        zone: None: the local one.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError, OSError):
        return f"{number(seconds, 12)} s since 1970"
