"""Programs to compare: each subscribes to sensors/+/telemetry and publishes to predictions/…"""
