"""Model files are read as they were written; every other file is rejected with a message."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_lstm.core.model import file as model_file
from stream_lstm.errors import ModelError
from tests.core.models import KINDS, description, tensors

FILE = model_file.to_bytes(description(), tensors(description()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_file_is_read_as_it_was_written(kind: str) -> None:
    of = description(**KINDS[kind])
    made = tensors(of)
    read = model_file.from_bytes(model_file.to_bytes(of, made))
    assert read.spec == of
    assert np.array_equal(read.layers[0].event, made["layer.0.event"])
    assert np.array_equal(read.readout.weight, made["readout.weight"])


def test_the_id_is_the_name_and_changes_with_any_weight() -> None:
    other = tensors(description())
    other["readout.bias"] = other["readout.bias"] + np.float32(1e-3)
    ids = {model_file.from_bytes(content).id for content in (FILE, model_file.to_bytes(description(), other))}
    assert len(ids) == 2
    assert all(id_.startswith("random:") for id_ in ids)


def test_a_specification_that_breaks_a_rule_is_rejected() -> None:
    with pytest.raises(ModelError, match="needs 1 to 16 layers"):
        model_file.to_bytes(description(layers=0), {})
    with pytest.raises(ModelError, match="needs 1 to 16 layers"):
        model_file.from_bytes(with_description(described(layers=0)))


def with_description(text: str) -> bytes:
    return safetensors.numpy.save(tensors(description()), {model_file.METADATA_KEY: text})


def described(**changes: Any) -> str:
    return msgspec.json.encode(msgspec.to_builtins(description()) | changes).decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as a safetensors file"),
        (b"\x80\x04\x95pickle", "cannot be read as a safetensors file"),
        (FILE[:100], "cannot be read as a safetensors file"),
        (FILE[:-1], "cannot be read as a safetensors file"),
        (safetensors.numpy.save(tensors(description())), "convert"),
        (with_description("{"), "cannot be read"),
        pytest.param(with_description("[" * 5_000), "cannot be read", id="too deep"),
        pytest.param(
            with_description(described(made={"by": "x"}).replace('"x"', "[" * 5_000)),
            "cannot be read",
            id="too deep within",
        ),
        (with_description("[]"), "cannot be read"),
        (with_description("{}"), "cannot be read"),
        (with_description(described(version=99)), "format version 99, this release reads 1"),
        (with_description(described(surprise=1)), "unknown field"),
        (with_description(described(units="8")), "cannot be read"),
        (with_description(described(units=16)), "has shape"),
        (with_description(described(layers=2)), "is missing"),
    ],
)
def test_another_file_is_rejected_by_name(content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        model_file.from_bytes(content, source="pump.safetensors")
    assert caught.value.key == "pump.safetensors"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("readout.bias", None, "readout.bias is missing"),
        ("extra", np.zeros(1, np.float32), "extra is unknown"),
        ("readout.bias", np.zeros(2, np.float64), "is float64, expected float32"),
        ("readout.bias", np.zeros(3, np.float32), r"has shape \(3,\), expected \(2,\)"),
        ("readout.bias", np.full(2, np.nan, np.float32), "holds NaN"),
        ("layer.0.stm", np.full((4, 8, 8), np.inf, np.float32), "holds NaN, infinity"),
        ("layer.0.stm", np.full((4, 8, 8), 1e7, np.float32), "beyond 1e"),
    ],
)
def test_tensors_that_do_not_fit_the_specification_are_rejected(name: str, value: Any, words: str) -> None:
    made: dict[str, Any] = tensors(description())
    if value is None:
        del made[name]
    else:
        made[name] = value
    content = safetensors.numpy.save(made, {model_file.METADATA_KEY: described()})
    with pytest.raises(ModelError, match=words):
        model_file.from_bytes(content)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_are_rejected(content: bytes) -> None:
    with pytest.raises(ModelError):
        model_file.from_bytes(content)


@settings(max_examples=200)
@given(st.integers(0, 2_000), st.integers(0, 255))
def test_a_damaged_header_is_rejected_or_read(at: int, byte: int) -> None:
    content = bytearray(FILE)
    content[at % len(content)] = byte
    with suppress(ModelError):
        assert model_file.from_bytes(bytes(content)).layers


def test_provenance_is_kept_with_the_weights() -> None:
    of = replace(description(), made={"command": "x"})
    assert model_file.from_bytes(model_file.to_bytes(of, tensors(of))).spec.made == {"command": "x"}
