"""Specification of a model: its features, inputs, layers, readout and targets, and the rules between them."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
import numpy as np

from stream_lstm.core.model import input_names

FORMAT_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Limits of what a model file can make the service allocate.
UNITS_MAX = 4096
LAYERS_MAX = 16
FEATURES_MAX = 1024
HORIZON_EVENTS_MAX = 1000


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Specification of a model, as its file holds it in JSON.

    Attributes:
        version: of the file format.
        name: of the model, a part of its id.
        features: names of an event's numbers; a model with one feature accepts any single number.
        inputs: numbers that enter the cell, see `stream_lstm.core.model.inputs`.
        scaling: `running`, by each stream's own mean and deviation, or `fixed`, by `mean` and `deviation`.
        layers: number of stacked cells, each with its own LTM and STM.
        units: H, of each layer.
        readout: `step` (Laplace distribution of the next scaled value minus the present one), `value` (the
            targets' next values) or `classes` (one logit per label).
        targets: names of the predicted numbers; of a `step` model its features.
        mean, deviation: for `fixed` scaling: of each feature.
        target_mean, target_deviation: for `fixed` scaling: of each target; an output is multiplied by the
            deviation, then the mean is added.
        labels: of a `classes` model.
        horizon: numbers of events ahead that are predicted, ascending from 1; only a `step` model has more.
        made: provenance of the weights (command, seed, training streams); not used by the code.
    """

    version: int
    name: str
    features: list[str]
    inputs: list[str]
    scaling: Literal["running", "fixed"]
    layers: int
    units: int
    readout: Literal["step", "value", "classes"]
    targets: list[str] = []
    mean: list[float] = []
    deviation: list[float] = []
    target_mean: list[float] = []
    target_deviation: list[float] = []
    labels: list[str] = []
    horizon: list[int] = msgspec.field(default_factory=lambda: [1])
    made: dict[str, str] = {}

    @property
    def inputs_width(self) -> int:
        """Numbers of an event that enter the first layer."""
        return input_names.width(self.inputs, len(self.features))

    @property
    def outputs(self) -> int:
        """Numbers that the readout makes of the STM."""
        steps = 2 * len(self.horizon) * len(self.targets)
        return {"step": steps, "value": len(self.targets), "classes": len(self.labels)}[self.readout]

    def problems(self) -> list[str]:
        """The rules that this specification breaks, as messages."""
        features, targets = len(self.features), len(self.targets)
        running, kind = self.scaling == "running", self.readout
        affine = _affine(self.mean, self.deviation, features)
        target_affine = _affine(self.target_mean, self.target_deviation, targets)
        labelled = len(self.labels) > 1 and _distinct(self.labels) and not targets
        known = ", ".join(input_names.INPUTS)
        rules = [
            (self.version == FORMAT_VERSION, f"format version {self.version}, expected {FORMAT_VERSION}"),
            (NAME.fullmatch(self.name), "the name must be 1 to 64 letters, digits, `-`, `_` or `.`"),
            (1 <= features <= FEATURES_MAX, f"needs 1 to {FEATURES_MAX} features"),
            (_distinct(self.features), "features need distinct names that are not empty"),
            (_distinct(self.targets), "targets need distinct names that are not empty"),
            (self.inputs and _distinct(self.inputs), "needs inputs, each once"),
            (set(self.inputs) <= set(input_names.INPUTS), f"an input is unknown; there are {known}"),
            (1 <= self.layers <= LAYERS_MAX, f"needs 1 to {LAYERS_MAX} layers"),
            (1 <= self.units <= UNITS_MAX, f"needs 1 to {UNITS_MAX} units"),
            (self._ascends(), f"the horizon must ascend from 1 to at most {HORIZON_EVENTS_MAX}"),
            (kind == "step" or self.horizon == [1], "only a step model may have a horizon of more than 1"),
            (running or affine, "fixed scaling needs mean and deviation > 0 of each feature"),
            (
                running or target_affine,
                "fixed scaling needs target_mean and target_deviation > 0 of each target",
            ),
            (
                not running or set(self.targets) <= set(self.features),
                "with running scaling, targets must be features",
            ),
            (
                kind != "step" or (self.targets == self.features and running),
                "a step model needs running scaling, and its features as targets",
            ),
            (kind != "value" or targets > 0, "a value model needs targets"),
            (
                kind != "classes" or labelled,
                "a classes model needs two or more distinct labels, and no targets",
            ),
        ]
        return [message for holds, message in rules if not holds]

    def _ascends(self) -> bool:
        steps = self.horizon
        return steps[:1] == [1] and steps == sorted(set(steps)) and steps[-1] <= HORIZON_EVENTS_MAX


def _distinct(names: list[str]) -> bool:
    return all(names) and len(set(names)) == len(names)


def _affine(mean: list[float], deviation: list[float], count: int) -> bool:
    finite = np.isfinite(mean).all() and np.isfinite(deviation).all()
    return bool(len(mean) == len(deviation) == count and finite and all(d > 0 for d in deviation))
