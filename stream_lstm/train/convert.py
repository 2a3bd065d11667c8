"""Conversion of a trained `torch.nn.LSTM` and `torch.nn.Linear`, saved as safetensors, to a model file.

Names and shapes: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html. `weight_ih_l<n>` is
(4H, F), `weight_hh_l<n>` (4H, H), both biases (4H,); rows by gate in the order i, f, g, o, which is also the
model file's. Needs no torch.
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
    """Convert a state_dict to a model file.

    Args:
        content: the safetensors file.
        source: its path, for errors.
        features: input names, in order.
        targets: output names, in order; the features if left out and no labels are given.
        labels: classes of a classifying model.
        mean: subtracted from each feature; 0 if left out.
        deviation: divides each feature; 1 if left out.
        target_mean: added to each output after the multiplication; 0 if left out.
        target_deviation: multiplies each output; 1 if left out.
        lstm: prefix of the LSTM's tensors, if there are several LSTMs.
        linear: prefix of the linear layer's tensors, if there are several linear layers.

    Returns:
        The model file.

    Raises:
        ModelError: the state_dict cannot be converted; the message gives the remedy.
    """
    tensors = from_state(_load(content, source), source=source, lstm=lstm, linear=linear)
    units = tensors["readout.weight"].shape[0]
    layers = sum(1 for name in tensors if name.endswith(".stm"))
    outputs = [] if labels else list(targets or features)
    spec = ModelSpec(
        version=FORMAT_VERSION,
        name=name,
        features=list(features),
        inputs=["value"],
        scaling="fixed",
        layers=layers,
        units=units,
        readout="classes" if labels else "value",
        targets=outputs,
        labels=list(labels),
        mean=list(mean) or [0.0] * len(features),
        deviation=list(deviation) or [1.0] * len(features),
        target_mean=list(target_mean) or [0.0] * len(outputs),
        target_deviation=list(target_deviation) or [1.0] * len(outputs),
        made={"converted": source.rsplit("/", 1)[-1]},
    )
    _check_names(spec, tensors, source)
    return model_file.to_bytes(spec, tensors)


def _load(content: bytes, source: str) -> Tensors:
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            source,
            f"is not a readable safetensors file ({error}); save the model with "
            "safetensors.torch.save_file(model.float().state_dict(), 'model.safetensors')",
        ) from None


def from_state(
    state: Tensors, *, source: str, lstm: str | None = None, linear: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """Convert a state_dict's tensors to the model file's.

    Raises:
        ModelError: it has no LSTM or linear layer, several, or one of a kind that is not supported.
    """
    cells = _choose(
        sorted({m["prefix"] for m in map(_LSTM.fullmatch, state) if m}), lstm, "LSTM", "--lstm", source
    )
    _check_supported(state, cells, source)
    layers = sum(1 for tensor in state if re.fullmatch(re.escape(cells) + r"weight_hh_l\d+", tensor))
    tensors: dict[str, NDArray[np.float32]] = {}
    for n in range(layers):
        tensors |= _layer(state, cells, n, source)
    heads = sorted(
        tensor.removesuffix("weight")
        for tensor, values in state.items()
        if tensor.endswith("weight") and values.ndim == 2 and not tensor.startswith(cells + "weight")
    )
    head = _choose(heads, linear, "linear layer", "--linear", source)
    weight = _float32(state, head + "weight", source)
    units = tensors["layer.0.stm"].shape[1]
    if weight.ndim != 2 or weight.shape[1] != units:
        raise ModelError(
            source, f"{head}weight has shape {weight.shape}, which does not fit an LSTM of {units} units"
        )
    bias = (
        _float32(state, head + "bias", source)
        if head + "bias" in state
        else np.zeros(len(weight), np.float32)
    )
    return tensors | {"readout.weight": np.ascontiguousarray(weight.T), "readout.bias": bias}


def _choose(prefixes: Sequence[str], chosen: str | None, kind: str, option: str, source: str) -> str:
    """Return the prefix that an option names, or the only one."""
    names = ", ".join(prefix or "(no prefix)" for prefix in prefixes)
    if chosen is not None:
        for prefix in (chosen, chosen + "."):
            if prefix in prefixes:
                return prefix
        raise ModelError(source, f"has no {kind} with prefix {chosen!r}; prefixes: {names or 'none'}")
    if not prefixes:
        raise ModelError(source, f"has no {kind}")
    if len(prefixes) > 1:
        raise ModelError(source, f"has more than one {kind} ({names}); choose with {option}")
    return prefixes[0]


def _check_supported(state: Tensors, prefix: str, source: str) -> None:
    of_lstm = [tensor.removeprefix(prefix) for tensor in state if tensor.startswith(prefix)]
    if any(tensor.endswith("_reverse") for tensor in of_lstm):
        raise ModelError(
            source, "has a bidirectional LSTM, which needs future events; train with bidirectional=False"
        )
    if any(tensor.startswith("weight_hr_l") for tensor in of_lstm):
        raise ModelError(source, "has an LSTM with proj_size, which is not supported; train without")


def _layer(state: Tensors, prefix: str, n: int, source: str) -> dict[str, NDArray[np.float32]]:
    event, stm = (_float32(state, f"{prefix}weight_{kind}_l{n}", source) for kind in ("ih", "hh"))
    units = stm.shape[-1]
    if stm.shape != (4 * units, units) or event.ndim != 2 or len(event) != 4 * units:
        raise ModelError(
            source,
            f"layer {n} is not an LSTM: weight_ih_l{n} has shape {event.shape}, weight_hh_l{n} {stm.shape}; "
            "an LSTM has 4 gates, a GRU 3, a plain RNN 1",
        )
    bias = np.zeros(4 * units, np.float32)
    for kind in ("ih", "hh"):
        tensor = f"{prefix}bias_{kind}_l{n}"
        if tensor in state:
            part = _float32(state, tensor, source)
            if part.shape != bias.shape:
                raise ModelError(source, f"{tensor} has shape {part.shape}, expected {bias.shape}")
            bias = bias + part
    return {
        f"layer.{n}.event": np.ascontiguousarray(event.reshape(4, units, -1).transpose(0, 2, 1)),
        f"layer.{n}.stm": np.ascontiguousarray(stm.reshape(4, units, units).transpose(0, 2, 1)),
        f"layer.{n}.bias": bias.reshape(4, units),
    }


def _float32(state: Tensors, tensor: str, source: str) -> NDArray[np.float32]:
    if tensor not in state:
        raise ModelError(source, f"has no tensor {tensor}")
    values = state[tensor]
    if values.dtype.kind != "f":
        raise ModelError(source, f"tensor {tensor} is {values.dtype}; save the model with model.float()")
    return np.ascontiguousarray(values, np.float32)


def _check_names(spec: ModelSpec, tensors: Mapping[str, NDArray[np.float32]], source: str) -> None:
    """Check that there is one name for each input and each output."""
    inputs, outputs = tensors["layer.0.event"].shape[1], tensors["readout.bias"].shape[0]
    if inputs != len(spec.features):
        raise ModelError(source, f"LSTM has {inputs} inputs, but {len(spec.features)} features are named")
    if outputs != spec.outputs:
        kind = "labels" if spec.labels else "targets"
        raise ModelError(source, f"linear layer has {outputs} outputs, but {spec.outputs} {kind} are named")
