"""Train an LSTM and a basic RNN of the same size in the same way, and measure how long each remembers.

    python -m examples.wolf_and_dog.train

Needs PyTorch (the extra `train`) and some minutes of one core. Writes the LSTM as a model for the service,
and the accuracies, beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from examples.wolf_and_dog.events import FEATURES, LABELS, NO_LABEL, evaluation_walks, training_walks
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import file as model_file
from stream_lstm.events import Batch
from stream_lstm.train.convert import convert

HERE = Path(__file__).parent
UNITS = 16
STEPS = 1_500
WALKS, LENGTH, PICTURES = 64, 256, 6
NEAREST = 30  # events between the cue and a picture in training, at least: the nets never see short lags
LEARNING_RATE = 5e-3
LONGEST = 10_000  # events; the forget gates start with time constants up to this
LAGS = (1, 3, 10, 30, 100, 300, 1_000, 3_000)
TESTS = 2_000  # walks a lag
TESTS_AT_ONCE = 500  # walks in memory together: 3,000 events of 500 walks are 24 MB


class Net(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """A recurrent layer and a linear layer with two labels."""

    def __init__(self, recurrent: torch.nn.RNNBase) -> None:
        super().__init__()
        self.lstm = recurrent
        self.linear = torch.nn.Linear(UNITS, len(LABELS))

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        """Logits (L, N, 2) of events (L, N, 4)."""
        hidden, _ = self.lstm(events)
        logits: torch.Tensor = self.linear(hidden)
        return logits


def lstm() -> Net:
    """LSTM whose forget gates start with time constants from 1 to `LONGEST` events.

    Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018. A basic RNN has no gates to set.
    """
    net = torch.nn.LSTM(len(FEATURES), UNITS)
    keep = torch.linspace(0.0, float(np.log(LONGEST)), UNITS)
    input_bias, hidden_bias = (getattr(net, name).detach() for name in ("bias_ih_l0", "bias_hh_l0"))
    input_bias[:UNITS], input_bias[UNITS : 2 * UNITS] = -keep, keep
    hidden_bias[: 2 * UNITS] = 0.0
    return Net(net)


def rnn() -> Net:
    """Basic RNN with tanh, initialised as PyTorch does."""
    return Net(torch.nn.RNN(len(FEATURES), UNITS))


def fit(net: Net, seed: int) -> None:
    """Train a net; the same seed gives the same walks."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        batch = training_walks(rng, WALKS, LENGTH, PICTURES, NEAREST)
        logits = net(torch.from_numpy(batch.events)).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(batch.labels).flatten(), ignore_index=NO_LABEL
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def accuracy(net: Net, lag: int, seed: int) -> float:
    """Share of right labels for pictures `lag` events after the cue."""
    rng, right = np.random.default_rng(seed), 0
    with torch.no_grad():
        for _ in range(TESTS // TESTS_AT_ONCE):
            batch = evaluation_walks(rng, TESTS_AT_ONCE, lag)
            predicted = net(torch.from_numpy(batch.events))[lag].argmax(1).numpy()
            right += int((predicted == batch.labels[lag]).sum())
    return right / TESTS


def engine_accuracy(content: bytes, lag: int, seed: int) -> float:
    """Share of right labels of the converted model, in the service's engine."""
    model = model_file.from_bytes(content)
    rng, right = np.random.default_rng(seed), 0
    for _ in range(TESTS // TESTS_AT_ONCE):
        batch = evaluation_walks(rng, TESTS_AT_ONCE, lag)
        engine = Engine(model, Memories(model.spec, rows_max=TESTS_AT_ONCE))
        rows = np.array([engine.memories.add(str(n), n + 1) for n in range(TESTS_AT_ONCE)], np.intp)
        for t, events in enumerate(batch.events):
            predictions = engine.apply(
                Batch.timed(rows, np.full(TESTS_AT_ONCE, 1.7e9 + t), events.astype(np.float64))
            )
        right += int((predictions.probabilities.argmax(1) == batch.labels[lag]).sum())
    return right / TESTS


def main(lags: Sequence[int] = LAGS) -> None:
    """Train both nets, measure them and the engine, print and write the accuracies."""
    torch.set_num_threads(1)
    accuracies: dict[str, Any] = {"lags": list(lags)}
    nets = {}
    for name, make in (("lstm", lstm), ("rnn", rnn)):
        torch.manual_seed(1)
        nets[name] = net = make()
        fit(net, seed=1)
        accuracies[name] = [accuracy(net, lag, seed=2) for lag in lags]
    state = safetensors.torch.save(nets["lstm"].state_dict())
    content = convert(state, source="wolf_and_dog", name="wolf-and-dog", features=FEATURES, labels=LABELS)
    (HERE / "model.safetensors").write_bytes(content)
    accuracies["engine"] = [engine_accuracy(content, lag, seed=2) for lag in lags]
    (HERE / "accuracy.json").write_text(json.dumps(accuracies) + "\n")
    print("accuracy by lag       " + " ".join(f"{lag:>6,}" for lag in lags))
    for name in ("lstm", "engine", "rnn"):
        print(f"{name:21} " + " ".join(f"{share:6.1%}" for share in accuracies[name]))


if __name__ == "__main__":
    main()
