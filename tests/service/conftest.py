"""Fixtures for tests of the running service."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.service.end_to_end import SETTINGS, UNLIMITED
from tests.service.running import Running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(place)], capture_output=True
        ).returncode
    ):
        pytest.skip("a file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto(*UNLIMITED)


@pytest.fixture
def service(broker: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        yield running
