"""Behaviour that a change of structure must keep, as one digest a subject.

    python -m tests.pinned            compare with tests/pinned.json
    python -m tests.pinned --write    record anew; the commit says why

Subjects: what every kind of model predicts and remembers, the demo's recordings through the default model,
simulated worlds (publications, records, journal), the help of each command, OpenAPI, metric names, settings.

The engine's bits are the same on every machine. A world's course depends on the versions of Python and of
SQLite, by which its digests are recorded; a machine with other versions does not
compare the worlds, and says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from stream_lstm.events import Batch
from stream_lstm.service.http.openapi import document
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import page, registry
from stream_lstm.service.settings import Settings
from tests.core.engine_bits import bits
from tests.core.models import KINDS, engine, random_model
from tests.service.metrics.test_exporter import PRESENT
from tests.sim.world import FAST, World

PLACE = Path(__file__).with_suffix(".json")
SEEDS = (3, 9, 17, 24, 58, 131)
COMMANDS = (
    *("", "run", "demo", "check", "replay", "backtest", "watch", "inspect", "snapshot", "restore"),
    *("convert", "train", "compile", "bench", "healthcheck", "completion"),
)
FROZEN, UNCERTAIN, ARRIVAL = 0x10, 2, 1  # as they stand in the journal


def digest(*parts: bytes) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little") + part)
    return made.hexdigest()[:24]


def versions() -> str:
    """The versions that decide the course of a simulated world."""
    return f"python {sys.version_info[0]}.{sys.version_info[1]}, sqlite {sqlite3.sqlite_version}"


def models(kind: str) -> str:
    """Predictions and records of one kind of model, over frozen, uncertain, late and repeated events."""
    made = random_model(**KINDS[kind])
    running, rng = engine(made, 5), np.random.default_rng(1)
    count, wide = 900, len(made.spec.features)
    rows = rng.integers(1, 6, count)
    times = 1.7e9 + np.cumsum(rng.exponential(300.0, count)) - (rng.random(count) < 0.05) * 3_000.0
    values = np.round(rng.normal(20, 3, (count, wide)), 2) + (rng.random((count, wide)) < 0.01) * 500.0
    marks = np.where(rng.random(count) < 0.1, UNCERTAIN, np.where(rng.random(count) < 0.3, ARRIVAL, 0))
    marks = (marks + FROZEN * ((rows == 2) & (np.arange(count) > 500))).astype(np.uint8)
    parts = []
    for start in range(0, count, 90):
        some = slice(start, start + 90)
        predictions = running.apply(Batch(rows[some], times[some], marks[some], values[some]))
        parts.append(bits(predictions.records))
    return digest(*parts, bits(running.memories.states[1:6]))


def replayed() -> str:
    """The recordings of the demo through the default model, as bytes on standard output."""
    folder = resources.files("stream_lstm.demo.recordings")
    with tempfile.TemporaryDirectory() as place:
        files = sorted(
            (file for file in folder.iterdir() if file.name.endswith(".csv")), key=lambda file: file.name
        )
        for file in files:
            lines = file.read_bytes().splitlines(keepends=True)[:600]
            Path(place, file.name).write_bytes(b"".join(lines))
        return digest(called("replay", "--straight", *(str(Path(place, file.name)) for file in files)))


def world(seed: int) -> str:
    """Results of a simulated world: publications in their order, records, and the journal's rows."""
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(dir=FAST) as place:
            living = World(seed, Path(place))
            living.run()
    finally:
        logging.disable(logging.NOTSET)
    published = [part for topic, payload in living.broker.published for part in (topic.encode(), payload)]
    records = [part for key, record in sorted(living.records.items()) for part in (key.encode(), record)]
    return digest(*published, *records, *living.journal)


def called(*arguments: str) -> bytes:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_LSTM")}
    environment |= {"COLUMNS": "100", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "stream_lstm", *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


def metric_names() -> str:
    """Names, kinds and labels of the service's metrics, without their help."""
    families = text_string_to_metric_families(page(registry(Counters(), lambda: PRESENT)).decode())
    found = {
        (family.name, family.type, *sorted(sample.labels))
        for family in families
        for sample in family.samples
        if family.name.startswith("stream_lstm_")
    }
    return digest(json.dumps(sorted(found)).encode())


def without_texts(found: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(found, dict):
        kept = {k: v for k, v in found.items() if k not in ("description", "summary") or isinstance(v, dict)}
        return {name: without_texts(value) for name, value in kept.items()}
    return [without_texts(value) for value in found] if isinstance(found, list) else found


def everywhere() -> dict[str, str]:
    """Digests that are the same on every machine."""
    found = {f"help {command}".strip(): digest(called(*command.split(), "--help")) for command in COMMANDS}
    found |= {f"model {kind}": models(kind) for kind in KINDS}
    found["recordings"] = replayed()
    found["metric names"] = metric_names()
    for name, schema in {"openapi": document(), "settings": Settings.model_json_schema()}.items():
        found[name] = digest(json.dumps(schema, sort_keys=True, default=str).encode())
        found[f"{name} without texts"] = digest(
            json.dumps(without_texts(schema), sort_keys=True, default=str).encode()
        )
    return found


def worlds() -> dict[str, str]:
    """Digests that depend on `versions`."""
    return {f"world {seed}": world(seed) for seed in SEEDS}


def recorded() -> dict[str, Any]:
    return dict(json.loads(PLACE.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pinned", description=__doc__)
    parser.add_argument("--write", action="store_true", help="record what is so now")
    write = parser.parse_args().write
    machine = versions()
    found = {"everywhere": everywhere(), machine: worlds()}
    known = recorded() if PLACE.exists() else {}
    if write:
        PLACE.write_text(json.dumps(known | found, indent=1, sort_keys=True) + "\n")
        return 0
    if machine not in known:
        print(f"{machine} is not recorded: worlds are not compared")
    wrong = [
        f"{name}: {value}, recorded {known[part].get(name)}"
        for part, values in found.items()
        if part in known
        for name, value in values.items()
        if known[part].get(name) != value
    ]
    print("\n".join(wrong) or "as recorded")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
