"""Conversion from PyTorch: the same outputs as torch, and errors that give the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import file as model_file
from stream_lstm.errors import ModelError
from stream_lstm.events import Batch
from stream_lstm.train.convert import convert
from tests.train.states import FEATURES, OUTPUTS, SHAPES, State, events, state

NAMES = [f"f{n}" for n in range(FEATURES)]
GOLDEN = safetensors.numpy.load_file(Path(__file__).parent / "golden" / "golden.safetensors")


def converted(weights: State, **changes: Any) -> model_file.LstmModel:
    options: dict[str, Any] = {
        "source": "pump.safetensors",
        "name": "pump",
        "features": NAMES,
        "targets": [f"t{n}" for n in range(OUTPUTS)],
    }
    return model_file.from_bytes(convert(safetensors.numpy.save(weights), **(options | changes)))


def predicted(model: model_file.LstmModel, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The engine's predictions for one stream, event by event."""
    memories = Memories(model.spec, rows_max=1)
    engine = Engine(model, memories)
    rows = np.full(len(values), memories.add("s", 1))
    return engine.apply(Batch.timed(rows, np.arange(len(values)) + 1e9, values.astype(np.float64))).prediction


@pytest.mark.parametrize(("layers", "units"), SHAPES)
def test_every_50th_of_a_thousand_outputs_is_within_1e_5_of_torch(layers: int, units: int) -> None:
    ours = predicted(converted(state(layers, units)), events())
    assert np.abs(ours[::50] - GOLDEN[f"{layers}x{units}"]).max() <= 1e-5


@pytest.mark.torch
@pytest.mark.parametrize(("layers", "units"), SHAPES)
def test_every_one_of_a_thousand_outputs_is_within_1e_5_of_torch(layers: int, units: int) -> None:
    from tests.train.golden.make import outputs

    ours, theirs = predicted(converted(state(layers, units)), events()), outputs(layers, units)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert np.abs(ours[0] - theirs[0]).max() <= 1e-6


@pytest.mark.torch
@pytest.mark.parametrize("units", [8, 100, 256])
def test_one_step_from_any_memory_is_within_1e_6_of_torch(units: int) -> None:
    import torch

    from stream_lstm.core.model import cell
    from stream_lstm.core.state import model_record

    model = converted(state(1, units))
    torch_cell = torch.nn.LSTMCell(FEATURES, units)
    names = {
        "weight_ih": "weight_ih_l0",
        "weight_hh": "weight_hh_l0",
        "bias_ih": "bias_ih_l0",
        "bias_hh": "bias_hh_l0",
    }
    source = state(1, units)
    torch_cell.load_state_dict(
        {ours: torch.from_numpy(source[f"lstm.{name}"]) for ours, name in names.items()}
    )
    rng = np.random.default_rng(3)
    ltm, stm = (rng.normal(0, 1, (16, units)).astype(np.float32) for _ in range(2))
    event = rng.normal(0, 1, (16, FEATURES)).astype(np.float32)
    weights, sums = model_record(model)[0], np.empty(4 * units, np.float32)
    with torch.no_grad():
        theirs = torch_cell(torch.from_numpy(event), (torch.from_numpy(np.tanh(stm)), torch.from_numpy(ltm)))
    stm = np.tanh(stm)
    for n in range(16):
        cell.step(ltm[n], stm[n], event[n], weights["first"], weights["bias"][0], sums)
    assert np.abs(stm - theirs[0].numpy()).max() <= 1e-6
    assert np.abs(ltm - theirs[1].numpy()).max() <= 1e-6


def test_features_are_scaled_and_outputs_scaled_back() -> None:
    plain, values = converted(state(1, 8)), events()[:20]
    scaled = converted(
        state(1, 8),
        mean=[10.0] * FEATURES,
        deviation=[2.0] * FEATURES,
        target_mean=[5.0] * OUTPUTS,
        target_deviation=[3.0] * OUTPUTS,
    )
    assert np.allclose(predicted(scaled, values * 2 + 10), predicted(plain, values) * 3 + 5, atol=1e-5)


def test_labels_give_a_classifying_model() -> None:
    model = converted(state(1, 8), targets=[], labels=["wolf", "dog"])
    assert (model.spec.readout, model.spec.labels) == ("classes", ["wolf", "dog"])


def test_without_targets_the_features_are_predicted() -> None:
    model = converted(state(1, 8, outputs=FEATURES), targets=[])
    assert model.spec.targets == NAMES


def test_missing_biases_are_zero() -> None:
    without = {name: values for name, values in state(1, 8).items() if "bias" not in name}
    zero = {name: values * ("bias" not in name) for name, values in state(1, 8).items()}
    assert np.array_equal(
        predicted(converted(without), events()[:9]), predicted(converted(zero), events()[:9])
    )


def test_any_prefix_is_found_and_several_need_an_option() -> None:
    one = {name.replace("lstm.", "").replace("head.", "out."): v for name, v in state(1, 8).items()}
    several = {f"net.{name}": v for name, v in state(1, 8).items()} | {
        f"old.{n}": v for n, v in state(1, 8).items()
    }
    plain = predicted(converted(state(1, 8)), events()[:9])
    assert np.array_equal(predicted(converted(one), events()[:9]), plain)
    chosen = converted(several, lstm="net.lstm", linear="net.head")
    assert np.array_equal(predicted(chosen, events()[:9]), plain)
    with pytest.raises(ModelError, match=r"net\.lstm\., old\.lstm\..*choose with --lstm"):
        converted(several)
    with pytest.raises(ModelError, match="choose with --linear"):
        converted(several, lstm="net.lstm.")
    with pytest.raises(ModelError, match="no LSTM with prefix 'other'"):
        converted(several, lstm="other")


def changed(**changes: Any) -> State:
    weights: dict[str, Any] = state(1, 8)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del weights[key]
        else:
            weights[key] = value
    return weights


def zeros(*shape: int, kind: Any = np.float32) -> NDArray[Any]:
    return np.zeros(shape, kind)


UNSUPPORTED = [
    (changed(lstm__weight_ih_l0_reverse=zeros(32, 3)), "bidirectional"),
    (changed(lstm__weight_hr_l0=zeros(4, 8)), "proj_size"),
    (changed(lstm__weight_ih_l0=zeros(24, 3), lstm__weight_hh_l0=zeros(24, 8)), "is not an LSTM"),
    (changed(lstm__weight_ih_l0=None), "has no LSTM"),
    (changed(head__weight=None), "has no linear layer"),
    (changed(head__weight=zeros(2, 9)), "does not fit an LSTM of 8 units"),
    (
        changed(lstm__bias_ih_l0=zeros(31), lstm__bias_hh_l0=zeros(31)),
        "bias_ih_l0 has shape",
    ),
    (changed(lstm__weight_hh_l0=zeros(32, 8, kind=np.int64)), "model.float"),
    (changed(lstm__weight_hh_l0=np.full((32, 8), np.nan, np.float32)), "NaN"),
    (changed(lstm__weight_hh_l1=zeros(32, 8)), "no tensor lstm.weight_ih_l1"),
]


@pytest.mark.parametrize(("weights", "words"), UNSUPPORTED, ids=[words for _, words in UNSUPPORTED])
def test_an_unsupported_state_dict_is_rejected_with_a_reason(weights: State, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        converted(weights)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": ["a"]}, "3 inputs, but 1 features"),
        ({"targets": ["a"]}, "2 outputs, but 1 targets"),
        ({"targets": [], "labels": ["a", "b", "c"]}, "2 outputs, but 3 labels"),
        ({"deviation": [0.0] * FEATURES}, "deviation > 0"),
        ({"mean": [1.0]}, "fixed scaling"),
        ({"name": "a b"}, "the name must be"),
    ],
)
def test_names_that_do_not_fit_the_tensors_are_rejected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        converted(state(1, 8), **changes)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_float16_and_float64_become_float32(kind: Any) -> None:
    weights = {name: values.astype(kind) for name, values in state(1, 8).items()}
    assert converted(weights).layers[0].event.dtype == np.float32  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"junk" * 9, b"\x80\x04pickle"])
def test_other_files_are_rejected_with_the_call_that_saves_the_right_one(content: bytes) -> None:
    with pytest.raises(ModelError, match="save_file"):
        convert(content, source="x", name="x", features=["a"])
