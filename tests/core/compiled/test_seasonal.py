"""Quantization of the day of the compiled seasonal expert."""

from __future__ import annotations

import math

import pytest

from stream_lstm.core.compiled import seasonal


@pytest.mark.parametrize(
    ("steps", "slot"),
    [
        (0.0, 1),
        (0.4, 1),
        (125.6, 127),
        (126.4, 127),
        (126.6, 0),
        (128.0, 0),
        (-0.6, -1),
        (-127.0, -127),
        (-127.1, 0),
        (math.nan, 0),
        (math.inf, 0),
    ],
)
def test_a_slot_holds_steps_within_its_byte_and_nothing_else(steps: float, slot: int) -> None:
    for quantized in (seasonal._quantized, getattr(seasonal._quantized, "py_func", seasonal._quantized)):
        assert quantized(steps) == slot
