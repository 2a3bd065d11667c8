"""Service addresses from settings and from `--url`: URL, credentials, and errors that name key or option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_lstm.cli import service_address
from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import HttpSettings


@pytest.mark.parametrize(
    ("url", "port", "shown"),
    [
        ("http://plant", 80, "http://plant:80"),
        ("https://plant.example/", 443, "https://plant.example:443"),
        ("https://[::1]:8443", 8443, "https://[::1]:8443"),
        ("http://127.0.0.1:8080", 8080, "http://127.0.0.1:8080"),
    ],
)
def test_a_url_gives_host_and_port(url: str, port: int, shown: str) -> None:
    address = service_address.from_url(url, None)
    assert (address.port, address.url, address.authorization) == (port, shown, None)


@pytest.mark.parametrize(
    "url",
    [
        *("plant:8080", "ftp://plant", "http://", "http://plant/api", "http://plant?x=1", "http://plant#x"),
        *("", "http://me:secret@plant", "http://plant:99999", "http://[::1", "http://plant:x"),
        *("http://me:secret@plant/api", "http://a..b", "http://" + "a" * 70),
    ],
)
def test_an_invalid_url_is_rejected_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^--url: ") as caught:
        service_address.from_url(url, None)
    assert "secret" not in str(caught.value)


def test_a_token_file_that_holds_no_token_is_rejected(tmp_path: Path) -> None:
    for content in (b"", b"one\ntwo\n", b"a\x00b", b"\xff\xfe"):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(SettingsError, match=r"^--token-file: ") as caught:
            service_address.from_url("http://x", tmp_path / "token")
        assert "two" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"^--token-file: .* cannot be read"):
        service_address.from_url("http://x", tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"enabled": False}, "http.enabled: is false"),
        ({"page": False}, "http.page: is false"),
        ({"port": 0}, "http.port: is 0.* --url"),
        ({"cert_file": "none.pem"}, "http.cert_file: none.pem cannot be used: No such file"),
        ({"cert_file": __file__}, "http.cert_file: .* holds no certificate in PEM"),
        ({"token": "a\nb"}, "http.token_file: holds more than one line"),
    ],
)
def test_settings_without_a_usable_address_are_rejected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        service_address.from_settings(HttpSettings(**changes))


def test_a_damaged_certificate_is_rejected(tmp_path: Path) -> None:
    for content in ("what?", "TWlu"):
        (tmp_path / "c.pem").write_text(
            f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
        )
        with pytest.raises(SettingsError, match=r"http.cert_file: .* cannot be used"):
            service_address.from_settings(HttpSettings(cert_file=tmp_path / "c.pem"))


def test_the_service_of_the_settings_is_on_this_machine_and_its_password_is_not_shown() -> None:
    http = HttpSettings(host="0.0.0.0", port=8081, username="me", password="x")  # type: ignore[arg-type]
    address = service_address.from_settings(http)
    assert address.url == "http://127.0.0.1:8081"
    assert address.authorization is not None
    assert address.authorization.get_secret_value() == "Basic bWU6eA=="
    assert "bWU6eA" not in repr(address)
    assert service_address.from_settings(HttpSettings(host="::")).url == "http://[::1]:8080"
