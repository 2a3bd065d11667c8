"""Evaluation of a classifying model on labelled recordings, beside two guesses that need no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.errors import SettingsError

UNLABELLED = -1
PROBABILITY_MIN = 1e-12  # bounds the loss of one event: a probability of 0 would make all others meaningless


class ClassEvaluation(NamedTuple):
    """How often, and how surely, the labelled events of a stream were classified right.

    Attributes:
        events: of the stream.
        labelled: events with a label; only they count.
        correct: of these, where the most probable class was the label.
        majority_correct: where the label was the one seen most often before.
        last_label_correct: where it was the one before.
        loss: sum of -ln(probability of the label) (cross entropy).
    """

    events: int
    labelled: int
    correct: int
    majority_correct: int
    last_label_correct: int
    loss: float

    def fields(self) -> dict[str, Any]:
        """Names and values for JSON output; the names are public."""
        return {
            "events": self.events,
            "labelled": self.labelled,
            "accuracy": self.correct / self.labelled,
            "accuracy_majority": self.majority_correct / self.labelled,
            "accuracy_last_label": self.last_label_correct / self.labelled,
            "log_loss": self.loss / self.labelled,
        }


def label_indices(cells: Sequence[Any], labels: Sequence[str], path: Path) -> NDArray[np.intp]:
    """Classes of the events, (L,), from the cells of a column; -1 where a cell is empty.

    Raises:
        SettingsError: a cell is no class of the model, or all are empty.
    """
    known = {label: n for n, label in enumerate(labels)} | {"": UNLABELLED}
    indices = np.empty(len(cells), np.intp)
    for n, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        if text not in known:
            raise SettingsError(
                str(path), f"event {n + 1}: {text[:40]!r} is not a class of the model ({', '.join(labels)})"
            )
        indices[n] = known[text]
    if (indices == UNLABELLED).all():
        raise SettingsError(str(path), "has no label in any row")
    return indices


def evaluate_classes(probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> ClassEvaluation:
    """Evaluate probabilities (L, C) by the events' labels (L,); both guesses start with the first class."""
    at = np.flatnonzero(labels != UNLABELLED)
    true, given = labels[at], probabilities[at]
    before = np.concatenate([[0], true[:-1]])
    seen = np.cumsum(np.eye(probabilities.shape[1], dtype=np.intp)[true], axis=0)
    majority = np.concatenate([[0], seen[:-1].argmax(axis=1)])
    sure = np.maximum(given[np.arange(len(at)), true], PROBABILITY_MIN)
    return ClassEvaluation(
        events=len(labels),
        labelled=len(at),
        correct=int((given.argmax(axis=1) == true).sum()),
        majority_correct=int((majority == true).sum()),
        last_label_correct=int((before == true).sum()),
        loss=float(-np.log(sure).sum()),
    )


def total(evaluations: Iterable[ClassEvaluation]) -> ClassEvaluation:
    """All streams together."""
    return ClassEvaluation(*(sum(column) for column in zip(*evaluations, strict=True)))
