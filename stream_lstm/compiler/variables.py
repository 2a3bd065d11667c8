"""Environment variables of numba's that this package honours; numba reads them when it is imported."""

from __future__ import annotations

import os

DISABLE = "NUMBA_DISABLE_JIT"  # leaves all functions as they are
LEVEL = "NUMBA_CPU_NAME"  # a CPU level, or a CPU, other than this CPU's highest level
FOLDER = "NUMBA_CACHE_DIR"  # where machine code is kept

COMPILING = os.environ.get(DISABLE, "0") in ("", "0")
