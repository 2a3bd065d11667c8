"""Some hundreds of simulated worlds, and proof that the simulator would notice; `make sim` runs thousands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.world import World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 300
SEEDS_TO_NOTICE = 1_000


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.sim", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_every_world_ends_as_it_must() -> None:
    result = simulate("--seeds", str(SEEDS))
    assert result.returncode == 0, result.stdout + result.stderr
    for fault in ("power cut", "torn write", "death within a commit", "redelivered", "return from disk"):
        assert fault in result.stdout


@pytest.mark.parametrize("safeguard", ["recognition", "waiting", "fsync"])
def test_a_safeguard_that_is_taken_out_is_missed(safeguard: str) -> None:
    result = simulate("--seeds", str(SEEDS_TO_NOTICE), "--without", safeguard)
    assert result.returncode == 1
    assert "seed " in result.stdout


def test_a_seed_is_one_course_of_events() -> None:
    first, second = World(9), World(9)
    assert first.run() == second.run()
    assert first.broker.heard == second.broker.heard
    assert first.broker.heard
