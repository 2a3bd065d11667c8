"""Training: streams, sequences by core's own scaling, honest figures; with torch, a run that repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.backtest.figures import Figures
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model import inputs
from stream_lstm.errors import SettingsError
from stream_lstm.events import Batch
from stream_lstm.json_output import in_json
from stream_lstm.service.assembly import load_model
from stream_lstm.train import recordings
from stream_lstm.train.fit import Recipe, fit, sequences, varied
from stream_lstm.train.generate import HABITS, SEEN_THROUGH, GeneratedStream, stream
from stream_lstm.train.session import Judged, Part, train

TINY = Recipe(seed=3, units=8, steps=3, length=64, window=32, batch=4)


@pytest.mark.parametrize("seed", range(40))
def test_generated_streams_are_finite_and_in_order(seed: int) -> None:
    made = stream(np.random.default_rng(seed), 500)
    assert np.isfinite(made.values).all()
    assert (np.diff(made.times) > 0).all()
    assert len(made.values) == 500


def test_a_seed_makes_the_same_stream() -> None:
    first, second = (stream(np.random.default_rng(7), 300) for _ in range(2))
    assert np.array_equal(first.values, second.values)


@pytest.mark.parametrize("habit", [habit for habit, _ in HABITS], ids=lambda habit: habit.__name__)
def test_every_habit_gives_a_value_an_event(habit: object) -> None:
    times = np.arange(400) * 60.0
    for seed in range(8):
        values = habit(np.random.default_rng(seed), times)  # type: ignore[operator]
        assert values.shape == (400,)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("change", [change for change, _ in SEEN_THROUGH], ids=lambda change: change.__name__)
def test_every_way_of_seeing_keeps_values_finite(change: object) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        assert np.isfinite(change(rng, rng.normal(0, 1, 400))).all()  # type: ignore[operator]


def test_training_sees_what_the_engine_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_model(None)
    streams = [stream(np.random.default_rng(seed), 50) for seed in range(3)]
    seen = sequences(streams, made.spec, 50)
    engine = Engine(made, Memories(made.spec, rows_max=3))
    rows = np.array([engine.memories.admit(str(n), n + 1) for n in range(3)])
    events = []
    original = inputs.make

    def watched(*args: Any) -> object:
        made = original(*args)
        events.append(made[:3])
        return made

    monkeypatch.setattr(inputs, "make", watched)
    for t in range(50):
        engine.apply(
            Batch.timed(
                rows, np.array([s.times[t] for s in streams]), np.array([[s.values[t]] for s in streams])
            )
        )
    assert np.allclose(np.array(events), seen.events, atol=1e-6)  # the engine keeps some of it as float32


def test_targets_are_the_next_step_in_deviations_and_end_with_the_stream() -> None:
    short = GeneratedStream(np.arange(4) * 60.0, np.array([1.0, 2.0, 4.0, 8.0]))
    seen = sequences([short], Recipe().spec, 6)
    assert np.isnan(seen.targets[[0, 3, 4, 5], 0, 0]).all()
    assert np.isfinite(seen.targets[1:3, 0, 0]).all()
    assert seen.targets[1, 0, 0] == np.float32(2.0 / 0.5)
    assert seen.targets[1, 0, 1] == np.float32(6.0 / 0.5)
    assert np.isnan(seen.targets[:, 0, 2:]).all()


def test_variations_are_pieces_of_the_recording() -> None:
    values = np.arange(5_000.0)
    whole = 0
    for seed in range(40):
        part = varied(np.random.default_rng(seed), GeneratedStream(values * 60, values), 1_000)
        assert len(part.values) == len(part.times) >= 500
        assert np.isfinite(part.values).all()
        assert (np.diff(part.times) > 0).all()
        assert abs(np.corrcoef(part.times, part.values)[0, 1]) > 0.8
        whole += bool(np.isin(np.abs(part.values), values).all())
    assert whole > 5


def write(folder: Path, names: str) -> None:
    for name in names:
        rows = "\n".join(f"{n * 60},{np.sin(n / 5) + n % 3}" for n in range(200))
        (folder / f"{name}.csv").write_text("timestamp,value\n" + rows)


def test_every_fourth_recording_is_held_out(tmp_path: Path) -> None:
    write(tmp_path, "abcde")
    assert [r.name for r in recordings.load(tmp_path) if r.held_out] == ["d"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no \.csv files"):
        recordings.load(tmp_path)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError, match=r"pip install 'stream-lstm\[train\]'"):
        fit(TINY, [], made={})


@pytest.mark.torch
def test_the_same_recipe_makes_the_same_model() -> None:
    first, second = (fit(TINY, [], made={"by": "test"}) for _ in range(2))
    assert first == second
    assert model_file.from_bytes(first).spec.made == {"by": "test"}


def test_how_good_a_model_is_is_told_to_people_and_programs() -> None:
    still = Figures(9, 0.0, 0.0, 1.0, float("nan"), 1.0, 0.5, 0, 0, 0.5)
    named = [recordings.Named(name, stream(np.random.default_rng(1), 9), True) for name in ("a", "b")]
    judged = Judged("mine:0", {"held_out": Part(named, [still, still._replace(error=2.0, persistence=4.0)])})
    lines = judged.lines()
    assert lines[0] == "model mine:0"
    assert lines[1].split() == ["held", "out", "events", "error", "covered", "alerts"]
    assert lines[3].split() == ["b", "9", "0.500", "50.0%", "0"]
    told = json.loads(in_json(judged.told()))
    assert told["model"] == "mine:0"
    assert [s["ratio"] for s in told["held_out"]["streams"]] == [1.0, 0.5]
    assert told["held_out"]["streams"][0]["least_squares"] is None
    assert told["held_out"]["median_ratio"] == float(lines[4].split()[1])
    assert "trained_on" not in told


@pytest.mark.torch
def test_training_lowers_the_loss_and_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "abcde")
    losses: list[float] = []
    recipe = Recipe(seed=1, units=16, steps=60, length=128, window=64, batch=8)
    fit(
        recipe,
        [r.stream for r in recordings.load(tmp_path)],
        made={},
        progress=lambda step, loss: losses.append(loss),
    )
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    ticks: list[None] = []
    content, report = train(
        tmp_path, name="mine", seed=1, steps=2, units=8, progress=lambda: ticks.append(None)
    )
    assert model_file.from_bytes(content).spec.made["held_out"] == "d"
    assert len(ticks) == 2
    assert any(line.startswith("held out") for line in report.lines())
