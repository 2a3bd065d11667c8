"""What goes into a model and what comes out of it, and the rules that hold between the parts."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
import numpy as np

from stream_lstm.core.model import inputs

FORMAT_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNITS_MAX = 4096
LAYERS_MAX = 16
FEATURES_MAX = 1024
HORIZON_MAX = 1000


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What goes into a model and what comes out of it.

    Attributes:
        version: of this format.
        name: what people call it.
        features: names of an event's numbers; a model of one feature serves any single number.
        inputs: what of them enters the cell, see `stream_lstm.core.model.inputs`.
        scaling: `running` per stream, or `fixed` by `mean` and `deviation` (numbers by feature).
        layers: how many cells are stacked, each with its own LTM and STM.
        units: H, of each layer.
        readout: `step` (Laplace distribution of the next scaled value minus this one), `value` (the
            targets' next values) or `classes` (one logit a label).
        targets: names of what is predicted; of `step` they are the features.
        target_mean: for `fixed` scaling: added to what comes out, after
        target_deviation: it was multiplied by this.
        labels: of a classifying model.
        horizon: how many events ahead it looks: 1, and of `step` perhaps more, ascending.
        made: where the weights come from (command, seed, training streams), for people.
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
        """How many numbers of an event enter the first layer."""
        return inputs.width(self.inputs, len(self.features))

    @property
    def outputs(self) -> int:
        """How many numbers the readout makes of the STM."""
        steps = 2 * len(self.horizon) * len(self.targets)
        return {"step": steps, "value": len(self.targets), "classes": len(self.labels)}[self.readout]

    def _ascends(self) -> bool:
        steps = self.horizon
        return steps[:1] == [1] and steps == sorted(set(steps)) and steps[-1] <= HORIZON_MAX

    def wrong(self) -> list[str]:
        """The rules that this description breaks, in words."""
        features, targets = len(self.features), len(self.targets)
        running, kind = self.scaling == "running", self.readout
        rules = [
            (self.version == FORMAT_VERSION, f"format version {self.version}, expected {FORMAT_VERSION}"),
            (NAME.fullmatch(self.name), "the name must be letters, digits, `-`, `_` or `.`"),
            (1 <= features <= FEATURES_MAX, f"needs 1 to {FEATURES_MAX} features"),
            (_distinct(self.features), "each feature needs a name of its own"),
            (_distinct(self.targets), "each target needs a name of its own"),
            (self.inputs and _distinct(self.inputs), "needs inputs, each once"),
            (set(self.inputs) <= set(inputs.MAKERS), f"inputs are of {', '.join(inputs.MAKERS)}"),
            (1 <= self.layers <= LAYERS_MAX, f"needs 1 to {LAYERS_MAX} layers"),
            (1 <= self.units <= UNITS_MAX, f"needs 1 to {UNITS_MAX} units"),
            (self._ascends(), f"the horizon begins with 1 and ascends, to {HORIZON_MAX} at most"),
            (kind == "step" or self.horizon == [1], "step: no other looks further ahead than 1 event"),
            (
                running or _affine(self.mean, self.deviation, features),
                "fixed scaling: mean, deviation > 0 a feature",
            ),
            (
                running or _affine(self.target_mean, self.target_deviation, targets),
                "fixed scaling: target_mean, target_deviation > 0 a target",
            ),
            (not running or set(self.targets) <= set(self.features), "running scaling: targets are features"),
            (
                kind != "step" or (self.targets == self.features and running),
                "step: running, targets = features",
            ),
            (kind != "value" or targets > 0, "value: needs targets"),
            (
                kind != "classes" or (len(self.labels) > 1 and _distinct(self.labels) and not targets),
                "classes: needs two or more labels, and no targets",
            ),
        ]
        return [rule for holds, rule in rules if not holds]


def _distinct(names: list[str]) -> bool:
    return all(names) and len(set(names)) == len(names)


def _affine(mean: list[float], deviation: list[float], count: int) -> bool:
    finite = np.isfinite(mean).all() and np.isfinite(deviation).all()
    return bool(len(mean) == len(deviation) == count and finite and all(d > 0 for d in deviation))
