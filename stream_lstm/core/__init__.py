"""The pure room: events in, predictions out, memory between them.

No clock, files, network, randomness, logging or asyncio in here; what is needed of them comes as arguments.
"""
