"""Trackers: statistics of each stream that every event updates.

A tracker module has its constants, its state (a NamedTuple of columns), the declaration of these columns for
the record (`COLUMNS`), and `update(before, event)`, which returns the state after one more event.
"""
