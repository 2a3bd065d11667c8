"""Benchmarks: each prints its measurements, comparisons from one run side by side, and asserts nothing."""

import os

# Before anything imports numpy: one BLAS thread, as in the service.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
