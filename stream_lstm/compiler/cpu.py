"""CPU levels: machine code is compiled for a level of the architecture, not for the very CPU of this machine.

An image is built on one machine and runs on others. Machine code for a whole level fits every CPU of that
level, so that the cache in the image is found again. The levels of x86-64 are those of the System V psABI
(https://gitlab.com/x86-psABIs/x86-64-ABI, section 3.1.1, "Processor Architecture").
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

GENERIC = "generic"  # of any architecture: what all of its CPUs have
# What each level needs beyond the one below, by LLVM's names of the features; the highest level first.
LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64-v3": ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "x86-64-v2": ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"),
}


def level(machine: str | None = None, features: Mapping[str, bool] | None = None) -> str:
    """The highest level of a CPU.

    Args:
        machine: architecture, as `platform.machine` names it; this machine's if none is given.
        features: True for those that the CPU has, by LLVM's names; likewise.
    """
    machine = machine or platform.machine()
    if machine not in ("x86_64", "AMD64"):
        return GENERIC
    features = _host_features() if features is None else features
    highest = GENERIC
    for name, needed in reversed(LEVELS.items()):
        if not all(features.get(feature, False) for feature in needed):
            break
        highest = name
    return highest


def _host_features() -> Mapping[str, bool]:
    import llvmlite.binding as llvm

    features: Mapping[str, bool] = llvm.get_host_cpu_features()
    return features


def use_level() -> str:
    """Compile for this CPU's highest level from now on; returns its name.

    The variable `NUMBA_CPU_NAME` names another one. Code for more than the CPU has ends the
    process with an illegal instruction.
    """
    import numba

    chosen: str | None = numba.config.CPU_NAME  # type: ignore[attr-defined]
    if chosen is None:
        # With a name alone, numba would still take the features of this very CPU.
        chosen = level()
        numba.config.CPU_NAME, numba.config.CPU_FEATURES = chosen, ""  # type: ignore[attr-defined]
    elif chosen in {*LEVELS, GENERIC}:
        numba.config.CPU_FEATURES = ""  # type: ignore[attr-defined]
    return chosen
