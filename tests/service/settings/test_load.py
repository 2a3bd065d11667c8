"""Settings: what is accepted, what is refused and with which words, and which source wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings.load import Settings, load, masked
from stream_lstm.service.settings.sections import HttpSettings

ROOT = Path(__file__).parents[3]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_is_right(path: Path) -> None:
    load(path)


def test_the_commented_default_file_says_the_defaults() -> None:
    assert load(ROOT / "configs" / "default.toml") == Settings()


REFUSED = [
    ('[mqtt]\nurrl = "mqtt://a"', "mqtt.urrl: is not a setting; did you mean mqtt.url?"),
    ("[mqqt]\na = 1", "mqqt: is not a setting; did you mean mqtt?"),
    ('[[subscribe]]\ntopic = "a"\nfeilds = []', "did you mean subscribe.fields?"),
    ('[mqtt]\nurl = "http://a"', "write mqtt://host:port"),
    ('[mqtt]\nurl = "mqtt://user:secret@a"', "mqtt.password_file"),
    ('[mqtt]\nurl = "mqtt://a:99999"', "Port out of range"),
    ('[mqtt]\nurl = "mqtt://a/b"', "nothing more"),
    ('[mqtt]\npassword = "a"\npassword_file = "b"', "not both"),
    ("[mqtt]\nreconnect_seconds_min = 31", "above reconnect_seconds_max"),
    ("[mqtt]\nkeep_alive_seconds = 0", "greater than or equal to 1"),
    ('[mqtt]\nstatus_topic = "a/#"', "holds no +, #"),
    ('[mqtt]\nfreeze_topic = "$SYS/a"', "does not begin with $"),
    ('[mqtt]\ndropped_topic = "$SYS/#"', "holds no +, #"),
    ('[mqtt]\ndropped_topic = "stream_lstm/freeze"', "the topic of something else"),
    ('[[subscribe]]\ntopic = "a/#/b"', "must be the last"),
    ('[[subscribe]]\ntopic = "a/{x}"\nstream = "{y}"', "{y} is not known here"),
    ('[[subscribe]]\ntopic = "a"\nqos = 3', "subscribe.0.qos"),
    ('[[subscribe]]\ntopic = "a/+"\n[[subscribe]]\ntopic = "a/{b}"', "would never match"),
    ("subscribe = []", "subscribe"),
    ('[publish]\ntopic = "out"', "must hold {stream} once"),
    ('[publish]\ntopic = "{stream}/x"', "must begin with text"),
    ('[publish]\ntopic = "sensors/{stream}"', "choose another prefix"),
    ('[publish]\nrejected_topic = "a/+"', "holds no +, #"),
    ("[http]\nport = 70000", "http.port"),
    ("[limits]\nstreams_max = 0", "limits.streams_max"),
    ("[mqtt", "is not TOML"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_wrong_is_refused_with_the_key_and_a_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, text))
    assert words in str(caught.value)


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, "[http]\nport = -1\n[limits]\nstreams_max = 0"))
    assert "http.port" in str(caught.value)
    assert "limits.streams_max" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
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
        ("STREAM_LSTM__NONSENSE", "x", "sets no setting"),
        ("STREAM_LSTM__SUBSCRIBE", "[{", "environment"),
        ("STREAM_LSTM__HTTP__PORT", "many", "http.port"),
    ],
)
def test_a_wrong_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(None)
    assert words in str(caught.value)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[mqtt]\nusername = "me"\npassword = "hunter2"'))
    assert "hunter2" not in repr(settings) + str(masked(settings))
    assert settings.mqtt.secret() == b"hunter2"


def test_a_password_file_is_read_without_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s3cret\r\n")
    monkeypatch.setenv("STREAM_LSTM__MQTT__PASSWORD_FILE", str(secret))
    assert load(None).mqtt.secret() == b"s3cret"
    secret.unlink()
    with pytest.raises(SettingsError, match=r"mqtt\.password_file: .* cannot be read"):
        load(None).mqtt.secret()


def test_no_password_is_none() -> None:
    assert load(None).mqtt.secret() is None


def test_a_token_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not text in UTF-8"):
        HttpSettings(token_file=tmp_path / "token").credentials()
