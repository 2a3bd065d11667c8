"""State on disk: a journal of committed batches and a checkpoint of the streams' records.

It holds bytes, arrays and keys; it knows nothing of LSTMs, MQTT or asyncio.
"""
