"""The compiled cell's equations, against float64 and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.model import cell
from stream_lstm.core.record import Floats

F = np.float32


def drawn(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(0.0, 0.5, shape).astype(F)


def logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("units", [1, 3, 8, 64])
@pytest.mark.parametrize("inputs", [1, 4, 9])
def test_a_step_follows_the_equations(inputs: int, units: int) -> None:
    """i, f, g, o = W x + U h + b; c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c')."""
    rng = np.random.default_rng(units)
    weights, bias = drawn(rng, inputs + units, 4 * units), drawn(rng, 4 * units)
    event, ltm, stm = drawn(rng, inputs), drawn(rng, units), drawn(rng, units)
    sums = np.concatenate([event, stm]).astype(np.float64) @ weights + bias
    i, f, g, o = sums.reshape(4, units)
    expected = logistic(f) * ltm + logistic(i) * np.tanh(g)
    cell.step(ltm, stm, event, weights, bias, np.empty(4 * units, F))
    np.testing.assert_allclose(ltm, expected, atol=2e-6)
    np.testing.assert_allclose(stm, logistic(o) * np.tanh(expected), atol=2e-6)


def test_each_gate_is_open_at_1_and_closed_at_0() -> None:
    opened, closed, half = F(50.0), F(-50.0), F(0.5)
    assert cell.forget(half, opened) == half
    assert cell.forget(half, closed) == pytest.approx(0.0, abs=1e-6)
    assert cell.learn(opened, opened) == 1.0
    assert cell.learn(opened, closed) == pytest.approx(0.0, abs=1e-6)
    assert cell.remember(half, half) == 1.0
    assert cell.use(half, opened) == pytest.approx(np.tanh(0.5), abs=1e-6)
    assert cell.use(half, closed) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("count", range(10))
def test_products_are_added_in_the_order_of_what_is_summed(count: int) -> None:
    rng = np.random.default_rng(count)
    sums, x, weights = drawn(rng, 5), drawn(rng, count), drawn(rng, count, 5)
    expected = sums.copy()
    for n in range(count):
        expected = (expected + x[n] * weights[n]).astype(F)
    cell.add_products(sums, x, weights)
    assert sums.tobytes() == expected.tobytes()


@pytest.mark.torch
@pytest.mark.parametrize("units", [8, 64, 256])
def test_steps_of_pytorchs_cell(units: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    inputs, events = 9, 20
    lstm = torch.nn.LSTMCell(inputs, units)
    rng = np.random.default_rng(1)
    ltm, stm = np.zeros(units, F), np.zeros(units, F)
    given = [
        tensor.detach().numpy() for tensor in (lstm.weight_ih, lstm.weight_hh, lstm.bias_ih + lstm.bias_hh)
    ]
    weights = np.ascontiguousarray(np.concatenate([given[0].T, given[1].T]))
    room = np.empty(4 * units, F)
    for _ in range(events):
        event = rng.normal(0.0, 1.0, inputs).astype(F)
        with torch.no_grad():
            before = torch.from_numpy(stm.copy())[None], torch.from_numpy(ltm.copy())[None]
            expected_stm, expected_ltm = lstm(torch.from_numpy(event)[None], before)
        cell.step(ltm, stm, event, weights, given[2], room)
        np.testing.assert_allclose(ltm, expected_ltm[0].numpy(), atol=1e-6)
        np.testing.assert_allclose(stm, expected_stm[0].numpy(), atol=1e-6)
