"""The service's settings in measurements: defaults, fsync on, but for what a measurement is about."""

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
[limits]
streams_max = 1000000
new_streams_per_second = 1000000
[http]
port = {http}
[log]
level = "warning"
"""


def written(folder: Path, *, port: int, qos: int, http: int) -> Path:
    """A settings file for a broker's port and the service's own."""
    path = folder / "settings.toml"
    path.write_text(TEXT.format(folder=folder, port=port, qos=qos, http=http))
    return path
