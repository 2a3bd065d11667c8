"""Output of the demo: a live table on a terminal, lines elsewhere, and a summary at the end."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Protocol

from stream_lstm.cli.terminal import formatting, screen
from stream_lstm.cli.terminal.events import terminal_events
from stream_lstm.cli.terminal.screen import Screen
from stream_lstm.cli.terminal.table import Column, Span, line, table
from stream_lstm.demo.results import Incident, Results, SensorResults

INCIDENTS_SHOWN_MAX = 12  # two for each of the six sensors
DIGITS = 5  # of a value: as wide as a column of the table
BAR_COLUMNS = 10
ANOMALOUS = {"fg": "red", "bold": True}
LIVE_COLUMNS = (
    Column("sensor", width_min=16, cut="middle"),
    Column("recorded at", width_min=16, dropped=3),
    Column("value", width_min=9, right=True),
    Column("expected", width_min=9, right=True, dropped=4),
    Column("next", width_min=9, right=True),
    Column("90 % interval", width_min=23, right=True, dropped=2),
    Column("error", width_min=5, right=True, dropped=5),
    Column("anomaly", width_min=BAR_COLUMNS + 5, dropped=1),
)
SUMMARY_COLUMNS = (
    Column("sensor", width_min=16, cut="middle"),
    Column("events", right=True),
    Column("error", right=True),
    Column("in 90 % interval", right=True),
    Column("incidents", right=True),
)
LEGEND = "error: relative to the last-value forecast; 1.0 is no better"


class Display(Protocol):
    """Output of the demo.

    Attributes:
        seconds: between two calls of `show`.
    """

    seconds: float

    def live(self, leave: Callable[[], None]) -> AbstractContextManager[None]:
        """Context in which `show` may be called.

        Args:
            leave: called when the user wants to leave.
        """

    def print(self, text: str) -> None:
        """Print a line before the live part."""

    def show(self, results: Results, seconds: float) -> None:
        """Show the results after so many seconds."""


def choose(*, plain: bool) -> Display:
    """A table on a terminal, lines elsewhere."""
    return TableDisplay() if screen.redraws() and not plain else LineDisplay()


class LineDisplay:
    """A line every few seconds."""

    seconds = 5.0  # twelve lines in the default minute

    def live(self, leave: Callable[[], None]) -> AbstractContextManager[None]:
        """Change nothing: lines need no terminal."""
        return nullcontext()

    def print(self, text: str) -> None:
        """Print a line at once."""
        print(text, flush=True)

    def show(self, results: Results, seconds: float) -> None:
        """Print the totals, and the sensor of the highest anomaly score."""
        first = max(results.sensors.values(), key=lambda s: s.prediction["anomaly"], default=None)
        rest = f"; most anomalous: {first.name} ({first.prediction['anomaly']:.2f})" if first else ""
        self.print(f"{seconds:5.0f} s  {_totals(results, seconds)}{rest}")


class TableDisplay:
    """A table, drawn again and again on the terminal's alternate screen."""

    seconds = 0.2  # a trade-off: movement that the eye follows, for little processor time

    def __init__(self) -> None:
        self._screen = Screen()
        self._printed: list[str] = []

    @contextmanager
    def live(self, leave: Callable[[], None]) -> Iterator[None]:
        """Use the alternate screen."""
        with terminal_events(self._screen, changed=lambda: None, leave=leave), self._screen:
            yield

    def print(self, text: str) -> None:
        """Print a line, which the frames repeat."""
        self._printed.append(text)
        print(text, flush=True)

    def show(self, results: Results, seconds: float) -> None:
        """Draw the totals and a row for each sensor."""
        columns, lines = screen.size()
        self._screen.draw(self.frame(results, seconds, columns - 1)[:lines])

    def frame(self, results: Results, seconds: float, columns: int) -> list[str]:
        """Lines of a frame."""
        rows = [_row(results.sensors[name]) for name in sorted(results.sensors)]
        return [
            *(line([Span(text)], columns) for text in self._printed),
            line([Span(f"{_totals(results, seconds)}; q quits")], columns),
            "",
            *table(LIVE_COLUMNS, rows, columns, colour=screen.coloured()),
        ]


def _totals(results: Results, seconds: float) -> str:
    return f"{results.events:7,} predictions ({results.events / max(seconds, 1e-9):,.0f}/s)"


def _row(sensor: SensorResults) -> list[Span]:
    last = sensor.prediction
    style = ANOMALOUS if last["kind"] else None
    low, high = last["interval"] or (None, None)
    texts = (
        sensor.name,
        _minute(last["time"]),
        formatting.number(last["value"], DIGITS),
        formatting.number(last["expected"], DIGITS),
        formatting.number(last["prediction"], DIGITS),
        f"{formatting.number(low, DIGITS)} … {formatting.number(high, DIGITS)}",
        _ratio(sensor.relative_error),
        f"{last['anomaly']:.2f} {formatting.bar(last['anomaly'], BAR_COLUMNS)}",
    )
    return [Span(text, style) for text in texts]


def _ratio(ratio: float | None) -> str:
    return formatting.NONE if ratio is None else f"{ratio:.2f}"


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def summary(results: Results, seconds: float, columns: int | None = None) -> list[str]:
    """Lines of the summary.

    Args:
        seconds: duration of the demo.
        columns: width of a line; None: unlimited.
    """
    if not results.events:
        return ["no prediction was received: see the messages above"]
    sensors = [results.sensors[name] for name in sorted(results.sensors)]
    rows = [
        [
            Span(sensor.name),
            Span(f"{sensor.events:,}"),
            Span(_ratio(sensor.relative_error)),
            Span(f"{sensor.covered / sensor.evaluated:.0%}" if sensor.evaluated else formatting.NONE),
            Span(f"{len(sensor.incidents):,}"),
        ]
        for sensor in sensors
    ]
    ratios = [sensor.relative_error for sensor in sensors if sensor.relative_error is not None]
    return [
        "",
        f"{results.events:,} events in {seconds:.0f} s ({results.events / seconds:,.0f}/s), "
        "one prediction each",
        "",
        *table(SUMMARY_COLUMNS, rows, columns),
        *([f"{LEGEND}; median {statistics.median(ratios):.2f}"] if ratios else []),
        "",
        *_incidents(list(results.incidents())),
    ]


def _incidents(incidents: list[Incident]) -> list[str]:
    """The most anomalous incidents, by sensor and time."""
    if not incidents:
        return ["no incidents"]
    shown = sorted(incidents, key=lambda i: (-i.anomaly, -i.events))[:INCIDENTS_SHOWN_MAX]
    lines = [f"incidents, the {len(shown)} most anomalous of {len(incidents)}, at their recorded times:"]
    return lines + [_incident(incident) for incident in sorted(shown, key=lambda i: (i.sensor, i.start))]


def _incident(incident: Incident) -> str:
    value, plural = formatting.number(incident.value, DIGITS), "s" if incident.events > 1 else ""
    return (
        f"  {incident.sensor:40} {_minute(incident.start)}  value {value}, "
        f"anomaly {incident.anomaly:.2f}, {incident.events} event{plural}"
    )
