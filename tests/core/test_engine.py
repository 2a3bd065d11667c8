"""Engine: the same bits in any company and any batches, in order, and always finite numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.record import fields
from stream_lstm.core.state import StreamState, state_type
from stream_lstm.events import EVENT_MAX, FROZEN, Batch
from tests.core.engine_bits import bits, refused
from tests.core.models import KINDS, engine, random_model

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()}
EXTREMES = [0.0, EVENT_MAX, -EVENT_MAX, 1e-300, 5e-324, 1e9 + 0.1, -1.0, 3.3]


def drawn(rng: np.random.Generator, size: int, wide: int) -> NDArray[np.float64]:
    values = rng.normal(0, 1, (size, wide)) * 10.0 ** rng.integers(-5, 6, (size, wide))
    wild = rng.random((size, wide)) < 0.1
    return np.where(wild, rng.choice(EXTREMES, (size, wide)), values)


def records(running: Engine, row: int) -> bytes:
    return running.memories.records(np.array([row]))[0]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 400), max_size=5), row=st.integers(1, 5))
def test_bits_do_not_depend_on_other_streams_or_on_the_batches(
    kind: str, seed: int, cuts: list[int], row: int
) -> None:
    made, rng = MODELS[kind], np.random.default_rng(seed)
    marks = rng.choice([0, 1, 2, FROZEN, FROZEN + 1, FROZEN + 2], 400).astype(np.uint8)
    values = drawn(rng, 400, len(made.spec.features))
    batch = Batch(rng.integers(1, 6, 400), rng.uniform(1e9, 2e9, 400), marks, values)
    whole, cut, alone = (engine(made, 5) for _ in range(3))
    together = whole.apply(batch).records
    pieces = pairwise([0, *sorted(cuts), 400])
    parts = [cut.apply(batch.select(slice(*piece))).records for piece in pieces]
    assert bits(np.concatenate(parts)) == bits(together)
    mine = batch.streams == row
    assert bits(alone.apply(batch.select(mine)).records) == bits(together[mine])
    everyone = np.arange(1, 6)
    assert whole.memories.records(everyone) == cut.memories.records(everyone)
    assert records(whole, row) == records(alone, row)


def test_a_stream_has_the_same_bits_after_eviction_and_restore() -> None:
    made, rng = MODELS["step"], np.random.default_rng(2)
    values = rng.normal(0, 1, (20, 1))
    plain, moved = engine(made, 2), engine(made, 2)
    for t in range(20):
        time = np.array([1e9 + t])
        plain.apply(Batch.timed(np.array([1]), time, values[t : t + 1]))
        if t == 10:
            moved.memories.add("x", 9)  # takes another row before the evicted one's is free again
            record = moved.memories.remove("0")
            assert moved.memories.restore("0", 1, record) == 1
        moved.apply(Batch.timed(np.array([1]), time, values[t : t + 1]))
    assert records(plain, 1) == records(moved, 1)


def test_a_prediction_does_not_depend_on_later_events() -> None:
    made, rng = MODELS["step"], np.random.default_rng(4)
    rows, times, values = np.ones(50, np.intp), np.arange(50) + 1e9, rng.normal(0, 1, (50, 1))
    other = values.copy()
    other[30:] = 1e6
    first, second = (
        engine(made, 1).apply(Batch.timed(rows, times, values)),
        engine(made, 1).apply(Batch.timed(rows, times, other)),
    )
    assert bits(first.records[:30]) == bits(second.records[:30])
    assert bits(first.records[30:]) != bits(second.records[30:])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.sampled_from(EXTREMES), st.floats(-EVENT_MAX, EVENT_MAX)), min_size=1, max_size=40
    )
)
def test_extreme_values_give_finite_predictions_and_records(kind: str, values: list[float]) -> None:
    made = MODELS[kind]
    wide = len(made.spec.features)
    running = engine(made, 1)
    with np.errstate(all="raise", under="ignore"):
        predictions = running.apply(
            Batch.timed(
                np.ones(len(values), np.intp),
                np.arange(len(values)) + 1e9,
                np.repeat(np.array(values)[:, None], wide, 1),
            )
        )
    assert np.isfinite(predictions.prediction).all()
    assert np.isfinite(predictions.probabilities).all()
    assert ((predictions.anomaly >= 0) & (predictions.anomaly <= 1)).all()
    running.memories.validate()


@pytest.mark.parametrize("kind", KINDS)
def test_several_events_of_a_stream_in_one_batch_are_applied_in_order(kind: str) -> None:
    made, rng = MODELS[kind], np.random.default_rng(1)
    rows = np.array([1] * 150 + [2] + [1] * 150)
    times, values = np.arange(301) + 1e9, rng.normal(0, 1, (301, len(made.spec.features)))
    predictions = engine(made, 2).apply(Batch.timed(rows, times, values))
    assert predictions.seq[150] == 1
    assert predictions.seq[rows == 1].tolist() == list(range(1, 301))


def test_row_0_stays_blank() -> None:
    running = engine(MODELS["step"], 3)
    running.apply(Batch.timed(np.array([1, 2, 3]), np.full(3, 1e9), np.ones((3, 1))))
    assert not any(running.memories.records(np.array([0]))[0])


def test_the_expected_value_is_the_prediction_at_the_event_before() -> None:
    running = engine(MODELS["step"], 1)
    predictions = running.apply(
        Batch.timed(np.ones(3, np.intp), np.array([5.0, 4.0, 6.0]) + 1e9, np.array([[1.0], [2.0], [4.0]]))
    )
    assert np.isnan(predictions.expected[0, 0])
    assert np.isnan(predictions.half_width[0, 0])
    assert np.isnan(predictions.error[0, 0])
    assert predictions.expected[1:, 0].tolist() == predictions.prediction[:-1, 0].tolist()
    assert predictions.late.tolist() == [False, True, False]
    assert running.memories.column("event_time.time", np.array([1])) == 1e9 + 6.0


def test_a_target_that_no_event_carries_is_predicted_and_never_checked() -> None:
    running = engine(MODELS["fixed"], 1)
    predictions = running.apply(Batch.timed(np.ones(4, np.intp), np.arange(4) + 1e9, np.ones((4, 2))))
    assert np.isnan(predictions.error[1:, 1]).all()
    assert np.isfinite(predictions.error[1:, 0]).all()
    assert np.isfinite(predictions.prediction).all()
    assert not predictions.missed[:, 1].any()


def test_a_freeze_keeps_what_is_normal_while_the_memory_goes_on() -> None:
    made, rng = MODELS["step"], np.random.default_rng(5)
    running = engine(made, 1)
    usual = rng.normal(20, 1, (300, 1))
    running.apply(Batch.timed(np.ones(300, np.intp), np.arange(300) * 60.0 + 1e9, usual))
    before = running.memories.states[1:2].copy()
    fault = rng.normal(90, 5, (200, 1))
    predictions = running.apply(
        Batch(np.ones(200, np.intp), np.arange(300, 500) * 60.0 + 1e9, np.full(200, FROZEN, np.uint8), fault)
    )
    after = running.memories.states[1:2]
    kept = {path: column.tobytes() for path, column, field in fields(StreamState, before) if field.frozen}
    changed = {path: column.tobytes() for path, column, field in fields(StreamState, after) if field.frozen}
    assert kept == changed
    for tracker, profile in ((("seasonal",), "slots"), (("anomaly", "hourly"), "hours")):
        of_before, of_after = before["targets"], after["targets"]
        for name in (*tracker, profile):
            of_before, of_after = of_before[name], of_after[name]
        assert of_before.tobytes() == of_after.tobytes()
    assert after["seq"] == 500
    assert not np.array_equal(after["ltm"], before["ltm"])
    assert predictions.anomaly[0] > 0.45
    assert np.isfinite(predictions.forecast).all()


def test_a_stream_of_few_events_cannot_be_frozen() -> None:
    made = MODELS["step"]
    frozen, free = engine(made, 1), engine(made, 1)
    values, times = np.arange(20.0)[:, None], np.arange(20.0) + 1e9
    frozen.apply(Batch(np.ones(20, np.intp), times, np.full(20, FROZEN, np.uint8), values))
    free.apply(Batch.timed(np.ones(20, np.intp), times, values))
    assert records(frozen, 1) == records(free, 1)


def test_an_event_of_uncertain_time_raises_no_alert_and_starts_no_cooldown() -> None:
    made, rng = MODELS["step"], np.random.default_rng(6)
    running = engine(made, 1)
    values = rng.normal(20, 1, (1_001, 1))
    running.apply(Batch.timed(np.ones(1_000, np.intp), np.arange(1_000) * 60.0 + 1e9, values[:1_000]))
    late, now = np.array([2], np.uint8), np.array([1e9 + 70_000])
    burst = running.apply(Batch(np.array([1]), now, late, np.array([[500.0]])))
    assert np.isnan(burst.anomaly).all()
    assert not burst.alert.any()
    assert burst.incident_score[0] == 0.0
    assert running.apply(Batch.timed(np.array([1]), now + 60.0, np.array([[600.0]]))).alert[0]


@pytest.mark.parametrize("rows", [[-1], [4], [1, 99]])
def test_a_row_outside_of_memory_is_refused(rows: list[int]) -> None:
    refused(rows)


@pytest.mark.parametrize(
    "changes", [{"times": np.ones(1)}, {"values": np.ones((2, 2))}, {"marks": np.ones(3)}]
)
def test_columns_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    running = engine(MODELS["step"], 3)
    batch = Batch.timed(np.array([1, 2]), np.full(2, 1e9), np.ones((2, 1)))._replace(**changes)
    with pytest.raises(ValueError, match="2 events of 1 features"):
        running.apply(batch)
    assert not any(running.memories.states.tobytes())


def test_no_events_give_no_predictions() -> None:
    batch = Batch.timed(np.empty(0, np.intp), np.empty(0), np.empty((0, 1)))
    assert len(engine(MODELS["step"], 1).apply(batch)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_has_a_number_for_each_target_label_and_step(kind: str) -> None:
    spec = MODELS[kind].spec
    features, targets = len(spec.features), len(spec.targets)
    batch = Batch.timed(np.array([1, 1, 1]), np.arange(3) + 1e9, np.ones((3, features)))
    predictions = engine(MODELS[kind], 1).apply(batch)
    columns = ("expected", "missed", "trust", "error", "persistence", "relative_mae", "covered")
    assert {getattr(predictions, name).shape for name in columns} == {(3, targets)}
    assert predictions.forecast.shape == predictions.half_width.shape == (3, len(spec.horizon), targets)
    assert predictions.probabilities.shape == (3, len(spec.labels))
    assert predictions.missed.dtype == predictions.alert.dtype == np.bool_
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0 if spec.labels else 0.0)


def test_the_record_of_the_default_size_fits_its_limit() -> None:
    assert state_type(random_model(units=64).spec).itemsize <= 1_150
