"""Tables fit the width: names are cut, then columns are dropped."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.terminal.table import Column, Span, line, table

COLUMNS = (
    Column("stream", width_min=6, cut="middle"),
    Column("value", right=True),
    Column("note", width_min=6, width_max=8, dropped=1),
    Column("seen", right=True, dropped=2),
)
ROWS = [
    [Span("sensors/pump7/telemetry"), Span("21.5"), Span(""), Span("3 s")],
    [Span("温度\x1b"), Span("1234567"), Span("stale and cold"), Span("12 s")],
]


def test_a_table_without_a_limit_is_as_wide_as_its_texts() -> None:
    assert table(COLUMNS, ROWS) == [
        "stream                     value  note      seen",
        "sensors/pump7/telemetry     21.5             3 s",
        "温度\\x1b                 1234567  stale a…  12 s",
    ]


@pytest.mark.parametrize(
    ("most", "lines"),
    [
        (40, ["stream               value  note    seen", "sensors/…elemetry     21.5           3 s"]),
        (25, ["stream      value  note", "sens…try     21.5"]),
        (22, ["stream           value", "sensor…emetry     21.5"]),
        (16, ["stream     value", "sen…try     21.5"]),
        (12, ["s…m    value", "s…y     21.5"]),
        (5, ["…  v…", "…  2…"]),
        (1, ["…", "…"]),
    ],
)
def test_columns_are_dropped_in_order_where_the_line_is_too_long(most: int, lines: list[str]) -> None:
    made = table(COLUMNS, [ROWS[0], [Span("x"), Span("1234567"), *ROWS[0][2:]]], most)
    assert all(formatting.width(text) <= most for text in made)
    assert made[:2] == lines


def test_a_table_without_rows_is_a_line_of_titles() -> None:
    assert table(COLUMNS, []) == ["stream  value  note    seen"]


def test_colours_take_no_columns() -> None:
    spans = [Span("ready", {"fg": "green"}), Span(" · 12345"), Span("   ", {"fg": "red"})]
    assert line(spans, 9) == "ready · …"
    assert line(spans, 9, colour=True) == "\x1b[32mready\x1b[0m · …"
    assert line(spans, 0, colour=True) == ""


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=12)), max_size=4), st.integers(1, 60))
def test_no_line_is_longer_than_the_limit(texts: list[tuple[str, str]], most: int) -> None:
    rows = [[Span(name, {"fg": "red"}), Span(value), Span(value), Span("1 s")] for name, value in texts]
    for text in table(COLUMNS, rows, most, colour=True):
        shown = re.sub(r"\x1b\[\d+m", "", text).replace(formatting.LEFT_TO_RIGHT_MARK, "")
        assert "\x1b" not in shown
        assert formatting.width(shown) <= most
