"""Measurements: they print figures, side by side from one run, and assert nothing."""

import os

# Before anything imports numpy: one thread, as the service has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
