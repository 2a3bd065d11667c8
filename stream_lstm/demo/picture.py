"""How the demo looks: a live table where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import statistics
import sys
from datetime import UTC, datetime
from typing import Protocol

from stream_lstm.demo.story import Incident, Sensor, Story
from stream_lstm.errors import SettingsError

INCIDENTS_SHOWN_MAX = 12


class Screen(Protocol):
    """Where the demo is shown."""

    seconds: float  # between two pictures

    def say(self, line: str) -> None:
        """Show a line."""

    def show(self, story: Story, seconds: float) -> None:
        """Show how things stand after so many seconds."""

    def end(self, story: Story, seconds: float) -> None:
        """Show the summary."""


def screen(*, plain: bool) -> Screen:
    """A table on a terminal, lines elsewhere.

    Raises:
        SettingsError: the extra `demo` is not installed.
    """
    if plain or not sys.stdout.isatty():
        return Lines()
    try:
        return Table()
    except ImportError:
        raise SettingsError("demo", "install what it shows with: pip install 'stream-lstm[demo]'") from None


class Lines:
    """One line every few seconds."""

    seconds = 5.0

    def say(self, line: str) -> None:
        """Print a line at once."""
        print(line, flush=True)

    def show(self, story: Story, seconds: float) -> None:
        """The totals, and the oddest sensor."""
        odd = max(story.sensors.values(), key=lambda s: s.said["anomaly"], default=None)
        rest = f"; oddest now: {odd.name} ({odd.said['anomaly']:.2f})" if odd else ""
        rate = story.events / max(seconds, 1e-9)
        self.say(f"{seconds:5.0f} s  {story.events:7,} predictions ({rate:,.0f}/s){rest}")

    def end(self, story: Story, seconds: float) -> None:
        """The summary."""
        for line in summary(story, seconds):
            self.say(line)


class Table:
    """A table that is redrawn in place."""

    seconds = 0.2

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._console.print(line, highlight=False)

    def show(self, story: Story, seconds: float) -> None:
        """A row a sensor."""
        from rich.table import Table as RichTable

        rate = story.events / max(seconds, 1e-9)
        table = RichTable(title=f"{story.events:,} predictions, {rate:,.0f} a second")
        for name in (
            "sensor",
            "recorded at",
            "value",
            "was expected",
            "next",
            "90 % interval",
            "error",
            "anomaly",
        ):
            table.add_column(
                name, justify="left" if name in ("sensor", "recorded at", "anomaly") else "right"
            )
        for name in sorted(story.sensors):
            sensor = story.sensors[name]
            style = "bold red" if sensor.said["kind"] else ""
            table.add_row(*_cells(sensor), style=style)
        self._live.update(table, refresh=True)

    def end(self, story: Story, seconds: float) -> None:
        """Leave the last table standing, then the summary."""
        self._live.stop()
        for line in summary(story, seconds):
            self._console.print(line, highlight=False, markup=False)


def _cells(sensor: Sensor) -> list[str]:
    said = sensor.said
    low, high = said["interval"] or (None, None)
    bar = "█" * round(said["anomaly"] * 10)
    return [
        sensor.name,
        _when(said["time"]),
        _number(said["value"]),
        _number(said["expected"]),
        _number(said["prediction"]),
        f"{_number(low)} … {_number(high)}",
        "–" if sensor.ratio is None else f"{sensor.ratio:.2f}×",
        f"{said['anomaly']:.2f} {bar}",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.5g}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def summary(story: Story, seconds: float) -> list[str]:
    """What happened, in plain lines."""
    if not story.events:
        return ["no prediction came back: see the messages above"]
    lines = [
        "",
        f"{story.events:,} events in {seconds:.0f} s ({story.events / seconds:,.0f}/s), one prediction each.",
    ]
    lines.append("")
    lines.append(f"{'sensor':40} {'events':>7} {'error':>7} {'in 90 % interval':>17} {'incidents':>10}")
    ratios = []
    for name in sorted(story.sensors):
        sensor = story.sensors[name]
        if sensor.ratio is not None:
            ratios.append(sensor.ratio)
        shown = "–" if sensor.ratio is None else f"{sensor.ratio:.2f}"
        covered = f"{sensor.covered / sensor.judged:.0%}" if sensor.judged else "–"
        lines.append(f"{name:40} {sensor.events:7,} {shown:>7} {covered:>17} {len(sensor.incidents):10}")
    if ratios:
        median = statistics.median(ratios)
        lines.append(f"error: mean |value - expected| by that of 'same as last time'; median {median:.2f}")
    lines += ["", *_oddities(list(story.incidents()))]
    return lines


def _oddities(incidents: list[Incident]) -> list[str]:
    if not incidents:
        return ["nothing was odd"]
    shown = sorted(incidents, key=lambda i: (-i.anomaly, -i.events))[:INCIDENTS_SHOWN_MAX]
    lines = [f"odd, {len(shown)} of {len(incidents)} incidents, by time of the recording:"]
    return lines + [_told(incident) for incident in sorted(shown, key=lambda i: (i.sensor, i.start))]


def _told(incident: Incident) -> str:
    many = "s" if incident.events > 1 else ""
    return (
        f"  {incident.sensor:40} {_when(incident.start)}  value {_number(incident.value)}, "
        f"anomaly {incident.anomaly:.2f}, {incident.events} event{many}"
    )
