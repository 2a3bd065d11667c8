"""The demo's sensors: recordings that the package ships."""

from __future__ import annotations

from importlib import resources

from stream_lstm.recordings import Recording, read


def shipped() -> list[Recording]:
    """Read the shipped recordings, sorted by name."""
    folder = resources.files("stream_lstm.demo.recordings")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".csv")), key=lambda f: f.name)
    recordings = []
    for file in files:
        with resources.as_file(file) as path:
            recordings.append(read(path))
    return recordings
