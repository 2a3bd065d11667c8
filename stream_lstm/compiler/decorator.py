"""The decorator of every compiled function, with the options that keep its bits the same on every machine.

No fast-math: LLVM then neither contracts a*b+c to one operation nor changes the order of a sum. Divisions are
IEEE 754's and raise nothing. Array bounds are not checked: the caller of a compiled loop checks rows and
lengths once a batch. The interpreter's lock is released.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from stream_lstm.compiler.cache import MachineCodeCache

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call, for the types of its arguments.

    With `NUMBA_DISABLE_JIT=1` the function stays as it is, for debuggers and coverage.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    dispatcher = numba.njit(nogil=True, error_model="numpy", fastmath=False)(function)
    # What numba's `Dispatcher.enable_caching` does.
    dispatcher._cache = MachineCodeCache(function)  # type: ignore[attr-defined]
    return cast(Function, dispatcher)
