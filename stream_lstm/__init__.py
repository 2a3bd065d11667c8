"""A memory for every sensor: LSTM predictions over MQTT; what it remembers counts each event once.

Start reading at `stream_lstm.core.model.cell` (the four gates), then
`stream_lstm.core.engine.Engine.apply`, the only call that changes a memory.
"""

__version__ = "0.1.0"
