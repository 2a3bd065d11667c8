"""Simulated worlds: some hundreds here, thousands by `make sim`; proof that the simulator notices faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.sim.world import FAST, World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 300
SEEDS_WHOLE = 100


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory, gone when the test is over."""
    with TemporaryDirectory(prefix="sim-", dir=FAST, ignore_cleanup_errors=True) as place:
        yield Path(place)


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.sim", "--place", str(place), *arguments]


def simulate(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command(place, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert list(place.iterdir()) == []
    return result


def test_every_world_ends_with_the_fold_over_its_events(place: Path) -> None:
    result = simulate(place, "--seeds", str(SEEDS))
    assert result.returncode == 0, result.stdout + result.stderr
    for fault in ("power cut", "torn write", "death within a commit", "redelivered", "return from disk"):
        assert fault in result.stdout


def test_every_world_of_the_whole_process_ends_so_too(place: Path) -> None:
    result = simulate(place, "--whole", "--seeds", str(SEEDS_WHOLE))
    assert result.returncode == 0, result.stdout + result.stderr
    for fault in ("death", "clean stop", "cut within a write", "broker restart", "forgotten acknowledgement"):
        assert fault in result.stdout


def test_the_changes_of_all_mutants_fit_the_sources() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "mutant", ["dedup off", "acknowledge ahead of commit", "synchronous OFF", "clean always"]
)
def test_a_mutant_is_noticed(mutant: str) -> None:
    """Of the safeguards that matter most; all by `make mutants`."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.mutants", mutant], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SURVIVED" not in result.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_no_files(place: Path, number: signal.Signals) -> None:
    with subprocess.Popen(command(place, "--seeds", "20000"), cwd=ROOT, stderr=subprocess.DEVNULL) as running:
        try:
            end = time.monotonic() + 60
            while not any("state.db" in files for *_, files in os.walk(place)):
                assert time.monotonic() < end
                assert running.poll() is None
                time.sleep(0.01)
            running.send_signal(number)
            assert running.wait(60) != 0
        finally:
            running.terminate()
    assert list(place.iterdir()) == []


def test_a_seed_determines_the_course_of_events(tmp_path: Path) -> None:
    first, second = World(9, tmp_path), World(9, tmp_path)
    assert first.run() == second.run()
    assert first.broker.published == second.broker.published
    assert first.broker.published
