"""The decorator of compiled functions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from stream_lstm.compiler import COMPILING, compiled, compiled_unlocked


@compiled
def divided(a: float, b: float) -> float:
    """A division."""
    return a / b


@compiled_unlocked
def counted(until: int) -> int:
    n = 0
    while n < until:
        n += 1 + (n & 0)
    return n


def test_a_function_keeps_its_name_and_docstring() -> None:
    assert divided.__name__ == "divided"
    assert divided.__doc__ == "A division."


@pytest.mark.skipif(not COMPILING, reason="Python raises")
def test_a_division_by_zero_is_infinite_and_raises_nothing() -> None:
    assert divided(1.0, 0.0) == float("inf")


@pytest.mark.skipif(not COMPILING, reason="needs the compiler")
def test_options_that_keep_the_bits() -> None:
    options = divided.dispatcher.targetoptions  # type: ignore[attr-defined]
    assert options["fastmath"] is False
    assert options["nogil"] is False
    assert compiled_unlocked(counted.function).dispatcher.targetoptions["nogil"] is True  # type: ignore[attr-defined]
    assert options["error_model"] == "numpy"


def test_compiled_code_runs_beside_other_threads() -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(counted(1_000))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1_000, 1_000]


def test_with_the_compiler_off_a_function_stays_as_it_is() -> None:
    code = (
        "import types; from stream_lstm.core import elementary as e; "
        "assert isinstance(e.exp, types.FunctionType)"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
