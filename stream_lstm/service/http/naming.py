"""Columns of the engine as the API says them: a plain number, or an object by name where there are more."""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.service.http.schemas import Interval, Numbers


class Naming:
    """Knows the names of a model's features and targets."""

    def __init__(self, described: ModelSpec) -> None:
        self.features, self.targets = described.features, described.targets
        self._single = len(self.features) == 1 and self.targets == self.features

    def value(self, row: Sequence[float]) -> Numbers:
        """Of F features; a lone one needs no name."""
        return row[0] if len(self.features) == 1 else _by_name(self.features, row)

    def target(self, row: Sequence[float]) -> Numbers:
        """Of T targets."""
        if self._single:
            return _known(row[0])
        return _by_name(self.targets, row) if self.targets else None

    def interval(self, around: Sequence[float], half_width: Sequence[float]) -> Interval:
        """Of T targets: from and to, or null where nothing is known."""
        ends = [None if r != r else (a - r, a + r) for a, r in zip(around, half_width, strict=True)]
        if self._single:
            return ends[0]
        return dict(zip(self.targets, ends, strict=True)) if self.targets else None


def worst(row: Sequence[float], key: float | None = None) -> float | None:
    """The largest of the numbers, or the one farthest from `key`; None where there are none."""
    known = [number for number in row if number == number]
    if not known:
        return None
    return max(known, key=lambda number: number if key is None else abs(number - key))


def _known(number: float) -> float | None:
    return number if number == number else None


def _by_name(names: Sequence[str], row: Sequence[float]) -> dict[str, float | None]:
    return dict(zip(names, map(_known, row), strict=True))
