"""What is held side by side: each a process that reads sensors/+/telemetry and publishes predictions/…"""
