"""The commands, called as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from stream_lstm import cli
from stream_lstm.train.session import TrainingReport
from tests.cli.conftest import call
from tests.train import states

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("command", ["", *sorted(cli.main.commands)])
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert not command or "Example:" in result.output


def test_the_package_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "stream_lstm", "--version"], capture_output=True, text=True
    )
    assert result.stdout.startswith("stream-lstm, version ")


# check


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LSTM__MQTT__PASSWORD", "hush")
    result = call("check", "--config", config, "--streams", 200_000)
    assert result.exit_code == 0, result.output
    assert "settings are valid; model default:" in result.output
    assert "200,000 streams" in result.output
    assert "hush" not in call("check", "--config", config, "--print").output


def test_check_prints_the_effective_settings() -> None:
    printed = json.loads(call("check", "--print").output)
    assert printed["mqtt"]["url"] == "mqtt://127.0.0.1:1883"


def test_check_names_filters_that_overlap(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[[subscribe]]\ntopic = "a/#"\n[[subscribe]]\ntopic = "b"\n[[subscribe]]\ntopic = "+/c"\n'
    )
    found = call("check", "--config", tmp_path / "s.toml")
    assert found.exit_code == 0
    assert [line for line in found.output.splitlines() if "warning" in line] == [
        "  warning: a/# and +/c overlap: a topic that both match is read by the first, once"
    ]


def test_check_as_json(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('[[subscribe]]\ntopic = "a/{b}"\nqos = 2\n[http]\nrecent_events_max = 0\n')
    found = json.loads(call("check", "--config", config, "--streams", 1_000, "--json").output)
    assert found["settings"] == "right"
    assert found["model"].startswith("default:")
    assert found["subscriptions"] == [{"filter": "a/+", "qos": 2}]
    assert found["estimate"]["streams"] == 1_000
    without = found["estimate"]["memory_bytes"]
    config.write_text("[http]\nrecent_events_max = 100_000\n")
    needs = json.loads(call("check", "--config", config, "--streams", 1_000, "--json").output)["estimate"]
    assert needs["memory_bytes"] - without == needs["recent_bytes"] > 100_000 * 60
    words = call("check", "--config", config).output
    assert f"{needs['recent_bytes'] / 1e6:.1f} MB are for the last 100,000 events" in words
    assert json.loads(call("check", "--print", "--json").output) == json.loads(
        call("check", "--print").output
    )
    config.write_text("[http]\nenabled = false\n")
    assert "live page" not in call("check", "--config", config).output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[mqtt]\nurk = "mqtt://x"\n', "url"),
        ("[mqtt\n", "settings.toml"),
        ('[mqtt]\nurl = "http://x"\n', "mqtt.url"),
        ('[model]\npath = "nothing.safetensors"\n', "nothing.safetensors"),
        ('[[subscribe]]\ntopic = "a/#/b"\n', "subscribe"),
    ],
)
def test_invalid_settings_exit_with_2_and_name_the_key(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "settings.toml").write_text(content)
    result = call("check", "--config", tmp_path / "settings.toml")
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert words in result.output


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    result = call("run", "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml" in result.output


# inspect


def test_inspect_lists_the_streams_of_a_state_file(state: Path) -> None:
    lines = call("inspect", state).output.splitlines()
    assert "2 streams" in lines[0]
    assert lines[1].split()[:2] == ["stream", "events"]
    assert lines[2].split()[:3] == ["sensors/pump:a", "3", "22"]
    assert " ago " in lines[2] or " now " in lines[2]
    assert "1 more" in call("inspect", state, "--limit", 1).output
    found = [json.loads(line) for line in call("inspect", state, "--json").output.splitlines()]
    assert [(t["stream"], t["events"]) for t in found] == [("sensors/pump:a", 3), ("sensors/pump:b", 3)]


def test_inspect_shows_the_memory_of_one_stream(state: Path) -> None:
    shown = call("inspect", state, "--stream", "sensors/pump:b").output
    assert shown.splitlines()[0] == "sensors/pump:b"
    assert "3 events (cold: fewer than 100) up to entry" in shown
    assert "Last value: -2; expected next: " in shown
    assert "layer 0: 64 units; LTM (long-term" in shown
    assert "█" in shown
    largest = call("inspect", state, "--stream", "sensors/pump:b", "--largest").output
    units = [text.split("layer 0:", 1)[1].split() for text in (largest, shown)]  # above, time goes on
    assert sorted(units[0]) == sorted(units[1])
    first = largest.split("STM\n", 1)[1].splitlines()[0]
    assert " ████████ " in first
    found = json.loads(call("inspect", state, "--stream", "sensors/pump:b", "--json").output)
    assert len(found["ltm"][0]) == len(found["stm"][0]) == 64
    assert found["value"] == [-2.0]


def test_inspect_names_what_is_missing(state: Path, tmp_path: Path) -> None:
    result = call("inspect", state, "--stream", "absent")
    assert (result.exit_code, "absent" in result.output) == (2, True)
    assert call("inspect", tmp_path / "none.db").exit_code == 2
    (tmp_path / "text").write_text("hello " * 100)
    assert call("inspect", tmp_path / "text").exit_code == 1


def test_inspect_without_a_path_uses_the_settings(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'[state]\npath = "{state}"\n')
    assert "2 streams" in call("inspect", "--config", config).output
    config.write_text(f'[state]\npath = "{tmp_path}/none.db"\n')
    result = call("inspect", "--config", config)
    assert (result.exit_code, "none.db" in result.output) == (2, True)


# snapshot, restore


def test_a_snapshot_is_taken_and_restored(state: Path, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.db", tmp_path / "new.db"
    assert "2 streams" in call("snapshot", copy, "--state", state).output
    assert "2 streams" in call("restore", copy, "--state", new).output
    assert call("inspect", new, "--json").output == call("inspect", state, "--json").output
    refused = call("restore", copy, "--state", new)
    assert (refused.exit_code, "--replace" in refused.output) == (2, True)
    assert call("restore", copy, "--state", new, "--replace").exit_code == 0
    assert len(list(tmp_path.glob("new.db.2*Z"))) == 1
    assert call("snapshot", copy, "--state", tmp_path / "copy.db").exit_code == 2
    taken = json.loads(call("snapshot", copy, "--state", state, "--json").output)
    put = json.loads(call("restore", copy, "--state", tmp_path / "third.db", "--json").output)
    assert taken == put | {"file": str(copy)}
    assert (put["file"], put["streams"]) == (str(tmp_path / "third.db"), 2)
    assert put["entries"] == put["entry"] > 0
    refused = call("restore", copy, "--state", new, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ")


# bench, train


def test_bench_measures_each_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_lstm.cli.bench.SECONDS_EACH", 0.001)
    lines = call("bench", "--batch", 1, "--batch", 20).output.splitlines()
    assert lines[0].startswith("model default:")
    assert [line.split()[0] for line in lines[1:]] == ["batch", "1", "20"]
    found = json.loads(call("bench", "--batch", 1, "--batch", 20, "--json").output)
    assert [each["batch"] for each in found["batches"]] == [1, 20]
    assert all(
        each["events_per_second"] == pytest.approx(1 / each["seconds_per_event"]) for each in found["batches"]
    )
    assert (found["layers"], found["units"]) == (1, 64)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    golden = ROOT / "tests" / "train" / "golden" / "golden.safetensors"
    result = call(
        "convert", golden, "-o", tmp_path / "no" / "m.safetensors", "--features", "x", "--mean", "?"
    )
    assert (result.exit_code, "--mean" in result.output) == (2, True)


def test_train_reports_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(folder: Path | None, **options: Any) -> tuple[bytes, TrainingReport]:
        options["progress"]()
        return b"weights", TrainingReport("mine:0", {})

    monkeypatch.setattr("stream_lstm.train.session.train", train)
    made = tmp_path / "m.safetensors"
    assert json.loads(call("train", "-o", made, "--json").stdout) == {"file": str(made), "model": "mine:0"}
    assert made.read_bytes() == b"weights"
    assert call("train", "-o", made).stdout == "model mine:0\n"


def test_convert_reports_json(tmp_path: Path) -> None:
    weights, made = tmp_path / "w.safetensors", tmp_path / "m.safetensors"
    weights.write_bytes(safetensors.numpy.save(states.state(1, 8)))
    options = ("-o", made, "--features", "a,b,c", "--targets", "a,b")
    found = json.loads(call("convert", weights, *options, "--json").stdout)
    assert found["file"] == str(made)
    assert found["model"].startswith("w:")
    assert (found["layers"], found["units"], found["features"]) == (1, 8, ["a", "b", "c"])
    assert f"model {found['model']}, 1 layer(s) of 8 units" in call("convert", weights, *options).output
