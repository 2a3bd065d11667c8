"""Real Prometheus for tests, with short intervals: five scrapes a second, alert durations below a second.

Prometheus and promtool are searched on PATH and where `tools/get-programs prometheus` puts them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.brokers import STARTS_MAX, free_port
from tests.test_house import ROOT

PRIVATE = ROOT / ".tools" / "prometheus" / "bin"
RULES = ROOT / "configs" / "prometheus" / "rules.yml"
JOB = "stream_lstm"
START_SECONDS_MAX = 15.0
UNITS_MS = {"m": 400, "h": 24_000}  # shortened minute and hour
CONFIGURATION = """
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
  evaluation_interval: 100ms
rule_files: [rules.yml]
scrape_configs:
  - job_name: {job}
    static_configs: {targets}
"""


def find(program: str) -> str:
    """Path of `prometheus` or `promtool`."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(PRIVATE)])
    if found := shutil.which(program, path=path):
        return found
    raise FileNotFoundError(f"{program}: run tools/get-programs prometheus, or install Prometheus")


def promtool(*words: str, stdin: bytes = b"") -> str:
    """Run promtool; returns its output, and raises AssertionError if it fails."""
    command = [find("promtool"), *words]
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=RULES.parent, check=False
    )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    return output


def shortened(rules: str) -> str:
    """Rules with 0.4 s for each minute; the expressions are otherwise unchanged."""
    rules = re.sub(r"(?m)^(\s+for:) \d+[mh]$", r"\1 300ms", rules)
    return re.sub(r"\[(\d+)([mh])\]", lambda found: f"[{int(found[1]) * UNITS_MS[found[2]]}ms]", rules)


class Prometheus:
    """Prometheus on 127.0.0.1 with the shipped rules.

    Args:
        folder: for its configuration, log and data.
        names: `instance` labels of the services to scrape, running or not.

    Attributes:
        ports: port of each service; fixed at the start, since Prometheus looks for new ones only every 5 s.
    """

    def __init__(self, folder: Path, *names: str) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.ports = {name: free_port() for name in names}
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
            for name, port in self.ports.items()
        ]
        (folder / "rules.yml").write_text(shortened(RULES.read_text()))
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(job=JOB, targets=json.dumps(targets)))

    def start(self) -> Prometheus:
        """Start it and wait until it is ready."""
        for _ in range(STARTS_MAX):  # a port that was free a moment ago may be taken
            self._port = free_port()
            if self._start_once():
                return self
        raise RuntimeError(f"prometheus does not start:\n{self.log}")

    def _start_once(self) -> bool:
        command = [
            *(find("prometheus"), "--log.level=warn", f"--web.listen-address=127.0.0.1:{self._port}"),
            *(f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data"),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self._process.poll() is None:
            try:
                self._get("/-/ready")
            except OSError:
                time.sleep(0.02)
            else:
                return True
        self.kill()
        return False

    @property
    def log(self) -> str:
        """Its log so far."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Instant query: series with `metric` and `value`."""
        found = self._api("query", query=expression)
        assert found["resultType"] == "vector", expression
        return found["result"]

    def ask_range(self, expression: str, *, seconds: float) -> list[dict[str, Any]]:
        """Range query over the last seconds: series with `metric` and `values`."""
        now = time.time()
        return self._api("query_range", query=expression, start=now - seconds, end=now, step="1s")["result"]

    def labels(self, name: str, metric: str) -> list[str]:
        """Values of a label on a metric's series."""
        return self._api(f"label/{name}/values", **{"match[]": metric})

    def rules(self) -> list[dict[str, Any]]:
        """Loaded rules."""
        return [rule for group in self._api("rules")["groups"] for rule in group["rules"]]

    def firing(self, instance: str) -> set[str]:
        """Names of the alerts that fire for a service."""
        found = self.ask(f'ALERTS{{alertstate="firing", instance="{instance}"}}')
        return {series["metric"]["alertname"] for series in found}

    def _api(self, path: str, **query: object) -> Any:
        try:
            answer = json.loads(self._get(f"/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert answer["status"] == "success"
        return answer["data"]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
            return bytes(answer.read())
