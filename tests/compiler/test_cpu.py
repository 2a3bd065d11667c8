"""CPU levels."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stream_lstm.compiler import COMPILING, LEVELS, level
from stream_lstm.compiler.cpu import GENERIC

V2, V3 = set(LEVELS["x86-64-v2"]), set(LEVELS["x86-64-v3"])


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [
        ("x86_64", V2 | V3, "x86-64-v3"),
        ("x86_64", V2 | V3 | {"avx512f"}, "x86-64-v3"),
        ("AMD64", V2 | V3 - {"movbe"}, "x86-64-v2"),
        ("x86_64", V2, "x86-64-v2"),
        ("x86_64", V3, GENERIC),
        ("x86_64", set(), GENERIC),
        ("aarch64", V2 | V3, GENERIC),
    ],
)
def test_the_highest_level_whose_features_are_all_there(
    machine: str, features: set[str], expected: str
) -> None:
    known = dict.fromkeys(V2 | V3, False)
    assert level(machine, known | dict.fromkeys(features, True)) == expected


def test_a_feature_that_is_not_listed_is_not_there() -> None:
    assert level("x86_64", {}) == GENERIC


def test_this_machine_has_a_level() -> None:
    assert level() in {*LEVELS, GENERIC}


@pytest.mark.skipif(not COMPILING, reason="needs the compiler")
@pytest.mark.skipif(level() != "x86-64-v3", reason="this CPU has no wider registers to leave alone")
def test_code_for_a_level_uses_no_more_than_that_level_has() -> None:
    code = """
import numpy as np
from stream_lstm.compiler import compiled

@compiled
def double(x):
    for n in range(len(x)):
        x[n] = x[n] + x[n]

double(np.ones(64))
print(*double.dispatcher.inspect_asm().values())
"""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("NUMBA_CPU")}
    wide = {}
    for name in ("x86-64-v2", None):
        chosen = {"NUMBA_CPU_NAME": name} if name else {}
        command = [sys.executable, "-c", code]
        text = subprocess.run(
            command, env=environment | chosen, check=True, capture_output=True, text=True
        ).stdout
        wide[name] = "%ymm" in text
    assert wide == {"x86-64-v2": False, None: True}
