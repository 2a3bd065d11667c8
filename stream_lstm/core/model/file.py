"""A model: weights, and what goes in and comes out. Stored as one safetensors file, never as pickle.

The file's metadata holds one entry, `stream_lstm`, with the description as JSON. Its tensors, all float32:

    layer.<n>.event  (4, F, H)    layer.<n>.stm  (4, H, H)    layer.<n>.bias  (4, H)
    readout.weight   (H, O)       readout.bias   (O,)

The gates' order is torch's: ignore (i), keep (f), news (g), show (o). A loader that is handed anything else
refuses it and says what is wrong. Format: https://huggingface.co/docs/safetensors (header, then bytes).
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

from stream_lstm.core.model.cell import Floats, Weights
from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.errors import ModelError

METADATA_KEY = "stream_lstm"
WEIGHT_MAX = 1e6  # beyond it float32 products could overflow; no trained weight comes near


class Readout(NamedTuple):
    """What turns the last layer's STM into numbers."""

    weight: Floats  # (H, O)
    bias: Floats  # (O,)


class Model(NamedTuple):
    """Weights that fit their description.

    Attributes:
        id: name and digest of the file: two models with the same id predict the same.
    """

    id: str
    spec: ModelSpec
    layers: tuple[Weights, ...]
    readout: Readout


def to_bytes(description: ModelSpec, tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The model file with this description and these tensors (named as above).

    Raises:
        ModelError: they do not fit together.
    """
    _check(description, tensors)
    stored = {name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}
    metadata = {METADATA_KEY: msgspec.json.encode(description).decode()}
    return safetensors.numpy.save(stored, metadata)


def from_bytes(content: bytes, *, source: str = "model") -> Model:
    """Read a model file.

    Args:
        content: the whole file.
        source: what to call it in errors, for instance its path.

    Raises:
        ModelError: it is no model file of ours, or its parts do not fit together.
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
    ) as error:
        raise ModelError(source, f"is not a safetensors file that can be read ({error})") from None
    if METADATA_KEY not in metadata:
        raise ModelError(
            source, "is a safetensors file without our description; make one with `stream-lstm convert`"
        )
    description = _description(metadata[METADATA_KEY], source)
    _check(description, tensors, source)
    digest = hashlib.sha256(content).hexdigest()[:12]
    layers = tuple(
        Weights(
            event=np.ascontiguousarray(tensors[f"layer.{n}.event"][:, None]),
            stm=np.ascontiguousarray(tensors[f"layer.{n}.stm"][:, None]),
            bias=np.ascontiguousarray(tensors[f"layer.{n}.bias"][:, None, None]),
        )
        for n in range(description.layers)
    )
    readout = Readout(tensors["readout.weight"], tensors["readout.bias"])
    return Model(f"{description.name}:{digest}", description, layers, readout)


def _metadata(content: bytes) -> dict[str, str]:
    """The free-form part of a safetensors header: 8 bytes of length, then JSON."""
    header = msgspec.json.decode(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return msgspec.convert(header.get("__metadata__", {}), dict[str, str])


def _description(text: str, source: str) -> ModelSpec:
    try:
        version = msgspec.json.decode(text)["version"]
        if version != FORMAT_VERSION:
            raise ModelError(source, f"has format version {version!r}, this release reads {FORMAT_VERSION}")
        return msgspec.json.decode(text, type=ModelSpec)
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ModelError(source, f"has a description that cannot be read: {error}") from None


def _check(description: ModelSpec, tensors: Mapping[str, NDArray[Any]], source: str = "model") -> None:
    for wrong in (*description.wrong(), *_wrong_in_tensors(description, tensors)):
        raise ModelError(source, wrong)


def _wrong_in_tensors(d: ModelSpec, tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    if d.wrong():
        return []
    shapes: dict[str, tuple[int, ...]] = {
        "readout.weight": (d.units, d.outputs),
        "readout.bias": (d.outputs,),
    }
    for n in range(d.layers):
        shapes[f"layer.{n}.event"] = (4, d.units if n else d.inputs_width, d.units)
        shapes[f"layer.{n}.stm"] = (4, d.units, d.units)
        shapes[f"layer.{n}.bias"] = (4, d.units)
    wrong = [f"tensor {name} is missing" for name in sorted(shapes.keys() - tensors.keys())]
    wrong += [f"tensor {name} is not known" for name in sorted(tensors.keys() - shapes.keys())]
    for name in sorted(shapes.keys() & tensors.keys()):
        tensor = tensors[name]
        if tensor.dtype != np.float32:
            wrong.append(f"tensor {name} is {tensor.dtype}, expected float32")
        elif tensor.shape != shapes[name]:
            wrong.append(f"tensor {name} has shape {tensor.shape}, expected {shapes[name]}")
        elif not np.all(np.abs(tensor) <= WEIGHT_MAX):
            wrong.append(f"tensor {name} holds NaN, infinity or numbers beyond {WEIGHT_MAX:g}")
    return wrong
