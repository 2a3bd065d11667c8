"""Compute golden.safetensors with PyTorch (2.13.0, as checked in): `python -m tests.train.golden.make`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from tests.train.states import FEATURES, SHAPES, events, state

KEPT = slice(None, None, 50)  # every 50th of 1,000 outputs


def outputs(layers: int, units: int) -> np.ndarray:
    """Outputs of torch for `events()`, (STEPS, OUTPUTS)."""
    weights = {name: torch.from_numpy(values) for name, values in state(layers, units).items()}
    lstm = torch.nn.LSTM(FEATURES, units, layers)
    lstm.load_state_dict({name[5:]: values for name, values in weights.items() if name.startswith("lstm.")})
    with torch.no_grad():
        stm, _ = lstm(torch.from_numpy(events())[:, None])
        predicted = stm[:, 0] @ weights["head.weight"].T + weights["head.bias"]
    return np.asarray(predicted.numpy())


if __name__ == "__main__":
    golden = {f"{layers}x{units}": outputs(layers, units)[KEPT].copy() for layers, units in SHAPES}
    Path(__file__).with_name("golden.safetensors").write_bytes(safetensors.numpy.save(golden))
