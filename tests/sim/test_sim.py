"""Simulated worlds: some hundreds here, thousands by `make sim`; proof that the simulator notices faults.

`make mutants` proves it of every safeguard; here of a few.
"""

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

from tests.mutants.__main__ import Misfit, chosen, mutated, tried
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import SIM, Change, Mutant
from tests.sim.process import ProcessWorld
from tests.sim.world import FAST, World

ROOT = Path(__file__).resolve().parents[2]
SEEDS, SEEDS_WHOLE = 300, 60
SEEDS_TO_NOTICE, SECONDS_TO_NOTICE = 300, 300.0
NOTICED = ("synchronous NORMAL", "acknowledge ahead of commit", "dedup off", "clean without the ping")


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
    for fault in (
        "clean stop",
        "stop that is not clean",
        "cut within a write",
        "broker restart",
        "power cut",
    ):
        assert f"× {fault}" in result.stdout


@pytest.mark.parametrize("name", NOTICED)
def test_a_removed_safeguard_is_noticed(name: str) -> None:
    (mutant,) = (mutant for mutant in chosen([name]) if mutant.name == name)
    caught, how = tried(mutant, seeds=SEEDS_TO_NOTICE, limit_seconds=SECONDS_TO_NOTICE)
    assert caught, how
    assert "seed " in how


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_sources(mutant: Mutant) -> None:
    assert mutated(mutant)


def test_a_mutant_that_does_not_fit_is_an_error() -> None:
    for old in ("no such text", "return"):
        with pytest.raises(Misfit, match="times, not once"):
            mutated(Mutant("one", "", SIM, (Change("store/journal.py", old, ""),)))


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


def test_a_seed_determines_the_course_of_the_whole_process(tmp_path: Path) -> None:
    first, second = ProcessWorld(9, tmp_path), ProcessWorld(9, tmp_path)
    assert first.run() == second.run()
    assert first.draw.random() == second.draw.random()
    assert first.sent == second.sent
    assert first.sent
