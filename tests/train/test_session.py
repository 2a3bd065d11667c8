"""A training run: its report in text and JSON, and with torch a model that records what it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.backtest.evaluation import Evaluation
from stream_lstm.core.model import file as model_file
from stream_lstm.json_output import in_json
from stream_lstm.train.generate import generate_stream
from stream_lstm.train.recordings import RecordedStream
from stream_lstm.train.session import Part, TrainingReport, train
from tests.train.files import write_recordings


def test_the_report_gives_the_same_numbers_as_text_and_as_json() -> None:
    flat = Evaluation(9, 0.0, 0.0, 1.0, float("nan"), 1.0, 0.5, 0, 0, 0.5)
    moving = flat._replace(mae=2.0, last_value_mae=4.0)
    recorded = [
        RecordedStream(name, generate_stream(np.random.default_rng(1), 9), True) for name in ("a", "b")
    ]
    report = TrainingReport("mine:0", {"held_out": Part(recorded, [flat, moving])})
    lines = report.lines()
    assert lines[0] == "model mine:0"
    assert lines[1].split() == ["held", "out", "events", "error", "coverage", "alerts"]
    assert lines[3].split() == ["b", "9", "0.500", "50.0%", "0"]
    fields = json.loads(in_json(report.fields()))
    assert fields["model"] == "mine:0"
    assert [stream["ratio"] for stream in fields["held_out"]["streams"]] == [1.0, 0.5]
    assert fields["held_out"]["streams"][0]["least_squares"] is None
    assert fields["held_out"]["median_ratio"] == float(lines[4].split()[1])
    assert "trained_on" not in fields


@pytest.mark.torch
def test_the_model_file_names_the_held_out_recordings(tmp_path: Path) -> None:
    write_recordings(tmp_path, "abcde")
    ticks: list[None] = []
    content, report = train(
        tmp_path, name="mine", seed=1, steps=2, units=8, progress=lambda: ticks.append(None)
    )
    assert model_file.from_bytes(content).spec.made["held_out"] == "d"
    assert len(ticks) == 2
    assert any(line.startswith("held out") for line in report.lines())
