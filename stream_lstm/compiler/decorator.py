"""The decorator of every compiled function, with the options that keep its bits the same on every machine.

No fast-math: LLVM then neither contracts a*b+c to one operation nor changes the order of a sum. Divisions are
IEEE 754's and raise nothing. Array bounds are not checked: the caller of a compiled loop checks rows and
lengths once a batch. The interpreter's lock is released.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import types

from stream_lstm.compiler.cache import MachineCodeCache

Function = TypeVar("Function", bound=Callable[..., Any])


def _symbol_parts(record: types.Record) -> tuple[str, tuple[str]]:
    """Parts of the symbols of functions that take a record, the same in every process.

    numba uses a number that counts the types of a process. Functions from the cache would have the numbers of
    another process: the linker takes one for the same function with other records, and memory is overwritten.
    """
    return "Record", (hashlib.sha256(record.name.encode()).hexdigest()[:16],)


types.Record.mangling_args = property(_symbol_parts)  # type: ignore[method-assign,assignment]


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


def is_compiled(function: Callable[..., Any]) -> bool:
    """False if a function with the decorator stays as it is."""
    return hasattr(function, "py_func")
