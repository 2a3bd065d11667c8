"""The cell's equations, against a plain float64 version of them, and the same bits in every tile."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.model import cell
from stream_lstm.core.model.cell import TILE_ROWS
from tests.core.models import random_model

FEATURES, UNITS = 3, 8


def drawn(rng: np.random.Generator, tiles: int, width: int) -> NDArray[np.float32]:
    return rng.normal(0, 1, (tiles, TILE_ROWS, width)).astype(np.float32)


def weights(inputs: int = FEATURES, units: int = UNITS) -> cell.Weights:
    rng = np.random.default_rng(0)
    shapes = (4, 1, inputs, units), (4, 1, units, units), (4, 1, 1, units)
    return cell.Weights(*(rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes))


def logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


def test_a_step_follows_the_equations() -> None:
    """i, f, g, o = W x + U h + b; c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c')."""
    rng, some = np.random.default_rng(1), weights()
    memory = cell.Memory(drawn(rng, 2, UNITS), np.tanh(drawn(rng, 2, UNITS)))
    event = drawn(rng, 2, FEATURES)
    x, h, c = (part.astype(np.float64) for part in (event, memory.stm, memory.ltm))
    i, f, g, o = (
        x @ some.event[n, 0].astype(np.float64) + h @ some.stm[n, 0].astype(np.float64) + some.bias[n, 0]
        for n in range(4)
    )
    ltm = logistic(f) * c + logistic(i) * np.tanh(g)
    after = cell.step(memory, event, some)
    np.testing.assert_allclose(after.ltm, ltm, atol=1e-6)
    np.testing.assert_allclose(after.stm, logistic(o) * np.tanh(ltm), atol=1e-6)
    assert after.ltm.dtype == after.stm.dtype == np.float32


def test_each_gate_is_open_at_1_and_closed_at_0() -> None:
    opened, closed, ltm = (np.full((1, 1, 1), x, np.float32) for x in (50.0, -50.0, 0.5))
    assert cell.forget(ltm, opened) == ltm
    assert cell.forget(ltm, closed) == pytest.approx(0.0)
    assert cell.learn(opened, opened) == 1.0
    assert cell.learn(opened, closed) == pytest.approx(0.0)
    assert cell.remember(ltm, ltm) == 1.0
    assert cell.use(ltm, opened) == np.tanh(ltm)
    assert cell.use(ltm, closed) == pytest.approx(0.0)


def test_the_sigmoid_cannot_overflow() -> None:
    extremes = np.array([-3e38, -100.0, 0.0, 100.0, 3e38], np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert cell.sigmoid(extremes).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("units", [8, 64, 100])
def test_a_row_has_the_same_bits_in_every_tile_and_place(units: int) -> None:
    """Depends on the processor's kernels: `OPENBLAS_CORETYPE=Haswell` runs it with others."""
    rng, layer = np.random.default_rng(2), random_model(units=units).layers[0]
    width = layer.event.shape[-2]
    memory = cell.Memory(drawn(rng, 3, units), drawn(rng, 3, units))
    event = drawn(rng, 3, width)
    together = cell.step(memory, event, layer)
    order = rng.permutation(3 * TILE_ROWS)

    def moved(columns: cell.Floats) -> cell.Floats:
        return np.ascontiguousarray(columns.reshape(-1, columns.shape[-1])[order]).reshape(columns.shape)

    elsewhere = cell.step(cell.Memory(moved(memory.ltm), moved(memory.stm)), moved(event), layer)
    assert elsewhere.ltm.tobytes() == moved(together.ltm).tobytes()
    assert elsewhere.stm.tobytes() == moved(together.stm).tobytes()
