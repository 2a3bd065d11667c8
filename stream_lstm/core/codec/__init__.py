"""Payload formats: messages to events, predictions to bytes, topics and timestamps."""
