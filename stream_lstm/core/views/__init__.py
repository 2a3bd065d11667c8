"""Read-only views of streams: recent history, gate trace, summary."""
