"""The commands, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
from click.testing import CliRunner, Result

from stream_lstm import cli
from stream_lstm.train.session import TrainingReport
from tests.brokers import Mosquitto
from tests.service.running import Running
from tests.train import states

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
READINGS = "timestamp,value\n2026-01-01 00:00:00,20.5\n2026-01-01 00:05:00,21.0\n2026-01-01 00:10:00,20.75\n"


def call(*arguments: object) -> Result:
    """Run a command; only its own exits are let through."""
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "pump.csv"
    path.write_text(READINGS)
    return path


@pytest.fixture
def state(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> Path:
    """A state file that a service has left: two streams, three events each, then two that it rejected."""
    broker = mosquitto()
    settings = f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n[[subscribe]]\ntopic = "sensors/#"\n'
    with Running(tmp_path / "service", settings) as service:
        payloads = [json.dumps({"a": 20.0 + n, "b": -n}) for n in range(3)]
        broker.publish_lines("sensors/pump", "\n".join([*payloads, "online", "offline"]) + "\n")
        while service.metrics().get("stream_lstm_events_received_total", 0) < 8:
            pass
        assert service.stop() == 0
    return service.state


@pytest.mark.parametrize("command", ["", *sorted(cli.main.commands)])
def test_every_command_says_what_it_does_and_gives_an_example(command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert not command or "Example:" in result.output


def test_it_can_be_started_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "stream_lstm", "--version"], capture_output=True, text=True
    )
    assert result.stdout.startswith("stream-lstm, version ")


# check


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_right(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LSTM__MQTT__PASSWORD", "hush")
    result = call("check", "--config", config, "--streams", 200_000)
    assert result.exit_code == 0, result.output
    assert "settings are right; model default:" in result.output
    assert "200,000 streams" in result.output
    assert "hush" not in call("check", "--config", config, "--print").output


def test_check_prints_the_settings_in_force() -> None:
    printed = json.loads(call("check", "--print").output)
    assert printed["mqtt"]["url"] == "mqtt://127.0.0.1:1883"


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
def test_wrong_settings_end_with_2_and_name_the_key(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "settings.toml").write_text(content)
    result = call("check", "--config", tmp_path / "settings.toml")
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert words in result.output


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = call("run", "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml" in result.output


# replay


def test_a_recording_straight_through_the_model(recording: Path) -> None:
    lines = [json.loads(line) for line in call("replay", recording, "--straight").output.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["value"] for line in lines] == [20.5, 21.0, 20.75]
    assert lines[0]["expected"] is None
    assert lines[1]["expected"] == lines[0]["prediction"]
    assert {(line["stream"], line["clock"]) for line in lines} == {("pump:value", "event")}


def test_a_journal_once_more_gives_the_same_predictions(state: Path) -> None:
    lines = [json.loads(line) for line in call("replay", "--journal", state).output.splitlines()]
    assert [(line["stream"], line["seq"]) for line in lines] == [
        (f"sensors/pump:{field}", seq) for seq in (1, 2, 3) for field in "ab"
    ]
    assert lines == [json.loads(line) for line in call("replay", "--journal", state).output.splitlines()]


def test_recordings_into_a_broker(
    recording: Path, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    second = tmp_path / "fan.csv"
    second.write_text("1767225600,1\n1767225601,2\n")
    config = tmp_path / "settings.toml"
    config.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n')
    listener = broker.subscriber("plant/#", "-C", "5")
    options = ("--config", config, "--topic", "plant/{name}", "--field", "t", "--speed", 3_000)
    result = call("replay", recording, second, *options)
    assert result.exit_code == 0, result.output
    assert "5 readings published" in result.output
    heard = listener.communicate(timeout=10)[0].splitlines()
    assert heard[0] == 'plant/pump {"timestamp":"2026-01-01 00:00:00","t":20.5}'
    assert sorted(line.split()[0] for line in heard) == ["plant/fan"] * 2 + ["plant/pump"] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("timestamp,value\nyesterday,4\n", "line 2"),
        ("timestamp,value\n2026-01-01,warm\n", "line 2"),
        ("timestamp,value\n", "no readings"),
        ("2026-01-01\n", "line 1"),
    ],
)
def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(content)
    result = call("replay", tmp_path / "bad.csv", "--straight")
    assert result.exit_code == 2
    assert "bad.csv" in result.output
    assert words in result.output


def test_options_of_replay_that_do_not_fit_are_refused(recording: Path) -> None:
    assert "{name}" in call("replay", recording, recording, "--topic", "all").output
    assert "takes one state file" in call("replay", recording, recording, "--journal").output
    assert call("replay", "--journal", recording).exit_code == 1  # a file, but no state file


# inspect


def test_the_streams_of_a_state_file(state: Path) -> None:
    lines = call("inspect", state).output.splitlines()
    assert "2 streams" in lines[0]
    assert lines[1].split()[:2] == ["stream", "events"]
    assert lines[2].split()[:3] == ["sensors/pump:a", "3", "22"]
    assert " ago " in lines[2] or " now " in lines[2]
    assert "1 more" in call("inspect", state, "--limit", 1).output
    told = [json.loads(line) for line in call("inspect", state, "--json").output.splitlines()]
    assert [(t["stream"], t["events"]) for t in told] == [("sensors/pump:a", 3), ("sensors/pump:b", 3)]


def test_all_that_is_remembered_of_one_stream(state: Path) -> None:
    shown = call("inspect", state, "--stream", "sensors/pump:b").output
    assert shown.splitlines()[0] == "sensors/pump:b"
    assert "3 events up to entry" in shown
    assert "which are few: the stream is cold; last heard" in shown
    assert "The last value is -2; expected next is " in shown
    assert "layer 0: 64 units; LTM (for long)" in shown
    assert "█" in shown
    largest = call("inspect", state, "--stream", "sensors/pump:b", "--largest").output
    units = [text.split("layer 0:", 1)[1].split() for text in (largest, shown)]  # above, time goes on
    assert sorted(units[0]) == sorted(units[1])
    first = largest.split("STM\n", 1)[1].splitlines()[0]
    assert " ████████ " in first
    told = json.loads(call("inspect", state, "--stream", "sensors/pump:b", "--json").output)
    assert len(told["ltm"][0]) == len(told["stm"][0]) == 64
    assert told["value"] == [-2.0]


def test_inspect_says_what_is_not_there(state: Path, tmp_path: Path) -> None:
    result = call("inspect", state, "--stream", "nobody")
    assert (result.exit_code, "nobody" in result.output) == (2, True)
    assert call("inspect", tmp_path / "none.db").exit_code == 2
    (tmp_path / "text").write_text("hello " * 100)
    assert call("inspect", tmp_path / "text").exit_code == 1


def test_inspect_without_a_path_takes_the_settings(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'[state]\npath = "{state}"\n')
    assert "2 streams" in call("inspect", "--config", config).output
    config.write_text(f'[state]\npath = "{tmp_path}/none.db"\n')
    result = call("inspect", "--config", config)
    assert (result.exit_code, "none.db" in result.output) == (2, True)


# snapshot, restore


def test_a_snapshot_is_taken_and_put_back(state: Path, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.db", tmp_path / "new.db"
    assert "2 streams" in call("snapshot", copy, "--state", state).output
    assert "2 streams" in call("restore", copy, "--state", new).output
    assert call("inspect", new).output.splitlines()[1:] == call("inspect", state).output.splitlines()[1:]
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


def test_bench_times_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_was_trained_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(folder: Path | None, **options: Any) -> tuple[bytes, TrainingReport]:
        options["progress"]()
        return b"weights", TrainingReport("mine:0", {})

    monkeypatch.setattr("stream_lstm.train.session.train", train)
    made = tmp_path / "m.safetensors"
    assert json.loads(call("train", "-o", made, "--json").stdout) == {"file": str(made), "model": "mine:0"}
    assert made.read_bytes() == b"weights"
    assert call("train", "-o", made).stdout == "model mine:0\n"


def test_what_was_converted_as_json(tmp_path: Path) -> None:
    weights, made = tmp_path / "w.safetensors", tmp_path / "m.safetensors"
    weights.write_bytes(safetensors.numpy.save(states.state(1, 8)))
    options = ("-o", made, "--features", "a,b,c", "--targets", "a,b")
    found = json.loads(call("convert", weights, *options, "--json").stdout)
    assert found["file"] == str(made)
    assert found["model"].startswith("w:")
    assert (found["layers"], found["units"], found["features"]) == (1, 8, ["a", "b", "c"])
    assert f"model {found['model']}, 1 layer(s) of 8 units" in call("convert", weights, *options).output
