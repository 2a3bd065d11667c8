"""Mutants: the safeguards of "each event exactly once", each removed in turn, and the test that notices."""
