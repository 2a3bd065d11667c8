"""Recordings to train on, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_recordings(folder: Path, names: str) -> None:
    """One file of 200 readings for each letter."""
    for name in names:
        rows = "\n".join(f"{n * 60},{np.sin(n / 5) + n % 3}" for n in range(200))
        (folder / f"{name}.csv").write_text("timestamp,value\n" + rows)
