"""Settings of the service under measurement: defaults with fsync on, except what a benchmark varies."""

from __future__ import annotations

from pathlib import Path

TEXT = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "sensors/+/telemetry"
qos = {qos}
fields = ["temp"]
time = []
[state]
path = "{folder}/state.db"
commit_interval_seconds = {interval}
[limits]
streams_max = 1000000
new_streams_per_second = 1000000
[http]
port = {http}
[log]
level = "warning"
"""


def write(folder: Path, *, port: int, qos: int, http: int, interval: float = 0.0) -> Path:
    """Write a settings file: the broker's port, the service's for HTTP, least time between commits."""
    path = folder / "settings.toml"
    path.write_text(TEXT.format(folder=folder, port=port, qos=qos, http=http, interval=interval))
    return path
