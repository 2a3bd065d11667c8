"""Model files: a specification and its weights, in one safetensors file, never as pickle.

The file's metadata has one entry, `stream_lstm`, with the specification as JSON. Its tensors, all float32:

    layer.<n>.event  (4, F, H)    layer.<n>.stm  (4, H, H)    layer.<n>.bias  (4, H)
    readout.weight   (H, O)       readout.bias   (O,)

The gates are in torch's order: ignore (i), keep (f), news (g), show (o). A file with anything else is
rejected with a message. Format: https://huggingface.co/docs/safetensors (header, then bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.core.record import Floats
from stream_lstm.errors import ModelError

METADATA_KEY = "stream_lstm"
WEIGHT_MAX = 1e6  # with larger ones float32 products could overflow; no trained weight comes near


class LayerWeights(NamedTuple):
    """Weights of one layer; the first axis is the gate: ignore, keep, news, show (torch's i, f, g, o)."""

    event: Floats  # (4, I, H)
    stm: Floats  # (4, H, H)
    bias: Floats  # (4, H)


class Readout(NamedTuple):
    """Weights of the linear layer that reads the last layer's STM."""

    weight: Floats  # (H, O)
    bias: Floats  # (O,)


class LstmModel(NamedTuple):
    """Weights that fit their specification.

    Attributes:
        id: name and digest of the file; two models with the same id predict the same.
    """

    id: str
    spec: ModelSpec
    layers: tuple[LayerWeights, ...]
    readout: Readout


def to_bytes(spec: ModelSpec, tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """A model file of this specification and these tensors (named as above).

    Raises:
        ModelError: they do not fit together.
    """
    _check(spec, tensors)
    stored = {name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}
    metadata = {METADATA_KEY: msgspec.json.encode(spec).decode()}
    return safetensors.numpy.save(stored, metadata)


def from_bytes(content: bytes, *, source: str = "model") -> LstmModel:
    """Read a model file.

    Args:
        content: the whole file.
        source: its name in errors, for instance its path.

    Raises:
        ModelError: it is not a model file of this format, or its parts do not fit together.
    """
    try:
        tensors = safetensors.numpy.load(content)
        metadata = _metadata(content)
    except (
        safetensors.SafetensorError,
        msgspec.DecodeError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ModelError(source, f"cannot be read as a safetensors file ({error})") from None
    if METADATA_KEY not in metadata:
        raise ModelError(
            source,
            "is a safetensors file without a stream_lstm specification; make one with `stream-lstm convert`",
        )
    spec = _spec(metadata[METADATA_KEY], source)
    _check(spec, tensors, source)
    digest = hashlib.sha256(content).hexdigest()[:12]
    layers = tuple(
        LayerWeights(*(tensors[f"layer.{n}.{name}"] for name in LayerWeights._fields))
        for n in range(spec.layers)
    )
    readout = Readout(tensors["readout.weight"], tensors["readout.bias"])
    return LstmModel(f"{spec.name}:{digest}", spec, layers, readout)


def _metadata(content: bytes) -> dict[str, str]:
    """The free-form part of a safetensors header: 8 bytes of length, then JSON."""
    header = msgspec.json.decode(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return msgspec.convert(header.get("__metadata__", {}), dict[str, str])


def _spec(text: str, source: str) -> ModelSpec:
    try:
        version = msgspec.json.decode(text)["version"]
        if version != FORMAT_VERSION:
            raise ModelError(source, f"has format version {version!r}, this release reads {FORMAT_VERSION}")
        return msgspec.json.decode(text, type=ModelSpec)
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(source, f"has a specification that cannot be read: {error}") from None


def _check(spec: ModelSpec, tensors: Mapping[str, NDArray[Any]], source: str = "model") -> None:
    for problem in spec.problems() or _tensor_problems(spec, tensors):
        raise ModelError(source, problem)


def _tensor_problems(spec: ModelSpec, tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    units = spec.units
    shapes: dict[str, tuple[int, ...]] = {
        "readout.weight": (units, spec.outputs),
        "readout.bias": (spec.outputs,),
    }
    for n in range(spec.layers):
        shapes[f"layer.{n}.event"] = (4, units if n else spec.inputs_width, units)
        shapes[f"layer.{n}.stm"] = (4, units, units)
        shapes[f"layer.{n}.bias"] = (4, units)
    problems = [f"tensor {name} is missing" for name in sorted(shapes.keys() - tensors.keys())]
    problems += [f"tensor {name} is unknown" for name in sorted(tensors.keys() - shapes.keys())]
    for name in sorted(shapes.keys() & tensors.keys()):
        tensor = tensors[name]
        if tensor.dtype != np.float32:
            problems.append(f"tensor {name} is {tensor.dtype}, expected float32")
        elif tensor.shape != shapes[name]:
            problems.append(f"tensor {name} has shape {tensor.shape}, expected {shapes[name]}")
        elif not np.all(np.abs(tensor) <= WEIGHT_MAX):
            problems.append(f"tensor {name} holds NaN, infinity or numbers beyond {WEIGHT_MAX:g}")
    return problems
