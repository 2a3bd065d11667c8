"""One training run from recordings to a model file, and what can be said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stream_lstm.backtest import figures as judging
from stream_lstm.backtest.figures import Figures
from stream_lstm.backtest.files import Series
from stream_lstm.core.model import file as model_file
from stream_lstm.train import recordings
from stream_lstm.train.fit import Recipe, fit
from stream_lstm.train.recordings import Named


class Part(NamedTuple):
    """Recordings, and a figure each."""

    recordings: Sequence[Named]
    figures: Sequence[Figures]

    def lines(self, title: str) -> list[str]:
        """For people."""
        lines = [f"{title:60} {'events':>7} {'error':>7} {'covered':>8} {'alerts':>7}"]
        for recording, of in zip(self.recordings, self.figures, strict=True):
            lines.append(f"{recording.name:60} {of.events:7} {of.ratio:7.3f} {of.covered:8.1%} {of.alerts:7}")
        lines.append(f"{'median':60} {'':7} {judging.median_ratio(self.figures):7.3f}")
        lines.append("error: mean |value - expected| by that of 'same as last time'")
        return lines

    def told(self) -> dict[str, Any]:
        """For programs."""
        streams = [
            {"name": r.name, **of._asdict(), "ratio": of.ratio}
            for r, of in zip(self.recordings, self.figures, strict=True)
        ]
        return {"median_ratio": judging.median_ratio(self.figures), "streams": streams}


class Judged(NamedTuple):
    """How good a model is.

    Attributes:
        model: its id.
        parts: `held_out` and `trained_on`, where there are such recordings.
    """

    model: str
    parts: dict[str, Part]

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"model {self.model}"]
        for title, part in self.parts.items():
            lines += part.lines(title.replace("_", " "))
        return lines

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {"model": self.model, **{title: part.told() for title, part in self.parts.items()}}


def train(
    folder: Path | None,
    *,
    name: str,
    seed: int,
    steps: int,
    units: int,
    progress: Callable[[], None] = lambda: None,
) -> tuple[bytes, Judged]:
    """Train, then judge on the recordings that were held out.

    Args:
        folder: of recordings; None trains on generated streams alone.

    Returns:
        The model file, and how good it is.
    """
    recipe = Recipe(name=name, seed=seed, steps=steps, units=units)
    found = recordings.load(folder) if folder else []
    made = {
        "command": f"stream-lstm train --name {name} --seed {seed} --steps {steps} --units {units}"
        + (" --recordings DIR" if folder else ""),
        "trained_on": ", ".join(r.name for r in found if not r.held_out) or "generated streams alone",
        "held_out": ", ".join(r.name for r in found if r.held_out),
    }
    used = [r.stream for r in found if not r.held_out]
    content = fit(recipe, used, made=made, progress=lambda step, loss: progress())
    made_of = model_file.from_bytes(content)
    parts = {
        title: Part(part, judging.evaluate(made_of, [Series(r.name, *r.stream) for r in part]))
        for title, part in (
            ("held_out", [r for r in found if r.held_out]),
            ("trained_on", [r for r in found if not r.held_out]),
        )
        if part
    }
    return content, Judged(made_of.id, parts)
