"""Damage to a file at rest: a flipped bit is found or changes nothing that is read; `make fuzz` flips all."""

from __future__ import annotations

import pytest

from tests.sim.world import FAST
from tests.state_damage import Read, flip_bits, restored, survey

# Of the file's bits: these fall on every part of its structure, and on each bit of a byte.
STATE_BITS, SNAPSHOT_BITS = slice(3, None, 157), slice(5, None, 317)


@pytest.mark.parametrize(("read", "bits"), [(survey, STATE_BITS), (restored, SNAPSHOT_BITS)])
def test_a_flipped_bit_is_found_or_changes_nothing(read: Read, bits: slice) -> None:
    found = flip_bits(read, FAST, bits)
    assert found["StateCorrupt"] > found["same"] > 0  # unused bytes are a part of every file
    assert set(found) <= {"StateCorrupt", "StateMismatch", "DiskFailed", "same"}
