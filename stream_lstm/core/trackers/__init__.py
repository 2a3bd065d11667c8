"""Statistics of each stream, updated by every event: scale, experts, accuracy, interval, anomaly."""
