"""The LSTM cell, as its picture shows it: LTM, STM and an event go in, a new LTM and a new STM come out.

    LTM ──► forget ──────────► remember ──────┬──────► new LTM
                                  ▲           ▼
    STM ──┬────────► learn ───────┘          use ────► new STM (the prediction is read from it)
    event ┘

All four gates look at STM and event; what each does to the memory is one line below. The equations are
those of Gers, Schmidhuber and Cummins, "Learning to Forget" (Neural Computation 12, 2000), without
peepholes: the same as `torch.nn.LSTM`'s, whose weights fit after a transposition (see `file`).

Letters: T tiles, R rows in a tile (one row a stream), F numbers in an event, H units. A stream's bits must
not depend on which others share its batch, and a matrix product's last bits depend on its number of rows:
so rows come in tiles of a fixed number, `TILE_ROWS`, and each tile is one product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TILE_ROWS = (
    8  # the most that each BLAS kernel we know treats alike: with AVX2, sixteen rows fall into three classes
)


class Memory(NamedTuple):
    """What a tile of streams remembers: for long (T, R, H) and for now (T, R, H)."""

    ltm: Floats
    stm: Floats


class Weights(NamedTuple):
    """One layer's weights; the first axis is the gate's: ignore, keep, news, show (torch's i, f, g, o)."""

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
    """The remember gate: what was kept and what was learnt are the new LTM."""
    return kept + learnt


def use(ltm: Floats, show: Floats) -> Floats:
    """The use gate: what of the new LTM is shown now, which is the new STM."""
    return np.tanh(ltm) * sigmoid(show)


def preactivations(memory: Memory, event: Floats, weights: Weights) -> Floats:
    """What each gate hears of STM and event, (4, T, R, H): ignore, keep, news, show, before their curves."""
    heard = event @ weights.event
    heard += memory.stm @ weights.stm
    heard += weights.bias
    return heard


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


HALF = np.float32(0.5)
