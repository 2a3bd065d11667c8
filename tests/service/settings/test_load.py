"""Loading: sources and their precedence, unknown keys, rules across sections, masked secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import Settings, load, masked

ROOT = Path(__file__).parents[3]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_settings_file_is_valid(path: Path) -> None:
    load(path)


def test_the_default_settings_file_holds_the_defaults() -> None:
    assert load(ROOT / "configs" / "default.toml") == Settings()


REJECTED = [
    ('[mqtt]\nurrl = "mqtt://a"', "mqtt.urrl: is not a setting; did you mean mqtt.url?"),
    ("[mqqt]\na = 1", "mqqt: is not a setting; did you mean mqtt?"),
    ('[[subscribe]]\ntopic = "a"\nfeilds = []', "did you mean subscribe.fields?"),
    ('[[subscribe]]\ntopic = "a"\nqos = 3', "subscribe.0.qos"),
    ('[mqtt]\nurl = "http://a"', "mqtt.url: must be mqtt://host:port"),
    ("[http]\nport = 70000", "http.port"),
    ("[limits]\nstreams_max = 0", "limits.streams_max"),
    ("subscribe = []", "subscribe"),
    ('[[subscribe]]\ntopic = "a/+"\n[[subscribe]]\ntopic = "a/{b}"', "would never match"),
    ('[publish]\ntopic = "sensors/{stream}"', "choose another prefix"),
    ('[publish]\nalert_topic = "sensors/{stream}"', "choose another prefix"),
    ("[mqtt", "is not TOML"),
    pytest.param(f"a = {'[' * 9_000}{']' * 9_000}", "is not TOML", id="too deep"),
    pytest.param(f"a = {'1' * 100_000}", "is not TOML", id="too many digits"),
]


@pytest.mark.parametrize(("text", "words"), REJECTED)
def test_an_invalid_file_is_rejected_with_the_key_and_a_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, text))
    assert words in str(caught.value)


def test_every_invalid_key_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, "[http]\nport = -1\n[limits]\nstreams_max = 0"))
    assert "http.port" in str(caught.value)
    assert "limits.streams_max" in str(caught.value)


def test_a_missing_file_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read"):
        load(tmp_path / "absent.toml")


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LSTM__MQTT__URL", "mqtt://other:1884")
    settings = load(write(tmp_path, '[mqtt]\nurl = "mqtt://a"\nclient_id = "kept"'))
    assert (settings.mqtt.host, settings.mqtt.port) == ("other", 1884)
    assert settings.mqtt.client_id == "kept"


def test_subscriptions_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LSTM__SUBSCRIBE", '[{"topic": "a/{b}", "stream": "{b}"}]')
    assert load(None).subscribe[0].source().pattern.filter == "a/+"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("STREAM_LSTM__MQTT__ULR", "x", "did you mean mqtt.url?"),
        ("STREAM_LSTM__NONSENSE", "x", "matches no setting"),
        ("STREAM_LSTM__SUBSCRIBE", "[{", "environment"),
        ("STREAM_LSTM__HTTP__PORT", "many", "http.port"),
        ("STREAM_LSTM__HTTP__TOKEN", "", "is empty"),
        ("STREAM_LSTM__HTTP__TOKEN_FILE", "", "is empty"),
        ("STREAM_LSTM_MQTT_URL", "mqtt://broker", "did you mean STREAM_LSTM__MQTT__URL?"),
    ],
)
def test_an_invalid_variable_is_rejected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(None)
    assert words in str(caught.value)


def test_other_programs_variables_with_a_similar_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LSTM_PORT_8080_TCP", "tcp://10.0.0.1:8080")  # as Kubernetes sets for a service
    assert load(None) == Settings()


def test_secrets_are_masked(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[mqtt]\nusername = "me"\npassword = "hunter2"'))
    assert "hunter2" not in repr(settings) + str(masked(settings))
    assert settings.mqtt.read_password() == b"hunter2"
