"""A trained `torch.nn.LSTM` and `torch.nn.Linear`, saved as safetensors, to a model file; needs no torch.

Names and shapes: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html. `weight_ih_l<n>` is
(4H, F), `weight_hh_l<n>` (4H, H), both biases (4H,); rows by gate in the order i, f, g, o, which is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.errors import ModelError

Tensors = Mapping[str, NDArray[Any]]
_LSTM = re.compile(r"(?P<prefix>.*?)weight_ih_l0")


def convert(
    content: bytes,
    *,
    source: str,
    name: str,
    features: Sequence[str],
    targets: Sequence[str] = (),
    labels: Sequence[str] = (),
    mean: Sequence[float] = (),
    deviation: Sequence[float] = (),
    target_mean: Sequence[float] = (),
    target_deviation: Sequence[float] = (),
    lstm: str | None = None,
    linear: str | None = None,
) -> bytes:
    """Make a model file of a state_dict.

    Args:
        content: the safetensors file.
        source: its name, for errors.
        features: names of what goes in, in order.
        targets: names of what comes out, in order; the features if left out and no labels are given.
        labels: of a classifying model.
        mean: subtracted from each feature; 0 if left out.
        deviation: each feature is divided by; 1 if left out.
        target_mean: added to each output, after
        target_deviation: it was multiplied by this.
        lstm: prefix of the LSTM's tensors, if there are several.
        linear: prefix of the linear layer's.

    Raises:
        ModelError: says what is wrong and what to do.
    """
    found = from_state(_loaded(content, source), source=source, lstm=lstm, linear=linear)
    units = found["readout.weight"].shape[0]
    layers = sum(1 for tensor in found if tensor.endswith(".stm"))
    out = [] if labels else list(targets or features)
    described = ModelSpec(
        version=FORMAT_VERSION,
        name=name,
        features=list(features),
        inputs=["value"],
        scaling="fixed",
        layers=layers,
        units=units,
        readout="classes" if labels else "value",
        targets=out,
        labels=list(labels),
        mean=list(mean) or [0.0] * len(features),
        deviation=list(deviation) or [1.0] * len(features),
        target_mean=list(target_mean) or [0.0] * len(out),
        target_deviation=list(target_deviation) or [1.0] * len(out),
        made={"converted": source.rsplit("/", 1)[-1]},
    )
    _fits(described, found, source)
    return model_file.to_bytes(described, found)


def _loaded(content: bytes, source: str) -> Tensors:
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            source,
            f"is not a safetensors file that can be read ({error}); in Python: "
            "safetensors.torch.save_file(model.float().state_dict(), 'model.safetensors')",
        ) from None


def from_state(
    state: Tensors, *, source: str, lstm: str | None = None, linear: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """Our tensors out of a state_dict's.

    Raises:
        ModelError: no LSTM or linear layer in it, several, or of a kind that is not supported.
    """
    cells = _only(
        sorted({m["prefix"] for m in map(_LSTM.fullmatch, state) if m}), lstm, "LSTM", "--lstm", source
    )
    _supported(state, cells, source)
    layers = sum(1 for tensor in state if re.fullmatch(re.escape(cells) + r"weight_hh_l\d+", tensor))
    found: dict[str, NDArray[np.float32]] = {}
    for n in range(layers):
        found |= _layer(state, cells, n, source)
    heads = sorted(
        tensor.removesuffix("weight")
        for tensor, values in state.items()
        if tensor.endswith("weight") and values.ndim == 2 and not tensor.startswith(cells + "weight")
    )
    head = _only(heads, linear, "linear layer", "--linear", source)
    weight = _plain(state, head + "weight", source)
    units = found["layer.0.stm"].shape[1]
    if weight.ndim != 2 or weight.shape[1] != units:
        raise ModelError(source, f"{head}weight is {weight.shape}, and reads an LSTM of {units} units")
    bias = (
        _plain(state, head + "bias", source) if head + "bias" in state else np.zeros(len(weight), np.float32)
    )
    return found | {"readout.weight": np.ascontiguousarray(weight.T), "readout.bias": bias}


def _only(found: Sequence[str], chosen: str | None, what: str, option: str, source: str) -> str:
    names = ", ".join(prefix or "(no prefix)" for prefix in found)
    if chosen is not None:
        for prefix in (chosen, chosen + "."):
            if prefix in found:
                return prefix
        raise ModelError(source, f"has no {what} named {chosen!r}; there is {names or 'none'}")
    if len(found) != 1:
        raise ModelError(
            source,
            f"holds {len(found)} of {what} ({names}); choose with {option}" if found else f"holds no {what}",
        )
    return found[0]


def _supported(state: Tensors, prefix: str, source: str) -> None:
    of_lstm = [tensor.removeprefix(prefix) for tensor in state if tensor.startswith(prefix)]
    if any(tensor.endswith("_reverse") for tensor in of_lstm):
        raise ModelError(
            source, "holds a bidirectional LSTM, which needs the future; train one with bidirectional=False"
        )
    if any(tensor.startswith("weight_hr_l") for tensor in of_lstm):
        raise ModelError(source, "holds an LSTM with proj_size, which is not supported; train one without")


def _layer(state: Tensors, prefix: str, n: int, source: str) -> dict[str, NDArray[np.float32]]:
    event, stm = (_plain(state, f"{prefix}weight_{kind}_l{n}", source) for kind in ("ih", "hh"))
    units = stm.shape[-1]
    if stm.shape != (4 * units, units) or event.ndim != 2 or len(event) != 4 * units:
        raise ModelError(
            source,
            f"layer {n} is no LSTM: weight_ih_l{n} {event.shape}, weight_hh_l{n} {stm.shape} "
            "(a GRU has 3 gates, a plain RNN 1)",
        )
    bias = np.zeros(4 * units, np.float32)
    for kind in ("ih", "hh"):
        tensor = f"{prefix}bias_{kind}_l{n}"
        if tensor in state:
            part = _plain(state, tensor, source)
            if part.shape != bias.shape:
                raise ModelError(source, f"{tensor} has shape {part.shape}, expected {bias.shape}")
            bias = bias + part
    return {
        f"layer.{n}.event": np.ascontiguousarray(event.reshape(4, units, -1).transpose(0, 2, 1)),
        f"layer.{n}.stm": np.ascontiguousarray(stm.reshape(4, units, units).transpose(0, 2, 1)),
        f"layer.{n}.bias": bias.reshape(4, units),
    }


def _plain(state: Tensors, tensor: str, source: str) -> NDArray[np.float32]:
    if tensor not in state:
        raise ModelError(source, f"has no tensor {tensor}")
    values = state[tensor]
    if values.dtype.kind != "f":
        raise ModelError(source, f"tensor {tensor} is {values.dtype}; save the model with model.float()")
    return np.ascontiguousarray(values, np.float32)


def _fits(described: ModelSpec, found: Mapping[str, NDArray[np.float32]], source: str) -> None:
    """Say in the user's words what would not fit."""
    wide, outputs = found["layer.0.event"].shape[1], found["readout.bias"].shape[0]
    if wide != len(described.features):
        raise ModelError(
            source,
            f"its LSTM takes {wide} numbers an event, but {len(described.features)} features are named",
        )
    if outputs != described.outputs:
        what = "labels" if described.labels else "targets"
        raise ModelError(
            source, f"its linear layer gives {outputs} numbers, but {described.outputs} {what} are named"
        )
