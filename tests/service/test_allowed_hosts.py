"""What listens for this machine alone answers to names of ours, not to whatever resolves to it."""

from __future__ import annotations

import pytest

from stream_lstm.service.allowed_hosts import AllowedHosts, is_loopback
from stream_lstm.service.settings.sections import HttpSettings


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
def test_addresses_localhost_and_names_that_are_set_are_known(header: str | None) -> None:
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
def test_others_are_not(header: str) -> None:
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
def test_what_only_this_machine_reaches_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("settings", "matter"),
    [
        ({}, True),
        ({"token": "t"}, False),  # a browser sends no token of ours to another's name
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "names": ["plant.example"]}, True),
        ({"host": "0.0.0.0", "names": ["plant.example"], "username": "u", "password": "p"}, False),
    ],
)
def test_names_matter_where_nobody_is_asked_who_they_are(settings: dict[str, object], matter: bool) -> None:
    assert HttpSettings(**settings).names_matter == matter  # type: ignore[arg-type]
