"""A real Prometheus for tests, in a hurry: it asks five times a second, and its alerts wait for seconds.

Looked for, with promtool, on PATH and where `tools/get-programs` puts them on machines that have none.
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
UNITS_MS = {"m": 400, "h": 24_000}  # what they shrink to
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
    """`prometheus` or `promtool`."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(PRIVATE)])
    if found := shutil.which(program, path=path):
        return found
    raise FileNotFoundError(f"{program}: run tools/get-programs prometheus, or install Prometheus")


def promtool(*words: str, stdin: bytes = b"") -> str:
    """What promtool says; an AssertionError if it finds fault."""
    command = [find("promtool"), *words]
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=RULES.parent, check=False
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said


def hurried(rules: str) -> str:
    """The rules with less than half a second for each minute: what they ask stays as it is."""
    rules = re.sub(r"(?m)^(\s+for:) \d+[mh]$", r"\1 300ms", rules)
    return re.sub(r"\[(\d+)([mh])\]", lambda found: f"[{int(found[1]) * UNITS_MS[found[2]]}ms]", rules)


class Prometheus:
    """A Prometheus on 127.0.0.1, with the rules that we ship.

    Args:
        folder: for its configuration, log and data.
        names: what services are called as `instance`, whether or not they are there.

    Attributes:
        ports: where each of them is asked. Known from the start: new ones it would look for every 5 s.
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
        (folder / "rules.yml").write_text(hurried(RULES.read_text()))
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(job=JOB, targets=json.dumps(targets)))

    def start(self) -> Prometheus:
        """Start it, and wait until it answers."""
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
        """What it has logged."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now, each with its `metric` and its last `value`."""
        found = self._api("query", query=expression)
        assert found["resultType"] == "vector", expression
        return found["result"]

    def ask_range(self, expression: str, *, seconds: float) -> list[dict[str, Any]]:
        """The series that an expression had of late, each with its `metric` and its `values`."""
        now = time.time()
        return self._api("query_range", query=expression, start=now - seconds, end=now, step="1s")["result"]

    def labels(self, name: str, metric: str) -> list[str]:
        """What a label says on a metric's series."""
        return self._api(f"label/{name}/values", **{"match[]": metric})

    def rules(self) -> list[dict[str, Any]]:
        """The rules as it has loaded them."""
        return [rule for group in self._api("rules")["groups"] for rule in group["rules"]]

    def firing(self, instance: str) -> set[str]:
        """The alerts that fire about a service."""
        found = self.ask(f'ALERTS{{alertstate="firing", instance="{instance}"}}')
        return {series["metric"]["alertname"] for series in found}

    def _api(self, what: str, **query: object) -> Any:
        try:
            answer = json.loads(self._get(f"/api/v1/{what}?{urllib.parse.urlencode(query)}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert answer["status"] == "success"
        return answer["data"]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
            return bytes(answer.read())
