"""LSTM predictions for MQTT sensor streams, one memory per stream; every event counts exactly once.

Start reading at `stream_lstm.core.model.cell` (the four gates), then
`stream_lstm.core.engine.Engine.apply`, the only call that changes a memory.
"""

__version__ = "0.1.0"
