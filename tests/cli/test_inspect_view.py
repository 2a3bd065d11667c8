"""What `inspect` says to people of streams, of one stream, and of its memory."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stream_lstm.cli import inspect_view
from stream_lstm.cli.inspect_view import About
from stream_lstm.cli.terminal import formatting

NOW = 1_767_225_600.0
NAN = float("nan")
ABOUT = About("s.db", "default:0", 2, 1_234, 2)


def told(**changes: Any) -> dict[str, Any]:
    return {
        "stream": "pump:t",
        "entry": 1_200,
        "events": 5_000,
        "time": NOW - 60.0,
        "seen": NOW - 12.0,
        "value": [21.5],
        "expected": [21.75],
        "warm": True,
        "error_ratio": [0.82],
        "covered": [0.912],
        "usual_gap_seconds": 5.0,
        "mean": [21.0],
        "deviation": [0.5],
        "lowest": [12.0],
        "highest": [30.25],
    } | changes


SEVERAL: dict[str, Any] = {
    "value": [1.0, 2.0],
    "expected": [1.5],
    "error_ratio": [NAN],
    "covered": [0.5],
    "mean": [0.0, 1.0],
    "deviation": [1.0, 2.0],
    "lowest": [-1.0],
    "highest": [3.0],
}


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    when = formatting.when
    monkeypatch.setattr(formatting, "when", lambda seconds, zone: when(seconds))


def said(columns: int | None = None, colour: bool = False, **changes: Any) -> list[str]:
    features = ["t", "load"][: len(changes.get("value", [0]))]
    targets = ["t", "load"][: len(changes.get("expected", [0]))]
    return inspect_view.paragraphs(
        told(**changes), features, targets, "default:0", now=NOW, columns=columns, colour=colour
    )


def _squeezed(text: str) -> str:
    return re.sub(" {2,}", "  ", text)


def test_streams_in_a_table() -> None:
    lines = inspect_view.listed(
        ABOUT, [told(), told(stream="\x1b[m", events=0)], now=NOW, columns=None, colour=False
    )
    assert [text.split("  ") for text in map(_squeezed, lines)] == [
        ["s.db: 2 streams, 1,234 entries, model default:0"],
        ["stream", "events", "last value", "expected next", "error", "covered", "last heard", "its time"],
        ["pump:t", "5,000", "21.5", "21.75", "0.82", "91%", "12 s ago", "2025-12-31 23:59:00 UTC"],
        ["\\x1b[m", "–", "–", "only in the journal"],
    ]


def test_a_table_of_streams_fits() -> None:
    for columns in (20, 40, 80, 120):
        lines = inspect_view.listed(ABOUT, [told(stream="x" * 99)], now=NOW, columns=columns, colour=False)[
            1:3
        ]
        assert all(formatting.width(text) <= columns for text in lines)
        assert "last heard" in lines[0] or columns < 40


def test_what_is_not_listed_is_counted() -> None:
    about = About("s.db", "m", 2_000, 9, 1_500)
    lines = inspect_view.listed(
        about, [told(seen=0.0, error_ratio=[1.25])], now=NOW, columns=None, colour=True
    )
    assert lines[0].endswith("; 1,500 match")
    assert lines[-1] == "… and 1,499 more (--limit)"
    assert "\x1b[33m 1.25\x1b[0m" in lines[2]  # worse than "same as last time"
    many = inspect_view.listed(
        about, [told(error_ratio=[0.5, NAN, 1.0, 2.0], covered=[])], now=NOW, columns=None, colour=False
    )
    assert "0.50, –, 1.00, +1        –" in many[2]


def test_a_stream_in_words() -> None:
    assert said() == [
        "pump:t",
        "",
        "5,000 events up to entry 1,200 of the journal; last heard 12 s ago, with an event of 2025-12-31",
        "23:59:00 UTC. As a rule one comes every 5 s. Remembered for model default:0.",
        "",
        "The last value is 21.5; expected next is 21.75.",
        "",
        'It is predicted better than by repeating it: its mean error of late is 0.82 of that of "same as',
        'last time"; 91% of the values lay inside their interval.',
        "",
        "Normal is 21 with a deviation of 0.5; all values were between 12 and 30.25.",
    ]
    assert all(len(text) <= 40 for text in said(40))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"events": 1, "warm": False},
            "1 event up to entry 1,200 of the journal, which are few: the stream is cold;",
        ),
        ({"seen": 0.0}, "last heard nobody knows when"),
        ({"error_ratio": [NAN]}, "It cannot be said yet how well it is predicted"),
        ({"error_ratio": [1.5]}, "predicted no better than by repeating it"),
        ({"events": 0}, "Its events are only in the journal, and not yet in a checkpoint;"),
        ({"stream": "\x1b]0;x\x07"}, "\\x1b]0;x\\x07"),
        (
            {"expected": [], "error_ratio": [], "covered": [], "lowest": [], "highest": []},
            "The last value is 21.5.  Normal is 21 with a deviation of 0.5.",
        ),
    ],
)
def test_what_else_there_is_to_say(changes: dict[str, Any], words: str) -> None:
    assert words in " ".join(said(**changes))


def test_several_numbers_are_tables() -> None:
    assert said(**SEVERAL)[4:] == [
        "",
        "what comes in  last value  mean  deviation",
        "t                       1     0          1",
        "load                    2     1          2",
        "",
        "what is predicted  expected next  error  covered  lowest  highest",
        "t                            1.5      –      50%      -1        3",
    ]
    without = SEVERAL | {name: [] for name in ("expected", "error_ratio", "covered", "lowest", "highest")}
    assert said(**without)[4:] == said(**SEVERAL)[4:8]


def test_a_layers_units_beside_each_other() -> None:
    ltm, stm = [0.5, -2.0, 0.0, 1.0], [0.25, -0.5, 0.0, 1.0]
    drawn = inspect_view.layer(1, ltm, stm, largest=False, columns=80, colour=False)
    assert drawn == [
        "layer 1: 4 units; LTM (for long), its largest 2; STM (for now)",
        "unit      LTM             STM",
        "   0   +0.500 ██       +0.250 ██            2   +0.000          +0.000",
        "   1   -2.000 ████████ -0.500 ████          3   +1.000 ████     +1.000 ████████",
    ]
    largest = inspect_view.layer(1, ltm, stm, largest=True, columns=40, colour=False)
    assert [int(text.split()[0]) for text in largest[2:]] == [1, 3, 0, 2]
    assert (
        "\x1b[36m████████\x1b[0m" in inspect_view.layer(1, ltm, stm, largest=True, columns=40, colour=True)[2]
    )


def test_a_layer_of_nothing_and_one_of_too_many_units() -> None:
    still = inspect_view.layer(0, [0.0, 0.0], [0.0, 0.0], largest=True, columns=None, colour=False)
    assert len(still) == 3
    many = inspect_view.layer(0, [1.0] * 2_000, [0.0] * 2_000, largest=False, columns=10, colour=False)
    assert many[-1] == "… and 976 more (--json has all)"
    assert max(map(len, many[1:-1])) <= 10
