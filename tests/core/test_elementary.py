"""Elementary functions beside references of more bits, and beside themselves uncompiled."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.compiler import COMPILING, compiled
from stream_lstm.core import elementary

RNG = np.random.default_rng(16)
COUNT = 200_000 if COMPILING else 2_000
# What IEEE 754 rounds exactly may be any library's: there is one right result.
EXACT = re.compile(r"llvm\.(fabs|rint|floor|ceil|sqrt|minnum|maxnum)\.")

needs_more_bits = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="no reference with more bits than float64"
)


@compiled
def each(function: Callable[[float], float], x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for n in range(len(x)):
        out[n] = function(x[n])


def of(function: Callable[[float], float], x: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.empty(len(x))
    each(function, x, out)
    return out


def powers(low: float, high: float) -> NDArray[np.float64]:
    return np.exp2(RNG.uniform(low, high, COUNT))


@needs_more_bits
@pytest.mark.parametrize(
    ("function", "reference", "x", "ulps_max"),
    [
        (elementary.exp, np.exp, RNG.uniform(-700.0, 700.0, COUNT), 1.0),
        (elementary.exp, np.exp, RNG.uniform(-5.0, 5.0, COUNT), 1.0),
        (elementary.log, np.log, powers(-1_000.0, 1_000.0), 1.0),
        (elementary.log, np.log, RNG.uniform(0.5, 2.0, COUNT), 1.0),
        (elementary.log1p, np.log1p, powers(-60.0, 60.0), 2.0),
        (elementary.log2, np.log2, RNG.uniform(1.0, 1e6, COUNT), 2.0),
        (elementary.log10, np.log10, powers(-10.0, 20.0), 2.0),
    ],
)
def test_within_ulps_of_a_reference_with_more_bits(
    function: Callable[[float], float],
    reference: Callable[[NDArray[np.longdouble]], NDArray[np.longdouble]],
    x: NDArray[np.float64],
    ulps_max: float,
) -> None:
    true = reference(x.astype(np.longdouble))
    ulp = np.spacing(np.abs(true).astype(np.float64))
    assert np.max(np.abs(of(function, x) - true) / ulp) <= ulps_max


@needs_more_bits
def test_sine_and_cosine_are_within_two_ulps_of_one() -> None:
    turns = RNG.uniform(0.0, 1.0, 5_000)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    angles = turns.astype(np.longdouble) * 2 * pi
    found = np.array([elementary.sine_and_cosine(t) for t in turns])
    true = np.array([np.sin(angles), np.cos(angles)]).T
    assert np.max(np.abs(found - true)) <= 2.0 * np.spacing(1.0)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(0.0, (0.0, 1.0)), (0.25, (1.0, 0.0)), (0.5, (0.0, -1.0)), (0.75, (-1.0, 0.0)), (1.0, (0.0, 1.0))],
)
def test_the_quarters_of_a_turn_are_exact(turns: float, expected: tuple[float, float]) -> None:
    assert elementary.sine_and_cosine(turns) == expected


@compiled
def each_tanh(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for n in range(len(x)):
        out[n] = elementary.tanh(x[n])


@compiled
def each_sigmoid(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for n in range(len(x)):
        out[n] = elementary.sigmoid(x[n])


def test_tanh_is_within_its_limit_and_bounded() -> None:
    x = np.linspace(-12.0, 12.0, COUNT).astype(np.float32)
    out = np.empty_like(x)
    each_tanh(x, out)
    assert np.max(np.abs(out - np.tanh(x.astype(np.float64)))) <= 4e-7
    assert np.max(np.abs(out)) <= 1.0
    assert np.array_equal(out, -out[::-1])


@pytest.mark.parametrize(
    ("x", "expected"), [(0.0, 1.0), (710.0, math.inf), (math.inf, math.inf), (-746.0, 0.0), (-math.inf, 0.0)]
)
def test_exp_at_its_ends(x: float, expected: float) -> None:
    assert elementary.exp(x) == expected


def test_exp_of_the_smallest_results_is_subnormal() -> None:
    assert elementary.exp(-745.0) == pytest.approx(math.exp(-745.0), rel=0.1)
    assert elementary.exp(-720.0) == pytest.approx(math.exp(-720.0), rel=1e-9)


def test_log2_of_powers_of_two_is_exact() -> None:
    exponents = np.arange(-1_000, 1_000).astype(np.float64)
    assert np.array_equal(of(elementary.log2, np.exp2(exponents)), exponents)


def test_log1p_of_what_one_cannot_hold_is_the_number_itself() -> None:
    assert elementary.log1p(1e-300) == 1e-300
    assert elementary.log1p(0.0) == 0.0


def test_sigmoid_at_its_ends_and_middle() -> None:
    assert elementary.sigmoid(np.float32(-1e30)) == 0.0
    assert elementary.sigmoid(np.float32(0.0)) == 0.5
    assert elementary.sigmoid(np.float32(1e30)) == 1.0


def test_constants_are_what_they_are_named_after() -> None:
    assert math.log(2.0) == elementary.LN2_HIGH + elementary.LN2_LOW
    assert pytest.approx(1.0 / math.log(2.0), rel=2e-16) == elementary.INVERSE_LN2
    assert pytest.approx(1.0 / math.log(10.0), rel=2e-16) == elementary.INVERSE_LN10
    assert math.tau == elementary.TAU


def bits() -> bytes:
    """Results of every function on the same numbers."""
    rng = np.random.default_rng(1)
    positive, signed = np.exp2(rng.uniform(-60.0, 40.0, 300)), rng.uniform(-800.0, 800.0, 300)
    out = [of(f, positive) for f in (elementary.log, elementary.log1p, elementary.log2, elementary.log10)]
    out.append(of(elementary.exp, signed))
    out.append(np.array([elementary.sine_and_cosine(turns) for turns in rng.uniform(0.0, 1.0, 300)]).ravel())
    narrow, found = rng.uniform(-10.0, 10.0, 300).astype(np.float32), np.empty((2, 300), np.float32)
    each_tanh(narrow, found[0])
    each_sigmoid(narrow, found[1])
    return np.concatenate(out).tobytes() + found.tobytes()


@pytest.mark.parametrize("environment", [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_OPT": "0"}])
def test_the_same_bits_uncompiled_and_at_any_optimization(environment: dict[str, str]) -> None:
    code = "import sys; from tests.core import test_elementary as t; sys.stdout.buffer.write(t.bits())"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    assert done.stdout == bits()


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.skipif(not COMPILING, reason="needs the compiler")
def test_no_level_calls_a_c_library_or_contracts(level: str) -> None:
    """What LLVM makes for a level is read, not run, so that this CPU need not have it."""
    code = "from tests.core import test_elementary as t; t.print_llvm()"
    environment = os.environ | {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", code]
    text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    called = set(re.findall(r"call [^@\n]*(?:float|double)[^@\n]* @\"?([\w.]+)", text))
    assert {name for name in called if not name.startswith("_ZN") and not EXACT.match(name)} <= {
        "PyFloat_AsDouble",
        "PyFloat_FromDouble",
    }
    assert "fmul" in text
    assert not re.search(r"fmuladd|llvm\.fma|f(?:add|mul|sub|div) (?:fast|reassoc|contract)", text)
    assert not re.search(r"\bvfn?m(?:add|sub)", text)


def print_llvm() -> None:
    """Print what LLVM makes of every function, as its own language and as assembly."""
    float64, float32 = numba.float64, numba.float32
    for name in ("exp", "log", "log1p", "log2", "log10", "sine_and_cosine", "tanh", "sigmoid"):
        fresh = numba.njit(error_model="numpy", nogil=True)(getattr(elementary, name).function)
        fresh.compile((float32 if name in ("tanh", "sigmoid") else float64,))
        print(*fresh.inspect_llvm().values(), *fresh.inspect_asm().values(), sep="\n")
