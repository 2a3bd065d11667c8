"""The pipeline: messages to events, events to predictions, predictions to the broker."""
