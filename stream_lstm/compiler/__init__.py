"""Compilation of the core's functions to machine code with numba: the decorator, its cache, the CPU level."""

from stream_lstm.compiler.cpu import GENERIC, LEVELS, level
from stream_lstm.compiler.decorator import compiled, compiled_unlocked, is_compiled

__all__ = ["GENERIC", "LEVELS", "compiled", "compiled_unlocked", "is_compiled", "level"]
