"""`stream-lstm backtest`: the table, the page, the JSON."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from stream_lstm.backtest.report import BUCKETS
from stream_lstm.cli import main
from tests.core.models import KINDS, random_model

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


@pytest.mark.parametrize("kind", ["classes", "fixed", "pair"])
def test_models_without_one_predicted_feature_are_rejected(tmp_path: Path, kind: str) -> None:
    from stream_lstm.core.model import file as model_file
    from tests.core.models import description, tensors

    of = description(**KINDS[kind])
    (tmp_path / "m.safetensors").write_bytes(model_file.to_bytes(of, tensors(of)))
    file = recording(tmp_path / "pump.csv", 50)
    result = CliRunner().invoke(main, ["backtest", str(file), "--model", str(tmp_path / "m.safetensors")])
    assert result.exit_code == 2
    assert "does not have one feature that is also its target" in result.output
    assert random_model(**KINDS[kind]).spec.readout


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    file = recording(tmp_path / "pump.csv", 50)
    result = CliRunner().invoke(main, ["backtest", str(file), "--report", str(tmp_path / "no" / "r.html")])
    assert result.exit_code == 2
    assert "cannot be written" in result.output
