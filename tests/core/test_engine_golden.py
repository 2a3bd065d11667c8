"""The engine's bits: the same on every machine, at every CPU level and uncompiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_lstm.compiler import COMPILING
from tests.core.engine_bits import KINDS, digest

# Bits that must come out on every machine, whatever its CPU and libraries. Another digest means that every
# stream's predictions and records change.
GOLDEN = {
    "step": "1941415dc3746873",
    "pair": "2b04cc81ccf3ce12",
    "far": "d25ef168bccc46a9",
    "stacked": "a49955c6e19ee041",
    "odd size": "7aac6d7426ddb6b1",
    "value": "64262ad5968d05a9",
    "fixed": "4e53a68aad3450f5",
    "classes": "58254b5eb7a25b16",
    "every input": "8c1b72b703ffb43a",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_bits(kind: str) -> None:
    assert digest(kind) == GOLDEN[kind]


@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_DISABLE_JIT": "1"}, *({"NUMBA_CPU_NAME": name} for name in ("generic", "x86-64-v2"))],
    ids=["uncompiled", "generic", "v2"],
)
def test_the_golden_bits_uncompiled_and_at_other_levels(environment: dict[str, str]) -> None:
    kinds = ["pair"] if "NUMBA_CPU_NAME" in environment else list(KINDS)  # others would compile for long
    calls = f"print(*map(t.digest, {kinds!r})); t.refused([99])"
    code = f"from tests.core import engine_bits as t; {calls}"
    command = [sys.executable, "-W", "error", "-c", code]
    variables = os.environ | {"NUMBA_CPU_FEATURES": ""} | environment
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [GOLDEN[kind] for kind in kinds]


@pytest.mark.skipif(not COMPILING, reason="needs the compiler")
def test_models_of_other_sizes_from_the_cache_of_another_process_are_not_mistaken(
    tmp_path: Path,
) -> None:
    """In both processes the first model is the first that numba sees, and the second comes from the cache."""
    for kinds in (["pair"], ["step", "pair"]):
        code = f"from tests.core import engine_bits as t; print(*map(t.digest, {kinds!r}))"
        variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == [GOLDEN[kind] for kind in kinds]
