"""Records for tests that call a single compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.record import Record, argument, layout


def blank(record: type[Record], **sizes: int) -> Any:
    """A record of zeros, as compiled functions take it, or as they do with the compiler off."""
    return given(np.zeros(1, layout(record, **sizes)))


def given(records: NDArray[np.void]) -> Any:
    """The first of these records, likewise."""
    return argument(records)[0]
