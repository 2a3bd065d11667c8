"""Output of `inspect`: a table of streams, one stream in sentences, and the units of its memory."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stream_lstm.cli import inspect_view
from stream_lstm.cli.inspect_view import StateSummary
from stream_lstm.cli.terminal import formatting

NOW = 1_767_225_600.0
NAN = float("nan")
SUMMARY = StateSummary("s.db", "default:0", 2, 1_234, 2)


def stream(**changes: Any) -> dict[str, Any]:
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
    timestamp = formatting.timestamp
    monkeypatch.setattr(formatting, "timestamp", lambda seconds, zone: timestamp(seconds))


def described(columns: int | None = None, colour: bool = False, **changes: Any) -> list[str]:
    features = ["t", "load"][: len(changes.get("value", [0]))]
    targets = ["t", "load"][: len(changes.get("expected", [0]))]
    return inspect_view.description(
        stream(**changes), features, targets, "default:0", now=NOW, columns=columns, colour=colour
    )


def _squeezed(text: str) -> str:
    return re.sub(" {2,}", "  ", text)


def test_streams_in_a_table() -> None:
    lines = inspect_view.stream_table(
        SUMMARY, [stream(), stream(stream="\x1b[m", events=0)], now=NOW, columns=None, colour=False
    )
    assert [text.split("  ") for text in map(_squeezed, lines)] == [
        ["s.db: 2 streams, 1,234 entries, model default:0"],
        ["stream", "events", "last value", "expected next", "error", "covered", "last seen", "event time"],
        ["pump:t", "5,000", "21.5", "21.75", "0.82", "91%", "12 s ago", "2025-12-31 23:59:00 UTC"],
        ["\\x1b[m", "–", "–", "only in the journal"],
    ]


def test_the_table_fits_the_terminal() -> None:
    for columns in (20, 40, 80, 120):
        lines = inspect_view.stream_table(
            SUMMARY, [stream(stream="x" * 99)], now=NOW, columns=columns, colour=False
        )[1:3]
        assert all(formatting.width(text) <= columns for text in lines)
        assert "last seen" in lines[0] or columns < 40


def test_streams_beyond_the_limit_are_counted() -> None:
    summary = StateSummary("s.db", "m", 2_000, 9, 1_500)
    lines = inspect_view.stream_table(
        summary, [stream(seen=0.0, error_ratio=[1.25])], now=NOW, columns=None, colour=True
    )
    assert lines[0].endswith("; 1,500 match")
    assert lines[-1] == "… and 1,499 more (--limit)"
    assert "\x1b[33m 1.25\x1b[0m" in lines[2]  # worse than the last-value forecast
    many = inspect_view.stream_table(
        summary, [stream(error_ratio=[0.5, NAN, 1.0, 2.0], covered=[])], now=NOW, columns=None, colour=False
    )
    assert "0.50, –, 1.00, +1        –" in many[2]


def test_a_stream_is_described_in_sentences() -> None:
    assert described() == [
        "pump:t",
        "",
        "5,000 events up to entry 1,200 of the journal; last seen 12 s ago, event time 2025-12-31",
        "23:59:00 UTC. Usual gap between events: 5 s. Model: default:0.",
        "",
        "Last value: 21.5; expected next: 21.75.",
        "",
        "Relative error: 0.82 (to the last-value forecast; 1.0 is no better), over the last hundreds of",
        "events. 91% of the values were inside their prediction interval.",
        "",
        "Mean: 21, standard deviation 0.5; range 12 to 30.25.",
    ]
    assert all(len(text) <= 40 for text in described(40))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"events": 1, "warm": False},
            "1 event (cold: fewer than 100) up to entry 1,200 of the journal;",
        ),
        ({"seen": 0.0}, "last seen: not known"),
        ({"error_ratio": [NAN]}, "Relative error: not known yet"),
        ({"error_ratio": [1.5]}, "Relative error: 1.50 (to the last-value forecast"),
        ({"events": 0}, "Its events are only in the journal, not yet in a checkpoint."),
        ({"stream": "\x1b]0;x\x07"}, "\\x1b]0;x\\x07"),
        (
            {"expected": [], "error_ratio": [], "covered": [], "lowest": [], "highest": []},
            "Last value: 21.5.  Mean: 21, standard deviation 0.5.",
        ),
    ],
)
def test_the_sentences_of_other_streams(changes: dict[str, Any], words: str) -> None:
    assert words in " ".join(described(**changes))


def test_several_values_are_tables() -> None:
    assert described(**SEVERAL)[4:] == [
        "",
        "feature   last value  mean  deviation",
        "t                  1     0          1",
        "load               2     1          2",
        "",
        "target    expected next  error  covered  lowest  highest",
        "t                   1.5      –      50%      -1        3",
    ]
    without = SEVERAL | {name: [] for name in ("expected", "error_ratio", "covered", "lowest", "highest")}
    assert described(**without)[4:] == described(**SEVERAL)[4:8]


def test_the_units_of_a_layer_stand_side_by_side() -> None:
    ltm, stm = [0.5, -2.0, 0.0, 1.0], [0.25, -0.5, 0.0, 1.0]
    drawn = inspect_view.layer_table(1, ltm, stm, largest=False, columns=80, colour=False)
    assert drawn == [
        "layer 1: 4 units; LTM (long-term, largest 2), STM (short-term)",
        "unit      LTM             STM",
        "   0   +0.500 ██       +0.250 ██            2   +0.000          +0.000",
        "   1   -2.000 ████████ -0.500 ████          3   +1.000 ████     +1.000 ████████",
    ]
    largest = inspect_view.layer_table(1, ltm, stm, largest=True, columns=40, colour=False)
    assert [int(text.split()[0]) for text in largest[2:]] == [1, 3, 0, 2]
    assert (
        "\x1b[36m████████\x1b[0m"
        in inspect_view.layer_table(1, ltm, stm, largest=True, columns=40, colour=True)[2]
    )


def test_a_layer_of_zeros_and_one_of_too_many_units() -> None:
    still = inspect_view.layer_table(0, [0.0, 0.0], [0.0, 0.0], largest=True, columns=None, colour=False)
    assert len(still) == 3
    many = inspect_view.layer_table(0, [1.0] * 2_000, [0.0] * 2_000, largest=False, columns=10, colour=False)
    assert many[-1] == "… and 976 more (--json prints all)"
    assert max(map(len, many[1:-1])) <= 10
