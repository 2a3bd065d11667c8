"""Forecaster: the engine's bits, from single values, arrays and frames; errors that change nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stream_lstm as sl
from stream_lstm.backtest import files
from stream_lstm.backtest.evaluation import evaluate
from stream_lstm.core.model import file as model_file
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.events import Batch
from stream_lstm.service.assembly import load_model
from tests.core.models import KINDS, description, engine, random_model, tensors

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python.md"
BEGIN = 1.7e9
START = {"stream": "a", "time": BEGIN}


def model(kind: str = "step") -> sl.Model:
    of = description(**KINDS[kind])
    return sl.Model(model_file.to_bytes(of, tensors(of)))


def drawn(events: int = 60, features: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(3).normal(20.0, 2.0, (events, features)).round(2)


@pytest.mark.parametrize("kind", KINDS)
def test_its_bits_are_the_engines(kind: str) -> None:
    made, values = random_model(**KINDS[kind]), drawn(features=len(description(**KINDS[kind]).features))
    times, rows = BEGIN + 60.0 * np.arange(60), np.tile([1, 2], 30)
    running = engine(made, 2)
    expected = running.apply(Batch.timed(rows, times, values))
    single, many = sl.Forecaster(model(kind)), sl.Forecaster(model(kind))
    found = [
        single.update("ab"[row - 1], value, time)
        for row, value, time in zip(rows, values, times, strict=True)
    ]
    table = many.update_many(stream=["ab"[row - 1] for row in rows], time=times, value=values)
    assert [each.seq for each in found] == table["seq"].tolist() == expected.seq.tolist()
    assert [each.anomaly for each in found] == table["anomaly"].tolist() == expected.anomaly.tolist()
    assert single.state_dict()["records"].tobytes() == many.state_dict()["records"].tobytes()
    assert single.state_dict()["records"].tobytes() == running.memories.copies(np.array([1, 2])).tobytes()
    for n, target in enumerate(made.spec.targets):
        of = "" if len(made.spec.targets) == 1 else f" of {target}"
        assert table[f"forecast{of}"].tobytes() == expected.prediction[:, n].tobytes()
        assert table[f"high{of}"].tolist()[1:] == pytest.approx(
            (expected.prediction + expected.half_width[:, 0])[1:, n].tolist(), nan_ok=True
        )
    for n, label in enumerate(made.spec.labels):
        assert table[f"probability of {label}"].tolist() == expected.probabilities[:, n].tolist()
        assert found[-1].probabilities[label] == expected.probabilities[-1, n]
        assert found[-1].label == table["label"][-1]


def test_a_prediction_of_one_number_has_plain_numbers() -> None:
    forecaster = sl.Forecaster(model("far"))
    first, second = forecaster.update("a", 20.0, BEGIN), forecaster.update("a", 21, BEGIN + 60)
    assert (first.stream, first.seq, first.time, first.value) == ("a", 1, BEGIN, 20.0)
    assert (first.expected, first.interval, first.kind, first.alert) == (None, None, None, False)
    assert second.expected == first.forecast
    assert isinstance(second.interval, tuple)
    assert second.interval[0] < second.forecast < second.interval[1]  # type: ignore[operator]
    assert list(second.ahead) == [2, 6]
    assert second.label is None


def test_several_numbers_come_in_order_or_by_name_and_are_given_by_name() -> None:
    first, second = sl.Forecaster(model("pair")), sl.Forecaster(model("pair"))
    assert first.update("s", [1.0, 2.0], BEGIN) == second.update("s", {"b": 2.0, "a": 1.0}, BEGIN)
    found = first.update("s", (1.5, 2.5), BEGIN + 1)
    assert found.value == {"a": 1.5, "b": 2.5}
    assert set(found.forecast) == set(found.interval) == {"a", "b"}  # type: ignore[arg-type]


FRAME = {"sensor": ["x", "y", "x"], "at": BEGIN + np.arange(3.0), "temperature": [1.0, 2.0, 3.0]}


def test_a_frame_is_columns_by_name() -> None:
    import pyarrow

    by_name = {"stream": "sensor", "time": "at", "value": "temperature"}
    expected = sl.Forecaster(model()).update_many(FRAME, **by_name)
    assert expected["stream"].tolist() == ["x", "y", "x"]
    assert expected["seq"].tolist() == [1, 1, 2]

    class Frame:
        """As pandas and polars have it: columns, and one by its name."""

        columns = tuple(FRAME)

        def __getitem__(self, name: str) -> Any:
            return pyarrow.array(FRAME[name])

    found = sl.Forecaster(model()).update_many(Frame(), **by_name)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)
    renamed = {"value": [1.0], "time": ["2026-01-01"]}
    alone = sl.Forecaster(model()).update_many(renamed, stream="one")
    assert alone["stream"].tolist() == ["one"]
    assert alone["time"].tolist() == [datetime(2026, 1, 1, tzinfo=UTC).timestamp()]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "time",
    [
        NOON,
        NOON.timestamp(),
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=5))),
        np.datetime64("2026-03-01T12:00:00"),
        "2026-03-01T12:00:00",
        "2026-03-01 14:00:00+02:00",
        str(NOON.timestamp()),
    ],
)
def test_a_time_is_given_as_people_have_it(time: Any) -> None:
    forecaster = sl.Forecaster(model())
    assert forecaster.update("a", 1.0, time).time == NOON.timestamp()
    table = forecaster.update_many(stream="a", time=np.array([time]), value=[1.0])
    assert table["time"].tolist() == [NOON.timestamp()]


def test_without_a_time_an_event_is_now() -> None:
    before = datetime.now(UTC).timestamp()
    assert before <= sl.Forecaster(model()).update("a", 1.0).time <= datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": "warm"}, "numeric"),
        ({"value": [1.0, 2.0]}, "one number"),
        ({"value": {"b": 1.0}}, "give a plain number"),
        ({"value": float("nan")}, "NaN"),
        ({"value": 1e200}, "beyond"),
        ({"value": 1.0, "time": "yesterday"}, "not a time"),
        ({"value": 1.0, "time": float("inf")}, "not a time"),
        ({"value": 1.0, "time": object()}, "not a time"),
    ],
)
def test_what_no_event_may_have_is_named_and_changes_nothing(arguments: dict[str, Any], words: str) -> None:
    forecaster = sl.Forecaster(model())
    with pytest.raises(ValueError, match=words):
        forecaster.update(**(START | arguments))
    assert len(forecaster) == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"value": [1.0, np.nan], "time": [BEGIN, BEGIN]}, ValueError, "event 1: value is nan"),
        ({"value": [1.0, 2.0], "time": [BEGIN, np.nan]}, ValueError, "event 1: the time is unknown"),
        ({"value": [1.0], "time": np.array(["NaT"], "datetime64[s]")}, ValueError, "event 0: the time"),
        ({"value": [1.0, 2.0], "time": [BEGIN]}, ValueError, "1 times"),
        ({"value": [1.0]}, ValueError, "needs arrays"),
        ({"frame": FRAME, "time": "at", "value": "pressure"}, KeyError, "no column 'pressure'"),
        ({"frame": FRAME, "time": "at", "value": ["temperature", "at"]}, ValueError, "1 columns"),
    ],
)
def test_columns_that_do_not_fit_are_named_and_change_nothing(
    arguments: dict[str, Any], kind: type[Exception], words: str
) -> None:
    forecaster = sl.Forecaster(model())
    with pytest.raises(kind, match=words):
        forecaster.update_many(**({"stream": "a"} | arguments))
    assert len(forecaster) == 0


def test_more_streams_than_fit_at_first_keep_their_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = sl.Forecaster(model())
    monkeypatch.setattr("stream_lstm.forecast.forecaster.ROWS_FIRST", 2)
    narrow = sl.Forecaster(model())
    for forecaster in (roomy, narrow):
        for n in range(3):
            forecaster.update_many(
                stream=list("abcdefg"[: 3 + 2 * n]), time=[BEGIN + n] * (3 + 2 * n), value=[1.0] * (3 + 2 * n)
            )
    assert roomy.streams == narrow.streams == list("abcdefg")
    assert roomy.state_dict()["records"].tobytes() == narrow.state_dict()["records"].tobytes()
    assert "g" in narrow
    assert "h" not in narrow


def test_a_state_is_kept_by_numpy_and_goes_on(tmp_path: Path) -> None:
    first, second, values = sl.Forecaster(model()), sl.Forecaster(model()), drawn()
    first.update_many(stream="a", time=BEGIN + np.arange(60.0), value=values)
    np.savez(tmp_path / "state.npz", **first.state_dict())
    with np.load(tmp_path / "state.npz") as state:
        second.load(state)
    assert second.streams == ["a"]
    assert first.update("a", 9.0, BEGIN + 99) == second.update("a", 9.0, BEGIN + 99)
    assert first.update("b", 9.0, BEGIN + 99) == second.update("b", 9.0, BEGIN + 99)


def test_a_state_of_another_model_layout_or_size_is_refused_and_changes_nothing() -> None:
    forecaster = sl.Forecaster(model())
    forecaster.update(**START, value=1.0)
    state = forecaster.state_dict()
    with pytest.raises(ValueError, match="of model random"):
        sl.Forecaster(model("far")).load(state)
    for changes in ({"layout": "fields=x"}, {"records": state["records"][:, :8]}, {"streams": ["a", "a"]}):
        with pytest.raises(ValueError, match=r"layout|match"):
            forecaster.load(state | changes)
    assert forecaster.streams == ["a"]


def test_gates_are_given_on_request_and_change_nothing() -> None:
    plain, watched = sl.Forecaster(model("stacked")), sl.Forecaster(model("stacked"))
    for n in range(3):
        without, found = plain.update("a", n, BEGIN + n), watched.update("a", n, BEGIN + n, gates=True)
        assert found._replace(gates=None) == without
    assert found.gates is not None
    spec = watched.model.lstm.spec
    assert {
        name: gate.shape for name, gate in found.gates._asdict().items() if name != "entering"
    } == dict.fromkeys(("forget", "learn", "news", "use", "ltm", "stm"), (spec.layers, spec.units))
    np.testing.assert_allclose(found.gates.stm, np.tanh(found.gates.ltm) * found.gates.use, rtol=1e-5)


def test_an_event_that_must_not_be_learnt_keeps_what_is_normal() -> None:
    forecaster, values = sl.Forecaster(model()), drawn(200)
    forecaster.update_many(stream="a", time=BEGIN + np.arange(200.0), value=values)
    before = forecaster.state_dict()["records"].copy()
    forecaster.update("a", 500.0, BEGIN + 201, learn=False)
    dtype = forecaster._shape.dtype
    old, new = (records.view(dtype)[:, 0] for records in (before, forecaster.state_dict()["records"]))
    assert old["scale"].tobytes() == new["scale"].tobytes()
    assert old["ltm"].tobytes() != new["ltm"].tobytes()


def test_a_wider_interval_is_wider() -> None:
    widths = []
    for share in (0.5, INTERVAL, 0.99):
        forecaster = sl.Forecaster(model(), interval=share)
        table = forecaster.update_many(stream="a", time=BEGIN + np.arange(200.0), value=drawn(200))
        widths.append(float((table["high"] - table["low"])[-1]))
    assert widths == sorted(widths)
    with pytest.raises(ValueError, match="share"):
        sl.Forecaster(model(), interval=90)


def test_the_example_of_the_documentation_prints_what_backtest_prints() -> None:
    blocks = re.findall(r"^```python\n(.+?)^```", PAGE.read_text(), re.M | re.S)
    (code,) = [block for block in blocks if "error.mean()" in block]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    series = files.read(ROOT / "stream_lstm" / "demo" / "recordings" / "elb_request_count_8c0756.csv")
    (found,) = evaluate(load_model(None), series)
    assert done.stdout.startswith(f"{found.relative_mae:.3f} ")


def test_it_reads_well_in_a_notebook() -> None:
    forecaster = sl.Forecaster(model())
    for n, value in enumerate(drawn(300)[:, 0].tolist()):
        found = forecaster.update("pump7", value, BEGIN + 60 * n)
    assert repr(found).startswith(f"<pump7 #300: {value:.6g}, expected ")
    assert ", anomaly 0." in repr(found)
    assert "ALERT" in repr(forecaster.update("pump7", 9e9, BEGIN + 60 * 300))
    assert repr(forecaster).startswith("<Forecaster of 1 streams, <Model random:")
    pair, classes = (sl.Forecaster(model(kind)) for kind in ("pair", "classes"))
    assert "expected {a unknown, b unknown}" in repr(pair.update("s", [1, 2], BEGIN))
    assert "label " in repr(classes.update("s", [1, 2], BEGIN))
    assert repr(classes.model).endswith(": a, b -> wolf, dog, 1 x 8 units>")


MILLISECONDS = 1_764_245_000_000


def test_the_unit_of_an_epoch_number_is_told_by_its_size_as_in_payloads() -> None:
    forecaster = sl.Forecaster()
    assert forecaster.update("a", 1.0, MILLISECONDS).time == MILLISECONDS / 1e3
    table = forecaster.update_many(stream="a", time=np.array([MILLISECONDS + 500]) * 1_000, value=[2.0])
    assert table["time"].tolist() == [MILLISECONDS / 1e3 + 0.5]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: f.update("a", 1.0, float("inf")), "is not a time: epoch seconds"),
        (lambda f: f.update("a", 1.0, np.datetime64("NaT")), "is not a time"),
        (lambda f: f.update("", 1.0, 0), "the stream has no name"),
        (lambda f: f.update("a", float("nan"), 0), "^value is nan"),
        (lambda f: f.update_many(stream=["a", None], time=[0, 1], value=[1, 2]), "event 1: the stream has"),
        (lambda f: f.update_many(stream="a", time=[0, 1], value=[1, "zwei"]), "event 1: value is 'zwei'"),
        (
            lambda f: f.update_many(stream="a", time=[0, 1], value=[[1], [2, 3]]),
            "not an array of numbers|not a number",
        ),
        (lambda f: f.update_many(stream="a", time=["1", "x"], value=[1, 2]), "event 1: 'x' is not a time"),
        (
            lambda f: f.update_many(stream="a", time=[0.0, np.nan], value=[1, 2]),
            "event 1: the time is unknown",
        ),
        (lambda f: f.load("s.npz"), "what state_dict returned"),
        (lambda f: f.load({}), "what state_dict returned"),
    ],
)
def test_mistakes_are_named_by_event_and_column(call: Callable[[sl.Forecaster], object], words: str) -> None:
    forecaster = sl.Forecaster()
    with pytest.raises(ValueError, match=words):
        call(forecaster)
    assert len(forecaster) == 0


def test_of_several_features_the_one_that_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match=r"^b is nan"):
        sl.Forecaster(model("pair")).update("a", {"a": 1.0, "b": float("nan")}, 0)


def test_a_model_is_a_model_and_an_interval_a_number() -> None:
    with pytest.raises(TypeError, match=r"Model\.load"):
        sl.Forecaster("pump.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"between 0 and 1, not '0\.9'"):
        sl.Forecaster(interval="0.9")  # type: ignore[arg-type]


def test_an_empty_state_is_saved_and_loaded() -> None:
    saved = sl.Forecaster().state_dict()
    other = sl.Forecaster()
    other.update("a", 1.0, 0)
    other.load(saved)
    assert len(other) == 0


def test_notebooks_complete_what_is_not_imported_yet() -> None:
    assert set(sl.__all__) <= set(dir(sl))
