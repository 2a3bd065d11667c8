"""Compilation of the core's functions to machine code with numba: the decorator, its cache, the CPU level."""

from stream_lstm.compiler.cpu import LEVELS, level, use_level
from stream_lstm.compiler.decorator import compiled, is_compiled

__all__ = ["LEVELS", "compiled", "is_compiled", "level", "use_level"]
