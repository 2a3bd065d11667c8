"""Texts are escaped, as wide as computed, and cut between clusters; numbers, durations and times."""

from __future__ import annotations

import math
import unicodedata
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.cli.terminal import formatting

FAMILY = "\U0001f468\u200d\U0001f469"  # a man, a zero-width joiner, a woman
LEFT_TO_RIGHT = formatting.LEFT_TO_RIGHT_MARK


@pytest.mark.parametrize(
    ("text", "shown", "width"),
    [
        ("sensors/pump7:t", "sensors/pump7:t", 15),
        ("", "", 0),
        ("a b", "a b", 3),
        ("\x1b[2J", "\\x1b[2J", 7),
        ("\x9b2J", "\\x9b2J", 6),  # a control sequence in one character
        ("a\nb\tc\rd\x7f", "a\\x0ab\\x09c\\x0dd\\x7f", 20),
        ("a\u202egnp", "a\\u202egnp", 10),  # reverses the text behind it
        ("\u2066a\u2069", "\\u2066a\\u2069", 13),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff", 14),  # no width
        ("a\u2028b\xa0c\u3000", "a\\u2028b\\xa0c\\u3000", 19),  # spaces and lines of other kinds
        ("\ud800", "\\ud800", 6),  # half a pair
        ("\ue000\U000f0000", "\\ue000\\U000f0000", 16),  # private
        ("\U0003ffff", "\\U0003ffff", 10),  # not assigned
        ("温度", "温度", 4),
        ("ｶﾞ", "ｶﾞ", 2),
        ("Ａ", "Ａ", 2),
        ("🌡x", "🌡x", 2),
        ("🚀x", "🚀x", 3),
        ("\u2764\ufe0f", "\u2764\\ufe0f", 7),  # of another width in each terminal
        ("👍\U0001f3fd", "👍\\U0001f3fd", 12),
        (FAMILY, "\U0001f468\\u200d\U0001f469", 10),
        ("Ka\u0308se", "Ka\u0308se", 4),
        ("a\u0301\u0301b", "a\u0301\u0301b", 2),
        ("a\u0301\u0301\u0301b", "a\u0301\u0301\\u0301b", 8),  # one too many
        ("\u0301a", "\\u0301a", 7),  # with nothing to combine with
        ("\x1b\u0301", "\\x1b\\u0301", 10),
        ("a\u20dd", "a\\u20dd", 7),  # a circle around it
        ("\u1100\u1161", "\u1100\\u1161", 8),  # a Korean letter in two parts
        ("ä·…█", "ä·…█", 4),
        ("תנור 7", "תנור 7" + LEFT_TO_RIGHT, 6),
        ("حرارة", "حرارة" + LEFT_TO_RIGHT, 5),
    ],
)
def test_a_text_is_escaped(text: str, shown: str, width: int) -> None:
    assert formatting.safe(text) == shown
    assert formatting.width(text) == width


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("pump", 6, "pump  "),
        ("pump", 4, "pump"),
        ("pumps", 4, "pu…s"),
        ("pumps", 3, "p…s"),
        ("pumps", 2, "p…"),
        ("pumps", 1, "…"),
        ("pumps", 0, ""),
        ("sensors/pump7/telemetry:t", 15, "sensors…metry:t"),
        ("温度温度", 7, "温…温度"),
        ("温度温度", 6, "温…度 "),  # no character is cut in half
        ("温度温度", 2, "… "),
        ("a\x1bb\x1bc", 8, "a…b\\x1bc"),
        ("a\x1b\x1bc", 6, "a…c   "),  # nor an escape
        ("Ka\u0308se", 3, "K…e"),
        ("a\u0301bcd", 3, "a\u0301…d"),
    ],
)
def test_a_long_text_is_cut_in_the_middle_between_clusters(text: str, columns: int, shown: str) -> None:
    fitted = formatting.fit(text, columns)
    assert formatting.width(fitted) == columns
    assert fitted == shown


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [("12.5", 6, "  12.5"), ("12.5", 4, "12.5"), ("12.567", 4, "12.…"), ("温度", 3, "温…")],
)
def test_a_text_can_be_aligned_at_the_right_and_cut_at_the_end(text: str, columns: int, shown: str) -> None:
    assert formatting.fit(text, columns, right=True, cut="end") == shown


@given(st.text(), st.integers(0, 40), st.booleans(), st.sampled_from(["middle", "end"]))
def test_any_text_fills_its_columns_without_control_characters(
    text: str, columns: int, right: bool, cut: str
) -> None:
    fitted = formatting.fit(text, columns, right=right, cut=cut).replace(LEFT_TO_RIGHT, "")
    assert formatting.width(fitted) == columns
    for character in fitted:
        assert unicodedata.category(character)[0] != "C"
        assert character == " " or unicodedata.category(character)[0] != "Z"
    assert formatting.safe(formatting.safe(text)) == formatting.safe(
        text
    ) or LEFT_TO_RIGHT in formatting.safe(text)


@pytest.mark.parametrize(
    ("share", "columns", "shown"),
    [
        (0.0, 4, "    "),
        (1.0, 4, "████"),
        (0.5, 4, "██  "),
        (0.53125, 4, "██▏ "),
        (0.001, 4, "    "),
        (0.02, 8, "▏       "),
        (7.0, 2, "██"),
        (-1.0, 2, "  "),
        (math.inf, 2, "██"),
        (math.nan, 2, "  "),
        (None, 2, "  "),
        (0.999, 4, "████"),
    ],
)
def test_bars(share: float | None, columns: int, shown: str) -> None:
    assert formatting.bar(share, columns) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (21.5, "21.5"),
        (-0.25, "-0.25"),
        (123_456_789.0, "1.23457e+08"),
        (math.inf, "inf"),
        ([], "–"),
        ([1.0], "1"),
        ((1.0, None), "1, –"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "1, 2, 3, +2"),
        ({}, "–"),
        ({"temperature": 21.25, "load": None}, "temperature 21.25, load –"),
        ({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, "a 1, b 2, c 3, +1"),
    ],
)
def test_numbers(value: object, shown: str) -> None:
    assert formatting.numbers(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (-5.0, "now"),
        (0.0, "now"),
        (0.99, "now"),
        (1.0, "1 s ago"),
        (2.5, "2.5 s ago"),
        (12.3, "12 s ago"),
        (99.4, "99 s ago"),
        (99.5, "2 min ago"),
        (5_969.0, "99 min ago"),
        (5_970.0, "2 h ago"),
        (200_000.0, "2 d ago"),
        (86_400.0 * 730, "2 y ago"),
        (1.8e9, "57 y ago"),
        (math.inf, "–"),
    ],
)
def test_ago(seconds: float | None, shown: str) -> None:
    assert formatting.ago(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (math.inf, "–"),
        (0.0, "0 ms"),
        (0.00234, "2.3 ms"),
        (0.099, "99 ms"),
        (0.0996, "0.1 s"),
        (5.0, "5 s"),
        (9.96, "10 s"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert formatting.duration(seconds) == shown


def test_timestamps_name_their_zone() -> None:
    assert formatting.timestamp(1_767_225_600.0) == "2026-01-01 00:00:00 UTC"
    assert (
        formatting.timestamp(1_767_225_600.5, timezone(timedelta(hours=5.5)))
        == "2026-01-01 05:30:00 UTC+05:30"
    )
    assert formatting.timestamp(0.0, None)[4] == "-"
    for absurd in (1e18, -1e18, math.inf, math.nan):
        assert formatting.timestamp(absurd).endswith("s since 1970")
