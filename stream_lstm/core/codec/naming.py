"""Numbers of an event as JSON shows them: plain, or as objects by feature or target.

A single feature is a plain number. A single target is one too if it is that feature; all other targets are
objects by name. Unknown numbers, NaN in the columns, become null.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.core.model.spec import ModelSpec

Numbers = float | dict[str, float | None] | None
Interval = tuple[float, float] | dict[str, tuple[float, float] | None] | None


class Naming:
    """Names of a model's F features and T targets.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.features, self.targets = spec.features, spec.targets
        self._single = len(self.features) == 1 and self.targets == self.features

    def value(self, row: Sequence[float]) -> Numbers:
        """(F,) values of the features."""
        return row[0] if len(self.features) == 1 else _by_name(self.features, row)

    def target(self, row: Sequence[float]) -> Numbers:
        """(T,) numbers of the targets; None if the model has none."""
        if self._single:
            return _known(row[0])
        return _by_name(self.targets, row) if self.targets else None

    def interval(self, around: Sequence[float], half_width: Sequence[float]) -> Interval:
        """(T,) intervals of the targets, each from lower to upper end; None if the model has no target."""
        ends = [None if r != r else (a - r, a + r) for a, r in zip(around, half_width, strict=True)]
        if self._single:
            return ends[0]
        return dict(zip(self.targets, ends, strict=True)) if self.targets else None


def worst(row: Sequence[float], key: float | None = None) -> float | None:
    """The largest number, or with `key` the one farthest from it; None if all are unknown."""
    known = [number for number in row if number == number]
    if not known:
        return None
    return max(known, key=lambda number: number if key is None else abs(number - key))


def _known(number: float) -> float | None:
    return number if number == number else None


def _by_name(names: Sequence[str], row: Sequence[float]) -> dict[str, float | None]:
    return dict(zip(names, map(_known, row), strict=True))
