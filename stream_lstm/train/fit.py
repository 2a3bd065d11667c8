"""Training of the default model: one LSTM for every sensor there is.

The inputs are made by core's own scaling and inputs, event by event, as they will be in service. Each
sequence begins with its stream's first event and is followed to its end; gradients reach back one window,
the memory is carried on (truncated back-propagation through time), so that it learns to be worth carrying.
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
from stream_lstm.core.model import inputs
from stream_lstm.core.model.inputs import WEEK_SECONDS
from stream_lstm.core.model.readout import LOG_SPREAD_MAX, LOG_SPREAD_MIN
from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.core.trackers import event_time, scale
from stream_lstm.errors import SettingsError
from stream_lstm.train.convert import from_state
from stream_lstm.train.generate import GeneratedStream, stream

if TYPE_CHECKING:
    from torch import Tensor, nn

TARGET_MAX = 20.0  # deviations; one wild step must not decide over the rest
GRADIENT_MAX = 1.0
HORIZON = [1, 2, 3, 6, 12, 24]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a training run is made of; the same recipe gives the same model on the same machine.

    Attributes:
        length: events in a sequence; each starts with a stream's first event.
        window: events that gradients reach back.
        batch: sequences side by side.
        recorded: share of recorded sequences in a batch.
        further: weight of what lies further ahead than the next event, all of it together.
        rate: of the optimizer at first; falls to zero along a cosine.
        steps: of the optimizer, one a window.
    """

    name: str = "default"
    seed: int = 1
    units: int = 64
    steps: int = 2_400
    length: int = 2_048
    window: int = 256
    batch: int = 48
    recorded: float = 0.75
    further: float = 1.5
    rate: float = 1e-2

    @property
    def spec(self) -> ModelSpec:
        """Of the model that comes out."""
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
    """What the cell sees and should say, N sequences of L events; a target is NaN where there is none."""

    events: NDArray[np.float32]  # (L, N, F)
    targets: NDArray[np.float32]  # (L, N, K) by how far ahead


def sequences(streams: Sequence[GeneratedStream], recipe: ModelSpec, length: int) -> Sequences:
    """Inputs and targets of streams, from their first event on, by core's own scaling."""
    count = len(streams)
    times, values = np.zeros((length, count)), np.zeros((length, count))
    known = np.zeros((length, count), bool)
    for n, (when, what) in enumerate(streams):
        size = min(length, len(what))
        times[:size, n], values[:size, n], known[:size, n] = when[:size], what[:size], True
        times[size:, n], values[size:, n] = when[size - 1], what[size - 1]
    running = scale.Scale(np.zeros((count, 1)), np.zeros((count, 1)))
    timed = event_time.EventTime(*np.zeros((3, count)))
    events = np.empty((length, count, recipe.inputs_width), np.float32)
    deviations = np.empty((length, count))
    last = values[0][:, None]
    for t in range(length):
        now, seq = values[t][:, None], np.full(count, t + 1)
        running = scale.update(running, now, seq)
        timed, gap, _ = event_time.update(timed, times[t], seq)
        deviation = running.deviation()
        deviations[t] = deviation[:, 0]
        seen = inputs.Seen(
            (now - running.mean) / deviation, (now - last) / deviation, times[t], seq, timed.usual_gap, gap
        )
        events[t] = inputs.make(recipe.inputs, seen, "running")
        last = now
    return Sequences(events, _targets(values, deviations, known, recipe.horizon))


def _targets(
    values: NDArray[np.float64],
    deviations: NDArray[np.float64],
    known: NDArray[np.bool_],
    horizon: Sequence[int],
) -> NDArray[np.float32]:
    """How far the values of later events lie from each event's, in its deviations; else NaN."""
    targets = np.full((*values.shape, len(horizon)), np.nan, np.float32)
    for k, ahead in enumerate(horizon):
        if ahead >= len(values):
            break
        moves = (values[ahead:] - values[:-ahead]) / deviations[:-ahead]
        usable = known[ahead:].copy()
        usable[0] = False  # the first event of all has no deviation yet: nothing can be said in terms of it
        targets[:-ahead, :, k] = np.where(usable, moves.clip(-TARGET_MAX, TARGET_MAX), np.nan)
    return targets


def varied(rng: Generator, recorded: GeneratedStream, length: int) -> GeneratedStream:
    """A recording from a random start on, perhaps upside down, thinned out, bent, noisier, or at another
    hour."""
    stride = int(rng.choice([1, 1, 1, 2, 3]))
    most = max(len(recorded.values) // stride - length // 2, 1)
    start = int(rng.integers(0, most)) * stride if rng.random() < 0.7 else 0
    times, values = recorded.times[start::stride], recorded.values[start::stride]
    if rng.random() < 0.3:
        values = -values
    spread = float(np.std(values)) or 1.0
    if rng.random() < 0.3:  # what was far apart comes nearer, or the other way round
        power = np.exp(rng.normal(0.0, 0.4))
        centred = (values - values.mean()) / spread
        values = np.sign(centred) * np.abs(centred) ** power
        spread = float(np.std(values)) or 1.0
    if rng.random() < 0.3:
        values = values + rng.normal(0.0, spread * rng.uniform(0.02, 0.5), len(values))
    if rng.random() < 0.3:
        times = times + rng.uniform(0.0, WEEK_SECONDS)
    return GeneratedStream(times, values)


def batches(rng: Generator, recipe: Recipe, recorded: Sequence[GeneratedStream]) -> Iterator[Sequences]:
    """Batches of sequences without end."""
    real = round(recipe.batch * recipe.recorded) if recorded else 0
    while True:
        chosen = [varied(rng, recorded[int(rng.integers(len(recorded)))], recipe.length) for _ in range(real)]
        chosen += [stream(rng, recipe.length) for _ in range(recipe.batch - real)]
        yield sequences(chosen, recipe.spec, recipe.length)


def fit(
    recipe: Recipe,
    recorded: Sequence[GeneratedStream],
    *,
    made: dict[str, str],
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> bytes:
    """Train a model; returns its file.

    Args:
        recorded: streams to train on, beside generated ones.
        made: where it comes from, for the model's description.
        progress: called after each step with its number and loss.

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
        net.bias_ih_l0[recipe.units : 2 * recipe.units] = 2.0  # begin by keeping (Jozefowicz et al., 2015)
    parameters = [*net.parameters(), *out.parameters()]
    optimizer = torch.optim.Adam(parameters, recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    step = 0
    for batch in batches(rng, recipe, recorded):
        memory = None
        for start in range(0, recipe.length, recipe.window):
            events = torch.from_numpy(batch.events[start : start + recipe.window])
            targets = torch.from_numpy(batch.targets[start : start + recipe.window])
            stm, memory = net(events, memory)
            loss = _loss(torch, out(stm), targets, recipe.further)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_MAX)
            optimizer.step()
            schedule.step()
            memory = tuple(part.detach() for part in memory)
            step += 1
            progress(step, float(loss.detach()))
            if step == recipe.steps:
                return model_file.to_bytes(replace(recipe.spec, made=made), tensors(net, out))
    raise AssertionError("batches never end")


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise SettingsError("train", "needs PyTorch: pip install 'stream-lstm[train]'") from None
    return torch


def _loss(torch: Any, said: Tensor, targets: Tensor, further: float) -> Tensor:
    """Negative log likelihood of Laplace distributions, over the events that have a target."""
    known = ~torch.isnan(targets)
    by_step = said.reshape(*targets.shape, 2)
    log_spread = by_step[..., 1].clamp(LOG_SPREAD_MIN, LOG_SPREAD_MAX)
    error = (torch.nan_to_num(targets) - by_step[..., 0]).abs()
    unlikely = torch.where(known, error * torch.exp(-log_spread) + log_spread, 0.0)
    each = unlikely.sum((0, 1)) / known.sum((0, 1)).clamp(min=1)
    weights = torch.full_like(each, further / max(len(each) - 1, 1))
    weights[0] = 1.0
    loss: Tensor = (weights * each).sum()
    return loss


def tensors(net: nn.LSTM, out: nn.Linear) -> dict[str, NDArray[np.float32]]:
    """Our tensors out of torch's: gates in its order, products the other way round."""
    state = {f"lstm.{name}": part.detach().numpy() for name, part in net.state_dict().items()}
    state |= {f"linear.{name}": part.detach().numpy() for name, part in out.state_dict().items()}
    return from_state(state, source="torch")
