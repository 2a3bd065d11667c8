"""Section `[mqtt]`: broker address, topics, TLS files, password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import MqttSettings

REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://a"}, "must be mqtt://host:port"),
    ({"url": "mqtt://user:secret@a"}, "mqtt.password_file"),
    ({"url": "mqtt://a:99999"}, "Port out of range"),
    ({"url": "mqtt://a/b"}, "without a path"),
    ({"password": "a", "password_file": "b"}, "not both"),
    ({"reconnect_seconds_min": 31}, "above reconnect_seconds_max"),
    ({"keep_alive_seconds": 0}, "greater than or equal to 1"),
    ({"status_topic": "a/#"}, "contains no +, #"),
    ({"freeze_topic": "$SYS/a"}, "must not begin with $"),
    ({"dropped_topic": "$SYS/#"}, "contains no +, #"),
    ({"dropped_topic": "stream_lstm/freeze"}, "the same as status_topic or freeze_topic"),
    ({"status_topic": "a" * 65_536}, "1 to 65,535 bytes"),
    ({"ca_file": "ca.pem"}, "write mqtts://"),
    ({"url": "mqtts://a", "key_file": "key.pem"}, "without cert_file"),
]


@pytest.mark.parametrize(("settings", "words"), REJECTED)
def test_an_invalid_setting_is_rejected_with_a_remedy(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MqttSettings(**settings)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "encrypted"),
    [
        ("mqtt://a", "a", 1883, False),
        ("tcp://a:1", "a", 1, False),
        ("mqtts://a", "a", 8883, True),
        ("mqtts://[::1]:2/", "::1", 2, True),
    ],
)
def test_the_url_gives_host_port_and_encryption(url: str, host: str, port: int, encrypted: bool) -> None:
    settings = MqttSettings(url=url)
    assert (settings.host, settings.port, settings.encrypted) == (host, port, encrypted)


def test_a_password_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"s3cret\r\n")
    settings = MqttSettings(password_file=file)
    assert settings.read_password() == b"s3cret"
    file.unlink()
    with pytest.raises(SettingsError, match=r"mqtt\.password_file: .* cannot be read"):
        settings.read_password()


def test_without_a_password_there_is_none() -> None:
    assert MqttSettings().read_password() is None
