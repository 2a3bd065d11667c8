"""Output of the demo: lines, frames that fit the terminal, the live table, and the summary."""

from __future__ import annotations

import pytest

from stream_lstm.cli.terminal import formatting
from stream_lstm.demo import display
from stream_lstm.demo.results import Results
from tests.demo.test_results import prediction, pump


async def test_the_summary_names_events_errors_and_incidents() -> None:
    assert display.summary(pump(), 2.0) == [
        "",
        "4 events in 2 s (2/s), one prediction each",
        "",
        "sensor            events  error  in 90 % interval  incidents",
        "pump                   4   1.64               33%          1",
        "error: relative to the last-value forecast; 1.0 is no better; median 1.64",
        "",
        "incidents, the 1 most anomalous of 1, at their recorded times:",
        f"  {'pump':40} 1970-01-01 00:10  value 21, anomaly 1.00, 2 events",
    ]


async def test_the_summary_of_nothing() -> None:
    assert "no prediction was received" in display.summary(Results(), 1.0)[0]
    calm = Results()
    calm.update(prediction())
    lines = display.summary(calm, 1.0)
    assert lines[-1] == "no incidents"
    assert "pump                   1      –                 –          0" in lines


async def test_lines_give_totals_and_the_most_anomalous_sensor(capsys: pytest.CaptureFixture[str]) -> None:
    lines = display.choose(plain=True)
    with lines.live(lambda: None):
        lines.print("broker: x")
        lines.show(Results(), 1.0)
        lines.show(pump(), 1.0)
    assert capsys.readouterr().out.splitlines() == [
        "broker: x",
        "    1 s        0 predictions (0/s)",
        "    1 s        4 predictions (4/s); most anomalous: pump (1.00)",
    ]


@pytest.mark.parametrize("columns", [40, 79, 120])
async def test_a_frame_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "Screen", lambda: None)
    shown = display.TableDisplay()
    shown.print("broker: x")
    frame = shown.frame(pump(), 1.0, columns)
    assert all(formatting.width(line) <= columns for line in frame)
    assert frame[0] == "broker: x"
    assert frame[1].startswith("      4 predictions")
    assert frame[4].startswith("pump")
    if columns == 120:
        assert frame[4].split() == [
            *("pump", "1970-01-01", "00:15", "21", "12", "10", "–", "…", "–", "1.64", "1.00", "██████████")
        ]
