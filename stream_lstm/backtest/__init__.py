"""Recorded streams through the engine of the service, held against what simpler methods make of them."""
