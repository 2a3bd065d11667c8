"""`stream-lstm backtest`: the table, the page, the JSON."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from stream_lstm.backtest import files
from stream_lstm.backtest.report import BUCKETS
from stream_lstm.cli import main
from stream_lstm.core.model import file as model_file
from stream_lstm.events import Batch
from tests.core.models import KINDS, description, engine, random_model, tensors

WILD = '</script><img src=x onerror=alert(1)>&"\u202e'


def recording(path: Path, size: int = 700, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(size) / 20) * 4 + rng.normal(0, 1, size)
    values[size * 5 // 8] = 90.0
    rows = "\n".join(f"{1.7e9 + n * 300},{value}" for n, value in enumerate(values))
    path.write_text(f"timestamp,value\n{rows}\n")
    return path


class Reader(HTMLParser):
    """Links, tags and data of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.data: dict[str, str] = {}
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in = dict(attrs).get("id") or tag
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.data[self._in] = self.data.get(self._in, "") + data


def test_the_table_has_a_line_for_each_stream_and_one_of_medians(tmp_path: Path) -> None:
    files = [str(recording(tmp_path / f"pump{n}.csv", seed=n)) for n in range(2)]
    result = CliRunner().invoke(main, ["backtest", *files])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["stream", "pump0", "pump1", "median"]
    assert float(lines[3].split()[2]) < 1.0


def test_the_page_is_self_contained_and_the_json_is_standard(tmp_path: Path) -> None:
    file = recording(tmp_path / "pump.csv", 4_000)
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    result = CliRunner().invoke(main, ["backtest", str(file), "--report", str(page), "--json", str(numbers)])
    assert result.exit_code == 0, result.output

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(numbers.read_text(), parse_constant=refuse)
    (stream,) = found["streams"]
    assert stream["name"] == "pump"
    assert stream["ratio"] == pytest.approx(stream["error"] / stream["persistence"])
    assert {alert["kind"] for alert in stream["alerted"]} <= {"surprise", "record", "level", "drift"}
    assert any(math.isclose(alert["time"], 1.7e9 + 2_500 * 300) for alert in stream["alerted"])
    assert found["all"]["events"] == 4_000
    read = Reader()
    read.feed(page.read_text())
    assert all(link.startswith("#") for link in read.links)
    assert "http://" not in page.read_text().replace("http://www.w3.org/", "")
    (course,) = json.loads(read.data["charts"])
    assert len(course["time"]) == len(course["value"]) == len(course["anomaly"]) == 4_000
    assert course["low"][1] is None
    assert course["alerts"]


def test_long_streams_are_reduced_to_extremes_and_anomalies(tmp_path: Path) -> None:
    file = recording(tmp_path / "pump.csv", 6_000)
    page = tmp_path / "r.html"
    assert CliRunner().invoke(main, ["backtest", str(file), "--report", str(page)]).exit_code == 0
    read = Reader()
    read.feed(page.read_text())
    (course,) = json.loads(read.data["charts"])
    assert BUCKETS < len(course["time"]) <= 3 * BUCKETS + 2
    assert 90.0 in course["value"]
    assert course["time"] == sorted(course["time"])


def test_names_are_escaped(tmp_path: Path) -> None:
    rows = "\n".join(f"{n * 60},{n % 7},{n % 5}" for n in range(60))
    file = tmp_path / "a.csv"
    wild = WILD.replace('"', '""')
    file.write_text(f'time,"{wild}",other\n{rows}\n', "utf-8")
    page = tmp_path / "r.html"
    assert CliRunner().invoke(main, ["backtest", str(file), "--report", str(page)]).exit_code == 0
    read = Reader()
    read.feed(page.read_text("utf-8"))
    assert "img" not in read.tags
    assert f"a:{WILD}" in read.data["stream-0"]


def saved(folder: Path, kind: str) -> Path:
    of = description(**KINDS[kind])
    path = folder / f"{kind}.safetensors".replace(" ", "_")
    path.write_bytes(model_file.to_bytes(of, tensors(of)))
    return path


def events_file(path: Path, size: int = 300, *, names: str = "ts,a,b,soft") -> Path:
    rng = np.random.default_rng(4)
    walk = np.cumsum(rng.normal(0, 1, (size, 3)), axis=0)
    rows = [f"{1.7e9 + n * 60},{a},{b},{c}" for n, (a, b, c) in enumerate(walk.tolist())]
    rows[5] = f"{1.7e9 + 5 * 60},,1.0,2.0"  # a missing feature: the row is left out
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


def figures(*arguments: object) -> tuple[str, dict[str, Any]]:
    numbers = Path(str(arguments[0])).with_suffix(".json")
    result = CliRunner().invoke(main, ["backtest", *map(str, arguments), "--json", str(numbers)])
    assert result.exit_code == 0, result.output
    return result.stdout, json.loads(numbers.read_text())


def test_a_model_of_several_features_has_a_line_for_each_target(tmp_path: Path) -> None:
    file, page = events_file(tmp_path / "pump.csv"), tmp_path / "r.html"
    shown, found = figures(file, "--model", saved(tmp_path, "pair"), "--report", page)
    assert [line.split()[0] for line in shown.splitlines()[:4]] == ["stream", "pump:a", "pump:b", "median"]
    model, one = random_model(**KINDS["pair"]), files.read_events(file, ["a", "b"])
    assert len(one.times) == 299
    predictions = engine(model, 1).apply(Batch.timed(np.full(299, 1), one.times, one.values))
    for n, stream in enumerate(found["streams"]):
        errors = np.abs(one.values[:, n] - predictions.expected[:, n])[1:]
        assert stream["error"] == pytest.approx(errors.mean())
        assert stream["alerts"] == predictions.alert.sum()
    assert found["all"]["events"] == 299  # those of the stream, once
    assert found["all"]["alerts"] == predictions.alert.sum()
    assert "pump:b" in page.read_text()


def test_targets_that_are_no_features_are_compared_with_their_own_column(tmp_path: Path) -> None:
    file = events_file(tmp_path / "pump.csv")
    shown, found = figures(file, "--model", saved(tmp_path, "fixed"))
    assert [stream["name"] for stream in found["streams"]] == ["pump:b", "pump:soft"]
    one = files.read_events(file, ["a", "b"])
    model = engine(random_model(**KINDS["fixed"]), 1)
    expected = model.apply(Batch.timed(np.full(299, 1), one.times, one.values)).expected[:, 1]
    errors = np.abs(np.array(one.columns["soft"], float) - expected)[1:]
    assert found["streams"][1]["error"] == pytest.approx(errors.mean())
    assert shown.splitlines()[2].split()[0] == "pump:soft"
    without = str(events_file(tmp_path / "y.csv", names="ts,a,b,c"))
    result = CliRunner().invoke(main, ["backtest", without, "--model", str(saved(tmp_path, "fixed"))])
    assert result.exit_code == 2
    assert "has no column 'soft', which the model predicts" in result.output


def test_columns_of_features_may_have_other_names(tmp_path: Path) -> None:
    model = saved(tmp_path, "pair")
    named = figures(events_file(tmp_path / "x.csv"), "--model", model)[1]
    other = events_file(tmp_path / "x.csv", names="ts,left,right,rest")
    renamed = figures(other, "--model", model, "--value", "left", "--value", "right")[1]
    assert renamed == named
    for arguments, words in (
        ([], "has no column 'a'; there are ts, left, right, rest; name the features' columns with --value"),
        (["--value", "left"], "names 1 columns, and the model has 2 features (a, b)"),
        (["--label", "rest"], "does not classify"),
    ):
        result = CliRunner().invoke(main, ["backtest", str(other), "--model", str(model), *arguments])
        assert result.exit_code == 2
        assert words in " ".join(result.output.split())


def labelled_file(path: Path, features: list[str], labels: list[str]) -> Path:
    rows = [f"{n * 60},{','.join('1.5' for _ in features)},{label}" for n, label in enumerate(labels)]
    path.write_text("\n".join([f"time,{','.join(features)},label", *rows]) + "\n")
    return path


def test_a_classifying_model_is_measured_by_its_labels(tmp_path: Path) -> None:
    spec = description(**KINDS["classes"])
    first, second = spec.labels[:2]
    labels = [second, "", first, first, second, ""]
    file, model = labelled_file(tmp_path / "x.csv", spec.features, labels), saved(tmp_path, "classes")
    shown, found = figures(file, "--model", model)
    one = files.read_events(file, spec.features)
    loaded = random_model(**KINDS["classes"])
    given = engine(loaded, 1).apply(Batch.timed(np.full(6, 1), one.times, one.values)).probabilities
    true = [(0, 1), (2, 0), (3, 0), (4, 1)]
    (stream,) = found["streams"]
    assert (stream["events"], stream["labelled"]) == (6, 4)
    assert stream["accuracy"] == np.mean([given[n].argmax() == label for n, label in true])
    assert stream["log_loss"] == pytest.approx(np.mean([-np.log(given[n, label]) for n, label in true]))
    assert stream["accuracy_last_label"] == 0.25  # 0 1 0 0 before 1 0 0 1
    assert stream["accuracy_majority"] == 0.25  # 0 1 0 0
    assert found["all"] == {key: value for key, value in stream.items() if key != "name"}
    assert [line.split()[0] for line in shown.splitlines()[:3]] == ["stream", "x", "all"]


def test_what_does_not_fit_a_classifying_model_is_named(tmp_path: Path) -> None:
    spec, model = description(**KINDS["classes"]), saved(tmp_path, "classes")
    known = labelled_file(tmp_path / "x.csv", spec.features, [spec.labels[0]] * 4)
    strange = labelled_file(tmp_path / "y.csv", spec.features, ["", "", "cat"])
    empty = labelled_file(tmp_path / "z.csv", spec.features, [""] * 3)
    for file, arguments, words in (
        (known, ["--report", "r.html"], "draws forecasts, and"),
        (known, ["--label", "kind"], "has no column 'kind'; name that of the labels with --label"),
        (strange, [], f"event 3: 'cat' is not a class of the model ({', '.join(spec.labels)})"),
        (empty, [], "has no label in any row"),
    ):
        result = CliRunner().invoke(main, ["backtest", str(file), "--model", str(model), *arguments])
        assert result.exit_code == 2
        assert words in " ".join(result.output.split())


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    file = recording(tmp_path / "pump.csv", 50)
    result = CliRunner().invoke(main, ["backtest", str(file), "--report", str(tmp_path / "no" / "r.html")])
    assert result.exit_code == 2
    assert "cannot be written" in result.output
