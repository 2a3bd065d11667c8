"""The pure core: events in, predictions out, and each stream's memory between them.

It has no clock, files, network, randomness, logging or asyncio; what it needs of them comes as arguments.
"""
