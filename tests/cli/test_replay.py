"""`replay`: recordings through the model and into brokers that accept, refuse or start later; a journal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from stream_lstm.core.model import file as model_file
from tests.brokers import Mosquitto, find
from tests.cli.conftest import call
from tests.core.models import KINDS, description, tensors

CA = trustme.CA()
SECONDS_MAX = 20.0


def test_a_recording_is_replayed_through_the_model(recording: Path) -> None:
    lines = [json.loads(line) for line in call("replay", recording, "--straight").output.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["value"] for line in lines] == [20.5, 21.0, 20.75]
    assert lines[0]["expected"] is None
    assert lines[1]["expected"] == lines[0]["prediction"]
    assert {(line["stream"], line["clock"]) for line in lines} == {("pump:value", "event")}


def test_recordings_of_several_features_are_replayed_through_their_model(tmp_path: Path) -> None:
    of = description(**KINDS["pair"])
    model = tmp_path / "pair.safetensors"
    model.write_bytes(model_file.to_bytes(of, tensors(of)))
    for name, rows in (("pump", "0,1,2\n60,1.5,2.5\n"), ("fan", "1000,7,8\n1030,7.5,8.5\n")):
        (tmp_path / f"{name}.csv").write_text("time,a,b\n" + rows)
    files = tmp_path / "pump.csv", tmp_path / "fan.csv"
    result = call("replay", *files, "--straight", "--model", model)
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [(line["stream"], line["seq"]) for line in lines] == [
        ("pump", 1),
        ("fan", 1),
        ("fan", 2),  # 30 s after its first, pump's after 60
        ("pump", 2),
    ]
    assert lines[3]["value"] == {"a": 1.5, "b": 2.5}
    assert lines[3]["expected"] == lines[0]["prediction"]
    (tmp_path / "bad.csv").write_text("time,a\n0,1\n")
    assert "has no column 'b'" in call("replay", tmp_path / "bad.csv", "--straight", "--model", model).output


def test_a_journal_is_replayed_to_the_same_predictions(state: Path) -> None:
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
    received = listener.communicate(timeout=SECONDS_MAX)[0].splitlines()
    assert received[0] == 'plant/pump {"timestamp":"2026-01-01 00:00:00","t":20.5}'
    assert sorted(line.split()[0] for line in received) == ["plant/fan"] * 2 + ["plant/pump"] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("timestamp,value\nyesterday,4\n", "line 2"),
        ("timestamp,value\n2026-01-01,warm\n", "line 2"),
        ("timestamp,value\n", "no readings"),
        ("2026-01-01\n", "line 1"),
    ],
)
def test_an_unreadable_recording_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(content)
    result = call("replay", tmp_path / "bad.csv", "--straight")
    assert result.exit_code == 2
    assert "bad.csv" in result.output
    assert words in result.output


def test_options_of_replay_that_exclude_each_other_are_rejected(recording: Path) -> None:
    assert "{name}" in call("replay", recording, recording, "--topic", "all").output
    assert "wildcards" in call("replay", recording, "--topic", "plant/#").output
    assert "takes one state file" in call("replay", recording, recording, "--journal").output
    assert call("replay", "--journal", recording).exit_code == 1  # a file, but no state file


def test_all_readings_are_published_without_a_speed(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    rows = "\n".join(f"{1.7e9 + n},{n}" for n in range(3_000))
    (tmp_path / "long.csv").write_text(rows + "\n")
    listener = broker.subscriber("sensors/#", "-C", "3000")
    config = written(tmp_path, f'url = "mqtt://127.0.0.1:{broker.port}"')
    result = call("replay", tmp_path / "long.csv", "--config", config)
    assert (result.exit_code, "3,000 readings published" in result.output) == (0, True)
    received = listener.communicate(timeout=SECONDS_MAX)[0].splitlines()
    assert [json.loads(line.split(" ", 1)[1])["value"] for line in received] == list(range(3_000))


def written(folder: Path, mqtt: str) -> Path:
    """A settings file."""
    (folder / "settings.toml").write_text(f"[mqtt]\nreconnect_seconds_min = 0.1\n{mqtt}\n")
    return folder / "settings.toml"


def test_user_password_and_certificate_are_those_of_the_settings(
    recording: Path, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    passwords, leaf = tmp_path / "passwords", CA.issue_cert("broker.example")
    subprocess.run([find("mosquitto_passwd"), "-b", "-c", str(passwords), "me", "secret"], check=True)
    passwords.chmod(0o644)
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    broker = mosquitto(
        *(f"password_file {passwords}", f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem"),
        anonymous=False,
    )
    lines = [
        f'url = "mqtts://127.0.0.1:{broker.port}"',
        f'ca_file = "{tmp_path}/ca.pem"',
        *('server_name = "broker.example"', 'username = "me"', 'password = "secret"'),
    ]
    result = call("replay", recording, "--config", written(tmp_path, "\n".join(lines)))
    assert (result.exit_code, "3 readings published" in result.output) == (0, True)


def test_a_broker_that_refuses_is_reported_until_interrupted(
    recording: Path, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto(anonymous=False)
    config = written(tmp_path, f'url = "mqtt://127.0.0.1:{broker.port}"')
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_lstm", "replay", str(recording), "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    lines = iter(process.stderr.readline, "")
    refused = next(line for line in lines if line.startswith("not connected: "))
    assert "the broker refused the connection: not authorized (0x87); check mqtt.username" in refused
    assert "; retry in " in refused
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SECONDS_MAX)[1].strip() == "Aborted!"
    assert process.returncode == 1


def test_a_broker_that_starts_later_gets_the_readings(
    recording: Path, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    broker.kill()
    config = written(tmp_path, f'url = "mqtt://127.0.0.1:{broker.port}"')
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_lstm", "replay", str(recording), "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    lines = iter(process.stderr.readline, "")
    assert "Connection refused" in next(line for line in lines if line.startswith("not connected: "))
    broker.start()
    assert "3 readings published" in process.communicate(timeout=SECONDS_MAX)[1]
    assert process.returncode == 0


def test_replay_into_a_broker_needs_the_extra(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    result = call("replay", recording)
    assert result.exit_code == 2
    assert result.output == (
        "error: aiomqtt: is not installed; install with: pip install 'stream-lstm[demo]'\n"
    )
