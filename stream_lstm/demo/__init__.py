"""Demo: a broker, the service and recorded sensors, started and removed together."""
