"""Training: inputs, targets and augmentation; with torch, runs that repeat and learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.preparation import prepare
from stream_lstm.errors import SettingsError
from stream_lstm.service.assembly import load_model
from stream_lstm.train import recordings
from stream_lstm.train.fit import Recipe, augmented, fit, make_sequences
from stream_lstm.train.generate import TimeSeries, generate_stream
from tests.train.files import write_recordings

TINY = Recipe(seed=3, units=8, steps=3, length=64, window=32, batch=4)


def test_training_inputs_are_those_of_the_core() -> None:
    spec = load_model(None).spec
    streams = [generate_stream(np.random.default_rng(seed), 50) for seed in range(3)]
    prepared = make_sequences(streams, spec, 50)
    columns = ([getattr(stream, name) for stream in streams] for name in ("times", "values"))
    events, _ = prepare(*(np.array(column).T for column in columns), spec)
    assert prepared.events.tobytes() == events.tobytes()


def test_targets_are_later_steps_in_deviations_and_end_with_the_stream() -> None:
    short = TimeSeries(np.arange(4) * 60.0, np.array([1.0, 2.0, 4.0, 8.0]))
    prepared = make_sequences([short], Recipe().spec, 6)
    assert np.isnan(prepared.targets[[0, 3, 4, 5], 0, 0]).all()
    assert np.isfinite(prepared.targets[1:3, 0, 0]).all()
    assert prepared.targets[1, 0, 0] == np.float32(2.0 / 0.5)
    assert prepared.targets[1, 0, 1] == np.float32(6.0 / 0.5)
    assert np.isnan(prepared.targets[:, 0, 2:]).all()


def test_augmented_streams_are_pieces_of_the_recording() -> None:
    values = np.arange(5_000.0)
    unchanged = 0
    for seed in range(40):
        part = augmented(np.random.default_rng(seed), TimeSeries(values * 60, values), 1_000)
        assert len(part.values) == len(part.times) >= 500
        assert np.isfinite(part.values).all()
        assert (np.diff(part.times) > 0).all()
        assert abs(np.corrcoef(part.times, part.values)[0, 1]) > 0.8
        unchanged += bool(np.isin(np.abs(part.values), values).all())
    assert unchanged > 5


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError, match=r"pip install 'stream-lstm\[train\]'"):
        fit(TINY, [], provenance={})


@pytest.mark.torch
def test_the_same_recipe_gives_the_same_model() -> None:
    first, second = (fit(TINY, [], provenance={"by": "test"}) for _ in range(2))
    assert first == second
    assert model_file.from_bytes(first).spec.made == {"by": "test"}


@pytest.mark.torch
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    write_recordings(tmp_path, "abcde")
    losses: list[float] = []
    recipe = Recipe(seed=1, units=16, steps=60, length=128, window=64, batch=8)
    fit(
        recipe,
        [each.series for each in recordings.load(tmp_path)],
        provenance={},
        progress=lambda step, loss: losses.append(loss),
    )
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
