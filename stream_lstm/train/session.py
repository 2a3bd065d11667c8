"""One training run: recordings in; a model file and its evaluation out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stream_lstm.backtest import evaluation
from stream_lstm.backtest.evaluation import Evaluation
from stream_lstm.backtest.files import Series
from stream_lstm.core.model import file as model_file
from stream_lstm.train import recordings
from stream_lstm.train.fit import Recipe, fit
from stream_lstm.train.recordings import RecordedStream


class Part(NamedTuple):
    """Recordings, either held out or trained on, and the evaluation of each."""

    recordings: Sequence[RecordedStream]
    evaluations: Sequence[Evaluation]

    def lines(self, title: str) -> list[str]:
        """Table for the terminal."""
        lines = [f"{title:60} {'events':>7} {'error':>7} {'coverage':>8} {'alerts':>7}"]
        for recording, of in zip(self.recordings, self.evaluations, strict=True):
            lines.append(
                f"{recording.name:60} {of.events:7} {of.relative_mae:7.3f} {of.coverage:8.1%} {of.alerts:7}"
            )
        lines.append(f"{'median':60} {'':7} {evaluation.median_relative_mae(self.evaluations):7.3f}")
        lines.append("error: mean absolute error relative to the last-value forecast; 1.0 is no better")
        return lines

    def fields(self) -> dict[str, Any]:
        """Names and values for JSON output; the names are public."""
        streams = [
            {"name": recording.name, **of.fields()}
            for recording, of in zip(self.recordings, self.evaluations, strict=True)
        ]
        return {"median_ratio": evaluation.median_relative_mae(self.evaluations), "streams": streams}


class TrainingReport(NamedTuple):
    """Evaluation of a trained model.

    Attributes:
        model: its id.
        parts: `held_out` and `trained_on`, where there are such recordings.
    """

    model: str
    parts: dict[str, Part]

    def lines(self) -> list[str]:
        """Tables for the terminal."""
        lines = [f"model {self.model}"]
        for title, part in self.parts.items():
            lines += part.lines(title.replace("_", " "))
        return lines

    def fields(self) -> dict[str, Any]:
        """Names and values for JSON output; the names are public."""
        return {"model": self.model, **{title: part.fields() for title, part in self.parts.items()}}


def train(
    folder: Path | None,
    *,
    name: str,
    seed: int,
    steps: int,
    units: int,
    progress: Callable[[], None] = lambda: None,
) -> tuple[bytes, TrainingReport]:
    """Train a model, then evaluate it on the recordings that were held out and on the others.

    Args:
        folder: recordings; None trains on generated streams alone.
        progress: called after each step of the optimizer.

    Returns:
        The model file, and its evaluation.
    """
    recipe = Recipe(name=name, seed=seed, steps=steps, units=units)
    recorded = recordings.load(folder) if folder else []
    held_out = [each for each in recorded if each.held_out]
    trained_on = [each for each in recorded if not each.held_out]
    provenance = {
        "command": f"stream-lstm train --name {name} --seed {seed} --steps {steps} --units {units}"
        + (" --recordings DIR" if folder else ""),
        "trained_on": ", ".join(each.name for each in trained_on) or "generated streams alone",
        "held_out": ", ".join(each.name for each in held_out),
    }
    content = fit(
        recipe,
        [each.series for each in trained_on],
        provenance=provenance,
        progress=lambda step, loss: progress(),
    )
    model = model_file.from_bytes(content)
    parts = {
        title: Part(part, evaluation.evaluate(model, [Series(each.name, *each.series) for each in part]))
        for title, part in (("held_out", held_out), ("trained_on", trained_on))
        if part
    }
    return content, TrainingReport(model.id, parts)
