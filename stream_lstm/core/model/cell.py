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
without peepholes. They are `torch.nn.LSTM`'s, whose weights fit after a transposition (see `file`).

Letters: T tiles, R rows in a tile (one row per stream), F numbers in an event, H units. A stream's bits must
not depend on the other streams of its batch, but the last bits of a matrix product depend on its number of
rows. So rows come in tiles of a fixed size, `TILE_ROWS`, and each tile is one product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# The most rows that every known BLAS kernel computes alike: with AVX2, sixteen rows fall into three classes.
TILE_ROWS = 8
HALF = np.float32(0.5)


class Memory(NamedTuple):
    """Long-term and short-term memory of the streams of some tiles, (T, R, H) each."""

    ltm: Floats
    stm: Floats


class Weights(NamedTuple):
    """Weights of one layer; the first axis is the gate: ignore, keep, news, show (torch's i, f, g, o)."""

    event: Floats  # (4, 1, F, H)
    stm: Floats  # (4, 1, H, H)
    bias: Floats  # (4, 1, 1, H)


def forget(ltm: Floats, keep: Floats) -> Floats:
    """The forget gate: how much of each unit of the LTM is kept (1 keeps all)."""
    return ltm * sigmoid(keep)


def learn(news: Floats, ignore: Floats) -> Floats:
    """The learn gate: the news in STM and event, and how much of it counts (0 ignores it)."""
    return np.tanh(news) * sigmoid(ignore)


def remember(kept: Floats, learnt: Floats) -> Floats:
    """The remember gate: what was kept plus what was learnt is the new LTM."""
    return kept + learnt


def use(ltm: Floats, show: Floats) -> Floats:
    """The use gate: how much of each unit of the new LTM is shown; that is the new STM."""
    return np.tanh(ltm) * sigmoid(show)


def preactivations(memory: Memory, event: Floats, weights: Weights) -> Floats:
    """The gates' inputs before their activation, (4, T, R, H): ignore, keep, news, show."""
    sums = event @ weights.event
    sums += memory.stm @ weights.stm
    sums += weights.bias
    return sums


def step(memory: Memory, event: Floats, weights: Weights) -> Memory:
    """Push one event of each stream, (T, R, F), through the four gates; returns the new memory."""
    ignore, keep, news, show = preactivations(memory, event, weights)
    ltm = remember(forget(memory.ltm, keep), learn(news, ignore))
    return Memory(ltm, use(ltm, show))


def sigmoid(x: Floats) -> Floats:
    """The logistic function, by way of tanh, which cannot overflow."""
    out = x * HALF
    np.tanh(out, out=out)
    out *= HALF
    out += HALF
    return out
