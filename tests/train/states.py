"""State dicts of `torch.nn.LSTM` and `torch.nn.Linear`, drawn without torch, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 1_000
FEATURES = 3
OUTPUTS = 2
SHAPES = [(layers, units) for layers in (1, 2, 3) for units in (8, 64, 256)]

State = dict[str, NDArray[np.float32]]


def state(
    layers: int, units: int, *, features: int = FEATURES, outputs: int = OUTPUTS, seed: int = 0
) -> State:
    """Weights drawn as torch does: uniform within 1 / sqrt(units)."""
    rng = np.random.default_rng([seed, layers, units])
    bound = units**-0.5

    def drawn(*shape: int) -> NDArray[np.float32]:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    weights: State = {}
    for n in range(layers):
        weights[f"lstm.weight_ih_l{n}"] = drawn(4 * units, units if n else features)
        weights[f"lstm.weight_hh_l{n}"] = drawn(4 * units, units)
        weights[f"lstm.bias_ih_l{n}"] = drawn(4 * units)
        weights[f"lstm.bias_hh_l{n}"] = drawn(4 * units)
    weights["head.weight"] = drawn(outputs, units)
    weights["head.bias"] = drawn(outputs)
    return weights


def events(*, features: int = FEATURES, seed: int = 1) -> NDArray[np.float32]:
    """Inputs, (STEPS, features)."""
    return np.random.default_rng(seed).normal(0, 1, (STEPS, features)).astype(np.float32)
