"""Train an LSTM and a basic RNN of the same size in the same way, and see how long each remembers.

    python -m examples.wolf_and_dog.train

Needs PyTorch (the extra `train`); takes some minutes of one core. Writes the LSTM as a model for the service,
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

from examples.wolf_and_dog.events import FEATURES, LABELS, QUIET, tests, walks
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import file as model_file
from stream_lstm.events import Batch
from stream_lstm.train.convert import convert

HERE = Path(__file__).parent
UNITS = 16
STEPS = 1_500
WALKS, LENGTH, PICTURES = 64, 256, 6
NEAREST = 30  # events; no picture that is learnt from lies nearer to the cue
RATE = 5e-3
LONGEST = 10_000  # events; the forget gates begin with time constants up to this
LAGS = (1, 3, 10, 30, 100, 300, 1_000, 3_000)
TESTS = 2_000
TESTS_AT_ONCE = 500


class Net(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """A recurrent layer, and a line that makes two labels of it."""

    def __init__(self, recurrent: torch.nn.RNNBase) -> None:
        super().__init__()
        self.lstm = recurrent
        self.linear = torch.nn.Linear(UNITS, len(LABELS))

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        """Logits (L, N, 2) of events (L, N, 4)."""
        seen, _ = self.lstm(events)
        made: torch.Tensor = self.linear(seen)
        return made


def lstm() -> Net:
    """Its forget gates begin with time constants from 1 to `LONGEST` events.

    Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018. A basic RNN has no gates to set.
    """
    net = torch.nn.LSTM(len(FEATURES), UNITS)
    keep = torch.linspace(0.0, float(np.log(LONGEST)), UNITS)
    ours, theirs = (getattr(net, name).detach() for name in ("bias_ih_l0", "bias_hh_l0"))
    ours[:UNITS], ours[UNITS : 2 * UNITS] = -keep, keep
    theirs[: 2 * UNITS] = 0.0
    return Net(net)


def rnn() -> Net:
    """As PyTorch makes it: tanh."""
    return Net(torch.nn.RNN(len(FEATURES), UNITS))


def fit(net: Net, seed: int) -> None:
    """Train; the same walks for the same seed."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        batch = walks(rng, WALKS, LENGTH, PICTURES, NEAREST)
        said = net(torch.from_numpy(batch.events)).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(
            said, torch.from_numpy(batch.answers).flatten(), ignore_index=QUIET
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def accuracy(net: Net, lag: int, seed: int) -> float:
    """Share of right answers after so many events."""
    rng, right = np.random.default_rng(seed), 0
    with torch.no_grad():
        for _ in range(TESTS // TESTS_AT_ONCE):
            asked = tests(rng, TESTS_AT_ONCE, lag)
            said = net(torch.from_numpy(asked.events))[lag].argmax(1).numpy()
            right += int((said == asked.answers[lag]).sum())
    return right / TESTS


def engine_accuracy(content: bytes, lag: int, seed: int) -> float:
    """The same of the converted model, in the service's engine."""
    made = model_file.from_bytes(content)
    rng, right = np.random.default_rng(seed), 0
    for _ in range(TESTS // TESTS_AT_ONCE):
        asked = tests(rng, TESTS_AT_ONCE, lag)
        engine = Engine(made, Memories(made.spec, rows_max=TESTS_AT_ONCE))
        rows = np.array([engine.memories.admit(str(n), n + 1) for n in range(TESTS_AT_ONCE)], np.intp)
        for t, events in enumerate(asked.events):
            said = engine.apply(
                Batch.timed(rows, np.full(TESTS_AT_ONCE, 1.7e9 + t), events.astype(np.float64))
            )
        right += int((said.probabilities.argmax(1) == asked.answers[lag]).sum())
    return right / TESTS


def main(lags: Sequence[int] = LAGS) -> None:
    """Train both, judge both, and the engine; print and keep what was found."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {"lags": list(lags)}
    nets = {}
    for name, make in (("lstm", lstm), ("rnn", rnn)):
        torch.manual_seed(1)
        nets[name] = net = make()
        fit(net, seed=1)
        found[name] = [accuracy(net, lag, seed=2) for lag in lags]
    state = safetensors.torch.save(nets["lstm"].state_dict())
    content = convert(state, source="wolf_and_dog", name="wolf-and-dog", features=FEATURES, labels=LABELS)
    (HERE / "model.safetensors").write_bytes(content)
    found["engine"] = [engine_accuracy(content, lag, seed=2) for lag in lags]
    (HERE / "accuracy.json").write_text(json.dumps(found) + "\n")
    print("right answers by lag  " + " ".join(f"{lag:>6,}" for lag in lags))
    for name in ("lstm", "engine", "rnn"):
        print(f"{name:21} " + " ".join(f"{share:6.1%}" for share in found[name]))


if __name__ == "__main__":
    main()
