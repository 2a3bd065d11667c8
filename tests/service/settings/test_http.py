"""Section `[http]`: credentials, and when the header `Host` is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import HttpSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token": "a", "token_file": "b"}, "not both"),
        ({"username": "a"}, "go together"),
        ({"password": "a"}, "go together"),
        ({"key_file": "a"}, "without cert_file"),
        ({"token": ""}, "token is empty"),
        ({"username": "me", "password": ""}, "password is empty"),
    ],
)
def test_settings_that_contradict_each_other_are_rejected(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HttpSettings(**settings)
    assert words in str(caught.value)


def test_a_token_is_accepted_as_bearer_and_as_the_password_of_the_user_token() -> None:
    settings = HttpSettings(token="t0ken", username="me", password="pässword")
    assert settings.credentials() == ["Bearer t0ken", "Basic dG9rZW46dDBrZW4=", "Basic bWU6cMOkc3N3b3Jk"]


def test_without_token_and_password_no_credentials_are_required() -> None:
    assert HttpSettings().credentials() == []


def test_a_token_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not text in UTF-8"):
        HttpSettings(token_file=tmp_path / "token").credentials()


def test_an_empty_token_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(SettingsError, match=r"http\.token_file: .* is empty"):
        HttpSettings(token_file=tmp_path / "token").credentials()


@pytest.mark.parametrize(
    ("settings", "checked"),
    [
        ({}, True),
        ({"token": "t"}, False),  # a browser does not send the token under another name
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "names": ["plant.example"]}, True),
        ({"host": "0.0.0.0", "names": ["plant.example"], "username": "u", "password": "p"}, False),
    ],
)
def test_the_host_is_checked_where_no_credentials_are_required(
    settings: dict[str, Any], checked: bool
) -> None:
    assert HttpSettings(**settings).checks_host == checked


@pytest.mark.parametrize(
    ("settings", "count"), [({}, 262_144), ({"page": False}, 0), ({"enabled": False}, 0)]
)
def test_events_are_kept_only_for_a_page(settings: dict[str, Any], count: int) -> None:
    assert HttpSettings(**settings).events_kept == count
