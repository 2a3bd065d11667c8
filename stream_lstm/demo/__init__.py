"""The demo: recorded sensors, a broker and the service, started together and taken away again."""
