"""A mutant: changes in the sources, and the test that must notice them."""

from __future__ import annotations

from typing import NamedTuple

SIM, WHOLE = "sim", "whole"  # the simulator's worlds: of the pipeline, of the whole process


class Change(NamedTuple):
    """A replacement in one file of the package."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A safeguard removed.

    Attributes:
        meaning: what the mutant does.
        catcher: `SIM`, `WHOLE`, or tests in pytest's notation.
    """

    name: str
    meaning: str
    catcher: str
    changes: tuple[Change, ...]
