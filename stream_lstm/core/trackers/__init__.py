"""Trackers: statistics of each stream that every event updates.

A tracker module has its constants, its state (a `Record`, whose fields have their unit and limits, and say if
a freeze keeps them), and `update(state, event, …)`, which changes one stream's state by one more event.
"""
