"""The LSTM cell: LTM, STM and an event go in, a new LTM and a new STM come out.

    LTM ──► forget ──────────► remember ──────┬──────► new LTM
                                  ▲           ▼
    STM ──┬────────► learn ───────┘          use ────► new STM (the readout makes the prediction of it)
    event ┘

LTM is the cell state c, STM the hidden state h. The gates by both names, each one line of code below:

    forget gate    f              keep      share of each unit of the LTM that is kept
    learn gate     i × g          ignore    input gate i: how much of the news counts
                                  news      candidate g: the news in STM and event
    remember gate  c' = f·c + i·g           the new LTM
    use gate       o × tanh(c')   show      output gate o: share of the new LTM that is shown, the new STM

The equations are those of Gers, Schmidhuber and Cummins, "Learning to Forget" (Neural Computation 12, 2000),
without peepholes. They are `torch.nn.LSTM`'s, whose weights fit after a transposition.

Letters: I numbers that enter, H units. Sums run over what is summed in its order, side by side for all units:
so LLVM may use vectors of any width, and no bit changes.
"""

from __future__ import annotations

import numpy as np

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import sigmoid, tanh
from stream_lstm.core.record import Floats


@compiled
def forget(ltm: np.float32, keep: np.float32) -> np.float32:
    """The forget gate: how much of a unit of the LTM is kept (1 keeps all)."""
    return ltm * sigmoid(keep)


@compiled
def learn(news: np.float32, ignore: np.float32) -> np.float32:
    """The learn gate: the news in STM and event, and how much of it counts (0 ignores it)."""
    return tanh(news) * sigmoid(ignore)


@compiled
def remember(kept: np.float32, learnt: np.float32) -> np.float32:
    """The remember gate: what was kept plus what was learnt is the new LTM."""
    return kept + learnt


@compiled
def use(ltm: np.float32, show: np.float32) -> np.float32:
    """The use gate: how much of a unit of the new LTM is shown; that is the new STM."""
    return tanh(ltm) * sigmoid(show)


@compiled
def step(ltm: Floats, stm: Floats, entering: Floats, weights: Floats, bias: Floats, sums: Floats) -> None:
    """Push one event of one stream through the four gates of a layer.

    Args:
        ltm, stm: (H,) changed.
        entering: (I,) the event, or the STM of the layer below.
        weights: (I + H, 4H) of what enters, then of the STM; ignore, keep, news, show side by side.
        bias: (4H,) likewise.
        sums: (4H,) room for the gates' inputs.
    """
    preactivations(stm, entering, weights, bias, sums)
    units = len(ltm)
    for n in range(units):
        ignore, keep, news, show = sums[n], sums[units + n], sums[2 * units + n], sums[3 * units + n]
        ltm[n] = remember(forget(ltm[n], keep), learn(news, ignore))
        stm[n] = use(ltm[n], show)


@compiled
def preactivations(stm: Floats, entering: Floats, weights: Floats, bias: Floats, sums: Floats) -> None:
    """Fill `sums` with the gates' inputs before their activation; the arguments of `step`."""
    fill(sums, bias)
    add_products(sums, entering, weights[: len(entering)])
    add_products(sums, stm, weights[len(entering) :])


@compiled
def fill(out: Floats, values: Floats) -> None:
    """out[:] = values, as a loop: numba's assignment brings a message with a logarithm of the C library."""
    for n in range(len(out)):
        out[n] = values[n]


@compiled
def add_products(sums: Floats, x: Floats, weights: Floats) -> None:
    """sums (N,) += x (M,) @ weights (M, N), in the order of x; four at once save passes over the sums."""
    whole = len(x) - len(x) % 4
    for m in range(0, whole, 4):
        x0, x1, x2, x3 = x[m], x[m + 1], x[m + 2], x[m + 3]
        w0, w1, w2, w3 = weights[m], weights[m + 1], weights[m + 2], weights[m + 3]
        for n in range(len(sums)):
            sums[n] = (((sums[n] + x0 * w0[n]) + x1 * w1[n]) + x2 * w2[n]) + x3 * w3[n]
    for m in range(whole, len(x)):
        for n in range(len(sums)):
            sums[n] += x[m] * weights[m, n]
