"""Mutants: the safeguards of "each event exactly once", removed in turn, and the tests that must notice."""
