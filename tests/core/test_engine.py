"""Engine: the same bits in any batch, in order, without later events, and always finite numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.record import DECLARED
from stream_lstm.events import EVENT_MAX, FROZEN, Batch
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
@given(size=st.integers(2, 300), where=st.integers(0, 299), seed=st.integers(0, 2**32))
def test_a_streams_bits_do_not_depend_on_the_other_streams_of_a_batch(
    kind: str, size: int, where: int, seed: int
) -> None:
    made, rng = MODELS[kind], np.random.default_rng(seed)
    wide, row = len(made.spec.features), where % size + 1
    among, alone = engine(made, size), engine(made, 1)
    order = np.arange(1, size + 1)
    for t in range(4):
        values = drawn(rng, size, wide)
        times = rng.uniform(1e9, 2e9, size)
        rng.shuffle(order)
        many = among.apply(Batch.timed(order, times, values))
        n = int(np.flatnonzero(order == row)[0])
        one = alone.apply(Batch.timed(np.array([1]), times[n : n + 1], values[n : n + 1]))
        for all_, single in zip(many, one, strict=True):
            assert all_[n : n + 1].tobytes() == single.tobytes(), t
    assert records(among, row) == records(alone, 1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 400), max_size=5))
def test_bits_do_not_depend_on_how_events_are_cut_into_batches(kind: str, seed: int, cuts: list[int]) -> None:
    made, rng = MODELS[kind], np.random.default_rng(seed)
    wide = len(made.spec.features)
    rows = rng.integers(1, 6, 400)
    times, values = rng.uniform(1e9, 2e9, 400), drawn(rng, 400, wide)
    whole, cut, single = (engine(made, 5) for _ in range(3))
    together = whole.apply(Batch.timed(rows, times, values))
    pieces = [0, *sorted(cuts), 400]
    in_parts = [cut.apply(Batch.timed(rows[a:b], times[a:b], values[a:b])) for a, b in pairwise(pieces)]
    for column in zip(together, *in_parts, strict=True):
        assert np.concatenate(column[1:]).tobytes() == column[0].tobytes()
    for n in range(60):
        single.apply(Batch.timed(rows[n : n + 1], times[n : n + 1], values[n : n + 1]))
    restarted = engine(made, 5)
    restarted.apply(Batch.timed(rows[:60], times[:60], values[:60]))
    everyone = np.arange(1, 6)
    assert whole.memories.records(everyone) == cut.memories.records(everyone)
    assert single.memories.records(everyone) == restarted.memories.records(everyone)


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
    for ours, theirs in zip(first, second, strict=True):
        assert ours[:30].tobytes() == theirs[:30].tobytes()


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
    after = running.memories.take(np.array([1]))
    assert all(np.isfinite(after[name]).all() for name in after.dtype.names or ())


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
    assert running.memories.take(np.array([1]))["time"] == 1e9 + 6.0


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
    before, ltm = running.memories.take(np.array([1])), running.memories.ltm[1].copy()
    day, routine = running.memories.day[1].copy(), running.memories.routine[1].copy()
    fault = rng.normal(90, 5, (200, 1))
    predictions = running.apply(
        Batch(np.ones(200, np.intp), np.arange(300, 500) * 60.0 + 1e9, np.full(200, FROZEN, np.uint8), fault)
    )
    after = running.memories.take(np.array([1]))
    frozen = [column.field for column in DECLARED if column.frozen]
    assert all(before[name].tobytes() == after[name].tobytes() for name in frozen)
    assert after["seq"] == 500
    assert np.array_equal(running.memories.day[1], day)
    assert np.array_equal(running.memories.routine[1], routine)
    assert not np.array_equal(running.memories.ltm[1], ltm)
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


def test_bits_of_frozen_and_uncertain_events_do_not_depend_on_batches() -> None:
    made, rng = MODELS["pair"], np.random.default_rng(7)
    whole, cut = engine(made, 3), engine(made, 3)
    rows, values = rng.integers(1, 4, 300), rng.normal(0, 1, (300, 2))
    times, marks = rng.uniform(1e9, 2e9, 300), rng.choice([0, 1, 2, FROZEN, FROZEN + 1], 300).astype(np.uint8)
    whole.apply(Batch(rows, times, marks, values))
    for start in range(0, 300, 7):
        piece = slice(start, start + 7)
        cut.apply(Batch(rows[piece], times[piece], marks[piece], values[piece]))
    everyone = np.arange(1, 4)
    assert whole.memories.records(everyone) == cut.memories.records(everyone)
