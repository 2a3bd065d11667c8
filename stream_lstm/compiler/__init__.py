"""Compilation of the core's functions to machine code with numba: the decorator, its cache, the CPU level."""

from stream_lstm.compiler.cpu import GENERIC, LEVELS, level
from stream_lstm.compiler.decorator import compiled, compiled_unlocked
from stream_lstm.compiler.variables import COMPILING

__all__ = ["COMPILING", "GENERIC", "LEVELS", "compiled", "compiled_unlocked", "level"]
