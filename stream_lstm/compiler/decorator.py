"""The decorator of every compiled function, with the options that keep its bits the same on every machine.

No fast-math: LLVM then neither contracts a*b+c to one operation nor changes the order of a sum. Divisions are
IEEE 754's and raise nothing. Array bounds are not checked: the caller of a compiled loop checks rows and
lengths once a batch.

numba is imported when a function is first called: commands that call none start without it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from stream_lstm.compiler.cpu import use_level
from stream_lstm.compiler.variables import COMPILING

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call, for the types of its arguments.

    With `NUMBA_DISABLE_JIT=1` the function stays as it is, for debuggers and coverage.
    """
    return cast(Function, CompiledFunction(function)) if COMPILING else function


def compiled_unlocked(function: Function) -> Function:
    """The same; and when it is called from Python, the interpreter's lock is released meanwhile.

    For loops that take long: to have the lock again costs more than a short call.
    """
    made = compiled(function)
    if isinstance(made, CompiledFunction):
        made.unlocked = True
    return made


class CompiledFunction:
    """A function that numba compiles.

    Compiled functions call each other under their names: numba finds the dispatcher as `_numba_type_`, the
    attribute that it asks objects of other packages for.

    Attributes:
        function: as it was written.
        unlocked: True releases the interpreter's lock during a call from Python.
    """

    unlocked = False

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """Call it, compiled for the types of these arguments."""
        return self.dispatcher(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """numba's object that chooses the machine code by the types of the arguments."""
        import numba

        from stream_lstm.compiler.cache import MachineCodeCache

        _set_up()
        dispatcher = numba.njit(nogil=self.unlocked, error_model="numpy", fastmath=False)(self.function)
        # As numba's `Dispatcher.enable_caching` does it.
        dispatcher._cache = MachineCodeCache(self.function)  # type: ignore[attr-defined]
        return dispatcher

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_


@functools.cache
def _set_up() -> None:
    """Prepare numba, before the first function is compiled."""
    use_level()
    _use_lasting_symbols()


def _use_lasting_symbols() -> None:
    """Let the symbols of functions that take records be the same in every process.

    numba uses a number that counts the types of a process. Functions from the cache would have the numbers of
    another process: the linker takes one for the same function with other records, and memory is overwritten.
    """
    from numba.core import types

    def parts(record: types.Record) -> tuple[str, tuple[str]]:
        return "Record", (hashlib.sha256(record.name.encode()).hexdigest()[:16],)

    types.Record.mangling_args = property(parts)  # type: ignore[method-assign,assignment]
