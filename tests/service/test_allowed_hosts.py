"""Allowed values of the header `Host`: addresses, localhost and configured names."""

from __future__ import annotations

import pytest

from stream_lstm.service.allowed_hosts import AllowedHosts, is_loopback


@pytest.mark.parametrize(
    "header",
    [
        None,
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "live.localhost:80",
        "127.0.0.1",
        "127.0.0.1:8080",
        "192.168.1.20:8080",
        "[::1]",
        "[::1]:8080",
        "plant.example",
        "Plant.Example.:443",
    ],
)
def test_addresses_localhost_and_configured_names_are_allowed(header: str | None) -> None:
    assert AllowedHosts(["plant.example"]).allows(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":8080",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "evillocalhost",
        "plant.example.evil",
        "127.0.0.1.evil.example",
        "127.0.0.1:8080@evil.example",
        "2130706433",
        "evil.example, localhost",
        "local host",
        "localhost:80:80",
        "[::1",
        "[evil.example]",
        "\u212aelvin",
    ],
)
def test_other_names_and_malformed_headers_are_not_allowed(header: str) -> None:
    assert not AllowedHosts(["plant.example", "kelvin"]).allows(header)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.20", False),
        ("plant.example", False),
        ("", False),
    ],
)
def test_loopback_addresses_and_localhost_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
