"""Training of the default model: one LSTM for all streams, by truncated back-propagation through time.

The core's own scaling and inputs prepare each event, as in the service. Every sequence begins with its
stream's first event. Gradients reach back one window; the memory is carried from window to window, so that
the net learns to use a memory that is older than a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.random import Generator
from numpy.typing import NDArray

from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.inputs import WEEK_SECONDS
from stream_lstm.core.model.preparation import prepare
from stream_lstm.core.model.readout import LOG_SPREAD_MAX, LOG_SPREAD_MIN
from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.errors import SettingsError
from stream_lstm.train.convert import from_state
from stream_lstm.train.generate import TimeSeries, generate_stream

if TYPE_CHECKING:
    from torch import Tensor, nn

TARGET_MAX = 20.0  # deviations; one outlier must not dominate the loss
GRADIENT_NORM_MAX = 1.0  # clipped here, since the gradients of a recurrent net explode now and then
FORGET_BIAS_FIRST = 2.0  # a forget gate that starts open keeps gradients alive (Jozefowicz et al., 2015)
HORIZON = [1, 2, 3, 6, 12, 24]  # steps ahead


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of a training run; the same recipe gives the same model on the same machine.

    Attributes:
        units: of the LSTM.
        steps: of the optimizer, one a window.
        length: events in a sequence; each starts with a stream's first event.
        window: events that gradients reach back.
        batch: sequences side by side.
        recorded_share: share of recorded sequences in a batch; the others are generated.
        further_weight: weight in the loss of all steps ahead but the first, together; the first has 1.
        learning_rate: at first; falls to zero along a cosine.
    """

    name: str = "default"
    seed: int = 1
    units: int = 64
    steps: int = 2_400
    length: int = 2_048
    window: int = 256
    batch: int = 48
    recorded_share: float = 0.75
    further_weight: float = 1.5
    learning_rate: float = 1e-2

    @property
    def spec(self) -> ModelSpec:
        """Specification of the trained model."""
        return ModelSpec(
            version=FORMAT_VERSION,
            name=self.name,
            features=["value"],
            inputs=["value", "difference", "day", "week", "gap", "age"],
            scaling="running",
            layers=1,
            units=self.units,
            readout="step",
            targets=["value"],
            horizon=HORIZON,
        )


class Sequences(NamedTuple):
    """Cell inputs and targets of N sequences of L events; a target is NaN where there is none."""

    events: NDArray[np.float32]  # (L, N, F)
    targets: NDArray[np.float32]  # (L, N, K), K steps ahead


def make_sequences(streams: Sequence[TimeSeries], spec: ModelSpec, length: int) -> Sequences:
    """Scale streams by the core's own trackers, from their first event on, to inputs and targets."""
    count = len(streams)
    times, values = np.zeros((length, count)), np.zeros((length, count))
    known = np.zeros((length, count), bool)
    for n, series in enumerate(streams):
        size = min(length, len(series.values))
        times[:size, n], values[:size, n], known[:size, n] = series.times[:size], series.values[:size], True
        times[size:, n], values[size:, n] = series.times[size - 1], series.values[size - 1]
    events, deviations = prepare(times, values, spec)
    return Sequences(events, _targets(values, deviations, known, spec.horizon))


def _targets(
    values: NDArray[np.float64],
    deviations: NDArray[np.float64],
    known: NDArray[np.bool_],
    horizon: Sequence[int],
) -> NDArray[np.float32]:
    """Targets (L, N, K): later values minus each event's value, in its deviations; NaN where unknown."""
    targets = np.full((*values.shape, len(horizon)), np.nan, np.float32)
    for k, ahead in enumerate(horizon):
        if ahead >= len(values):
            break
        moves = (values[ahead:] - values[:-ahead]) / deviations[:-ahead]
        usable = known[ahead:].copy()
        usable[0] = False  # the first event has no deviation to scale by yet
        targets[:-ahead, :, k] = np.where(usable, moves.clip(-TARGET_MAX, TARGET_MAX), np.nan)
    return targets


def augmented(rng: Generator, recorded: TimeSeries, length: int) -> TimeSeries:
    """Augment a recording: a random start, and by chance thinned out, negated, warped, noisier, shifted."""
    stride = int(rng.choice([1, 1, 1, 2, 3]))
    starts = max(len(recorded.values) // stride - length // 2, 1)
    start = int(rng.integers(0, starts)) * stride if rng.random() < 0.7 else 0
    times, values = recorded.times[start::stride], recorded.values[start::stride]
    if rng.random() < 0.3:
        values = -values
    spread = float(np.std(values)) or 1.0
    if rng.random() < 0.3:  # compresses or stretches large deviations
        power = np.exp(rng.normal(0.0, 0.4))
        centred = (values - values.mean()) / spread
        values = np.sign(centred) * np.abs(centred) ** power
        spread = float(np.std(values)) or 1.0
    if rng.random() < 0.3:
        values = values + rng.normal(0.0, spread * rng.uniform(0.02, 0.5), len(values))
    if rng.random() < 0.3:
        times = times + rng.uniform(0.0, WEEK_SECONDS)
    return TimeSeries(times, values)


def batches(rng: Generator, recipe: Recipe, recorded: Sequence[TimeSeries]) -> Iterator[Sequences]:
    """Draw batches of sequences without end."""
    count = round(recipe.batch * recipe.recorded_share) if recorded else 0
    while True:
        chosen = [
            augmented(rng, recorded[int(rng.integers(len(recorded)))], recipe.length) for _ in range(count)
        ]
        chosen += [generate_stream(rng, recipe.length) for _ in range(recipe.batch - count)]
        yield make_sequences(chosen, recipe.spec, recipe.length)


def fit(
    recipe: Recipe,
    recorded: Sequence[TimeSeries],
    *,
    provenance: dict[str, str],
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> bytes:
    """Train a model.

    Args:
        recorded: streams to train on, beside generated ones.
        provenance: stored in the model file as `made`: command, streams trained on, streams held out.
        progress: called after each step with its number and loss.

    Returns:
        The model file.

    Raises:
        SettingsError: PyTorch is not installed.
    """
    torch = _torch()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)  # reproducible, and no slower at these sizes
    rng = np.random.default_rng(recipe.seed)
    width = recipe.spec.inputs_width
    net, out = torch.nn.LSTM(width, recipe.units), torch.nn.Linear(recipe.units, recipe.spec.outputs)
    with torch.no_grad():
        net.bias_ih_l0[recipe.units : 2 * recipe.units] = FORGET_BIAS_FIRST
    parameters = [*net.parameters(), *out.parameters()]
    optimizer = torch.optim.Adam(parameters, recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    step = 0
    for batch in batches(rng, recipe, recorded):
        memory = None
        for start in range(0, recipe.length, recipe.window):
            events = torch.from_numpy(batch.events[start : start + recipe.window])
            targets = torch.from_numpy(batch.targets[start : start + recipe.window])
            stm, memory = net(events, memory)
            loss = _loss(torch, out(stm), targets, recipe.further_weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM_MAX)
            optimizer.step()
            schedule.step()
            memory = tuple(part.detach() for part in memory)
            step += 1
            progress(step, float(loss.detach()))
            if step == recipe.steps:
                return model_file.to_bytes(replace(recipe.spec, made=provenance), tensors(net, out))
    raise AssertionError("batches never end")


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise SettingsError("train", "needs PyTorch: pip install 'stream-lstm[train]'") from None
    return torch


def _loss(torch: Any, outputs: Tensor, targets: Tensor, further_weight: float) -> Tensor:
    """Negative log likelihood of Laplace distributions, over the events that have a target.

    Args:
        outputs: (L, N, 2K) location and logarithm of the spread for each of K steps ahead.
        targets: (L, N, K), NaN where there is none.
        further_weight: see `Recipe`.
    """
    known = ~torch.isnan(targets)
    by_step = outputs.reshape(*targets.shape, 2)
    log_spread = by_step[..., 1].clamp(LOG_SPREAD_MIN, LOG_SPREAD_MAX)
    error = (torch.nan_to_num(targets) - by_step[..., 0]).abs()
    cost = torch.where(known, error * torch.exp(-log_spread) + log_spread, 0.0)
    by_horizon = cost.sum((0, 1)) / known.sum((0, 1)).clamp(min=1)
    weights = torch.full_like(by_horizon, further_weight / max(len(by_horizon) - 1, 1))
    weights[0] = 1.0
    loss: Tensor = (weights * by_horizon).sum()
    return loss


def tensors(net: nn.LSTM, out: nn.Linear) -> dict[str, NDArray[np.float32]]:
    """Convert torch's tensors to the model file's: gates in torch's order, matrices transposed."""
    state = {f"lstm.{name}": part.detach().numpy() for name, part in net.state_dict().items()}
    state |= {f"linear.{name}": part.detach().numpy() for name, part in out.state_dict().items()}
    return from_state(state, source="torch")
