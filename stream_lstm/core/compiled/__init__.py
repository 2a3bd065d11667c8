"""The compiled engine: one record a stream, one function an event. The service does not use it yet.

It takes the place of `core.engine`, `core.record`, `core.trackers`, `core.model.cell`, `inputs` and `readout`
when history, gate trace and state files read its records. Until then a test compares both, event by event.
"""
