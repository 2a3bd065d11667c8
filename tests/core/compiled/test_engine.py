"""The compiled engine beside the numpy engine, and its bits in any batches, compiled and not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.compiled.engine import Engine
from stream_lstm.core.model import file as model_file
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import FROZEN, Batch, Clock
from stream_lstm.recordings import Recording, parse_time, read
from tests.core import models
from tests.core.models import random_model

EVENTS = 300 if numba.config.DISABLE_JIT else 1_500
KINDS = models.KINDS | {"every input": {"inputs": ["value", "difference", "day", "week", "gap", "age"]}}
STREAMS = 3
FLAGS = ("seq", "kind", "alert", "late")
# Of forecasts, in steps of the stream; float16 and float32 fields of the numpy engine's records explain it.
FORECASTS = ("expected", "forecast")
WORST, USUAL = 2e-3, 1e-4
DATA = Path(__file__).resolve().parents[3] / "benchmarks" / "data"
WORST_OF_OTHERS = 2e-2  # relative: widths, shares and scores follow those fields for hundreds of events


def events(features: int, *, count: int = EVENTS, seed: int = 0) -> Batch:
    """Walks with outliers, standstills, late, frozen and uncertain events, over many days."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0.0, 0.3, (count, features)), axis=0).round(1)
    values[rng.random(count) < 0.01] += 30.0
    values[count // 2 : count // 2 + 60] = 4.0
    times = 1e9 + np.cumsum(rng.exponential(400.0, count))
    times -= rng.choice([0.0, 4_000.0], count, p=[0.95, 0.05])
    marks = [0, int(Clock.ARRIVAL), int(Clock.UNCERTAIN), FROZEN, FROZEN | int(Clock.UNCERTAIN)]
    drawn = rng.choice(np.array(marks, np.uint8), count, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    return Batch(rng.integers(1, STREAMS + 1, count), times, drawn, values)


def pieces(batch: Batch, size: int) -> list[Batch]:
    return [batch.select(slice(n, n + size)) for n in range(0, len(batch.times), size)]


def run(kind: str, size: int = EVENTS, count: int = EVENTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions and records of a model after some events, in batches of `size`."""
    made = random_model(**KINDS[kind])
    engine = Engine(made, rows_max=STREAMS + 1)
    batch = events(len(made.spec.features), count=count)
    return np.concatenate([engine.apply(piece) for piece in pieces(batch, size)]), engine.states


def bits(records: NDArray[Any]) -> bytes:
    """Of every field, without the space between them."""
    dtype = records.dtype
    if dtype.names is None:
        return np.ascontiguousarray(records).tobytes()
    return b"".join(bits(records[name]) for name in dtype.names)


def digest(kind: str, size: int = 60, count: int = 300) -> str:
    predictions, states = run(kind, size, count)
    return hashlib.sha256(bits(predictions) + bits(states)).hexdigest()[:16]


def columns(predictions: NDArray[Any], like: Predictions) -> Predictions:
    """The same predictions as columns of the numpy engine's shapes."""
    return Predictions(
        **{
            name: predictions[name]
            .reshape(len(predictions), -1)[:, : max(column[:1].size, 0)]
            .reshape(column.shape)
            for name, column in like._asdict().items()
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_what_the_numpy_engine_predicts(kind: str) -> None:
    made = random_model(**KINDS[kind])
    batch = events(len(made.spec.features))
    old = models.engine(made, STREAMS).apply(batch)
    new = columns(Engine(made, rows_max=STREAMS + 1).apply(batch), old)
    assert old.missed.any() or not made.spec.targets
    for name in FLAGS:
        assert np.array_equal(getattr(old, name), getattr(new, name)), name
    assert np.array_equal(old.missed, new.missed)
    unit = np.nanmean(np.abs(old.persistence)) if old.persistence.size else 1.0
    for name, column in old._asdict().items():
        if name in (*FLAGS, "missed") or not column.size:
            continue
        found = getattr(new, name)
        assert np.array_equal(np.isnan(column), np.isnan(found)), name
        scale = np.maximum(np.abs(np.nan_to_num(column)), unit)
        difference = np.abs(np.nan_to_num(column) - np.nan_to_num(found)) / scale
        if name not in FORECASTS:
            assert np.max(difference) <= WORST_OF_OTHERS, name
            continue
        assert np.max(difference) <= WORST, name
        assert np.quantile(difference, 0.99) <= USUAL, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7])
def test_a_streams_bits_do_not_depend_on_the_batches(kind: str, size: int) -> None:
    whole, states = run(kind)
    cut, others = run(kind, size)
    assert bits(whole) == bits(cut)
    assert bits(states) == bits(others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_streams_bits_do_not_depend_on_the_other_streams(kind: str) -> None:
    made = random_model(**KINDS[kind])
    batch = events(len(made.spec.features))
    among, alone = Engine(made, rows_max=STREAMS + 1), Engine(made, rows_max=STREAMS + 1)
    all_predictions = among.apply(batch)
    mine = batch.streams == 2
    assert bits(all_predictions[mine]) == bits(alone.apply(batch.select(mine)))
    assert bits(among.states[2]) == bits(alone.states[2])


# Bits that must come out on every machine, whatever its CPU and libraries. Another digest means that every
# stream's predictions and records change.
GOLDEN = {
    "step": "1941415dc3746873",
    "pair": "2b04cc81ccf3ce12",
    "far": "d25ef168bccc46a9",
    "stacked": "a49955c6e19ee041",
    "odd size": "7aac6d7426ddb6b1",
    "value": "64262ad5968d05a9",
    "fixed": "4e53a68aad3450f5",
    "classes": "58254b5eb7a25b16",
    "every input": "8c1b72b703ffb43a",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_bits(kind: str) -> None:
    assert digest(kind) == GOLDEN[kind]


@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_DISABLE_JIT": "1"}, *({"NUMBA_CPU_NAME": name} for name in ("generic", "x86-64-v2"))],
    ids=["uncompiled", "generic", "v2"],
)
def test_the_golden_bits_uncompiled_and_at_other_levels(environment: dict[str, str]) -> None:
    kinds = ["pair"] if "NUMBA_CPU_NAME" in environment else list(KINDS)  # others would compile for long
    calls = f"print(*map(t.digest, {kinds!r})); t.refused([99])"
    code = f"from tests.core.compiled import test_engine as t; {calls}"
    command = [sys.executable, "-W", "error", "-c", code]
    variables = os.environ | {"NUMBA_CPU_FEATURES": ""} | environment
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [GOLDEN[kind] for kind in kinds]


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="needs the compiler")
def test_models_of_other_sizes_from_the_cache_of_another_process_are_not_mistaken(
    tmp_path: Path,
) -> None:
    """In both processes the first model is the first that numba sees, and the second comes from the cache."""
    for kinds in (["pair"], ["step", "pair"]):
        code = f"from tests.core.compiled import test_engine as t; print(*map(t.digest, {kinds!r}))"
        variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == [GOLDEN[kind] for kind in kinds]


@pytest.mark.parametrize("rows", [[-1], [STREAMS + 1], [1, 99]])
def test_a_row_outside_of_the_records_is_refused(rows: list[int]) -> None:
    refused(rows)


def refused(rows: list[int]) -> None:
    """Check that these rows are refused, and nothing changes."""
    made = random_model(**KINDS["step"])
    engine, count = Engine(made, rows_max=STREAMS + 1), len(rows)
    features = len(made.spec.features)
    with pytest.raises(IndexError, match="outside of 4"):
        engine.apply(Batch.timed(np.array(rows), np.full(count, 1e9), np.ones((count, features))))
    assert not any(engine.states.tobytes())


@pytest.mark.parametrize(
    "changes", [{"times": np.ones(1)}, {"values": np.ones((2, 2))}, {"marks": np.ones(3)}]
)
def test_columns_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    engine = Engine(random_model(), rows_max=STREAMS + 1)
    batch = Batch.timed(np.array([1, 2]), np.full(2, 1e9), np.ones((2, 1)))._replace(**changes)
    with pytest.raises(ValueError, match="2 events of 1 features"):
        engine.apply(batch)
    assert not any(engine.states.tobytes())


def test_no_events_give_no_predictions() -> None:
    engine = Engine(random_model(), rows_max=1)
    assert len(engine.apply(Batch.timed(np.empty(0, np.intp), np.empty(0), np.empty((0, 1))))) == 0


def test_the_record_of_the_default_size_fits_its_limit() -> None:
    assert Engine(random_model(units=64), rows_max=1).states.dtype.itemsize <= 1_150


def all_events(recordings: list[Recording]) -> Batch:
    """The events of all streams, the n-th of each together; rows from 1 on."""
    times, values, rows, nth = [], [], [], []
    for row, recording in enumerate(recordings, 1):
        times += [parse_time(reading.time) for reading in recording.readings]
        values += [reading.value for reading in recording.readings]
        rows += [row] * len(recording.readings)
        nth += range(len(recording.readings))
    order = np.argsort(np.array(nth), kind="stable")
    return Batch.timed(np.array(rows)[order], np.array(times)[order], np.array(values)[order, None])


def marked(batch: Batch) -> Batch:
    """The same with some events late, uncertain or frozen."""
    rng, count = np.random.default_rng(0), len(batch.times)
    kinds = [0, int(Clock.ARRIVAL), int(Clock.UNCERTAIN), FROZEN, FROZEN | int(Clock.UNCERTAIN)]
    marks = rng.choice(np.array(kinds, np.uint8), count, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    late = rng.choice([0.0, 4_000.0], count, p=[0.95, 0.05])
    return batch._replace(times=batch.times - late, marks=marks)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="takes a quarter of an hour")
@pytest.mark.parametrize("marks", [False, True], ids=["plain", "marked"])
def test_the_same_alerts_and_all_but_the_same_predictions(marks: bool) -> None:
    model = model_file.from_bytes(
        resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
    )
    recordings = [read(path) for path in sorted(DATA.glob("*/*.csv"))]
    batch = all_events(recordings)
    batch = marked(batch) if marks else batch
    new, old = Engine(model, rows_max=len(recordings) + 1), models.engine(model, len(recordings))
    differences, events, alerts, kinds, missed = [], 0, 0, 0, 0
    for start in range(0, len(batch.times), 4_096):
        part = batch.select(slice(start, start + 4_096))
        found, known = new.apply(part), old.apply(part)
        for name in ("seq", "alert", "late"):
            assert np.array_equal(found[name], getattr(known, name)), (name, start)
        missed += np.count_nonzero(found["missed"] != known.missed)
        kinds += np.count_nonzero(found["kind"] != known.kind)
        variance = new.states["scale"]["variance"][part.streams]
        unit = np.maximum(np.sqrt(variance), 1e-9 + 1e-12 * np.abs(part.values))
        assert np.array_equal(np.isnan(found["expected"]), np.isnan(known.expected))
        differences.append(np.nan_to_num(np.abs(found["expected"] - known.expected) / unit))
        events, alerts = events + len(part.times), alerts + np.count_nonzero(known.alert)
    assert events > 150_000
    assert alerts > 50
    assert kinds <= 10  # two rarities that are all but equal
    assert (
        missed <= 5 * marks
    )  # an error within 1e-5 of its interval's end; the numpy engine's width is a float32
    difference = np.concatenate(differences)
    assert difference.max() <= WORST
    assert np.quantile(difference, 0.999) <= USUAL
