"""Compilation ahead of use; and the compiled functions beside the engine, uncompiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.compiler import COMPILING
from stream_lstm.core.compilation import compile_ahead
from stream_lstm.core.engine import apply
from stream_lstm.core.model.gates import gate_type
from stream_lstm.events import Batch
from tests.core.models import KINDS, engine, random_model

TESTS = Path(__file__).resolve().parents[1]
# The engine and its trackers run uncompiled in `test_engine_golden`.
UNCOMPILED = (
    "core/views/test_gate_trace.py",
    "core/views/test_summary.py",
    "core/model/test_preparation.py",
    "core/codec/test_encoder.py",
    "service/metrics/test_counters.py",
    "service/state/test_registry.py",
)


@pytest.mark.skipif(not COMPILING, reason="needs the compiler")
@pytest.mark.parametrize("kind", ["pair", "classes"])
def test_after_compiling_ahead_nothing_is_compiled_and_nothing_has_changed(kind: str) -> None:
    running = engine(random_model(**KINDS[kind]), 1)
    compile_ahead(running)
    assert not any(running.memories.states.tobytes())
    compiled = len(apply.dispatcher.signatures)  # type: ignore[attr-defined]
    batch = Batch.timed(np.ones(9, np.intp), np.arange(9) + 1e9, np.ones((9, 2)))
    running.apply(batch)
    running.apply(batch, np.zeros(9, gate_type(running.model.spec)))
    assert compiled == len(apply.dispatcher.signatures)  # type: ignore[attr-defined]


@pytest.mark.skipif(not COMPILING, reason="this process has the compiler off")
def test_the_same_functions_pass_their_tests_uncompiled() -> None:
    command = [sys.executable, "-m", "pytest", *(str(TESTS / name) for name in UNCOMPILED)]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
