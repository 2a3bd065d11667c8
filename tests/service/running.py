"""The service as users run it: a process, its settings file, its HTTP, its signals; and its commands."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

SECONDS_MAX = 20.0


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stream_lstm", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=SECONDS_MAX,
        check=False,
    )


def get(url: str, *, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    """Fetch over HTTP: status and body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Serving:
    """A service process with a settings file of the caller's.

    Args:
        config: the settings file; the log is written beside it.
    """

    def __init__(self, config: Path, **environment: str) -> None:
        self.config = config
        self.log = config.with_name("log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_lstm", "run", "--config", str(config)],
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def until(self, ready: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + SECONDS_MAX
        while not ready():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)


class Running:
    """A service process that keeps its folder over restarts.

    Args:
        folder: for settings, state and log.
        settings: TOML, to which `[state]`, `[http]` and `[log]` are added.
        state: more lines of `[state]`.
        http: all lines of `[http]`.
        place: the folder of the state; default: `folder`.
        program: arguments of Python that run the command line.
    """

    def __init__(
        self,
        folder: Path,
        settings: str,
        *,
        state: str = "checkpoint_seconds = 1.0",
        http: str = "port = 0",
        place: Path | None = None,
        program: Sequence[str] = ("-m", "stream_lstm"),
    ) -> None:
        folder.mkdir(exist_ok=True, parents=True)
        self.folder = folder
        self.state = (place or folder) / "state.db"
        self._program = program
        self._config = folder / "settings.toml"
        self._config.write_text(
            f'{settings}\n[state]\npath = "{self.state}"\n{state}\n[http]\n{http}\n[log]\nformat = "json"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self.port = 0

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Running:
        """Start it, and wait until it is ready."""
        self.launch()
        until(lambda: self.get("/readyz")[0] == 200, self)
        return self

    def launch(self) -> None:
        """Start it, and wait until HTTP listens."""
        self._log_from = len(self.log)
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, *self._program, "run", "--config", str(self._config)]
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        until(lambda: self._listening(), self)

    def _listening(self) -> bool:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.log[self._log_from :])
        self.port = int(found[1]) if found else 0
        return self.port > 0

    @property
    def log(self) -> str:
        """The log, over all starts."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log as an object a line, without the error that ends a process."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        """True if the process is not running."""
        return self._process is None or self._process.poll() is not None

    def get(self, path: str) -> tuple[int, str]:
        """Fetch over HTTP: status and body; status 0 if the service does not listen."""
        try:
            return get(f"http://127.0.0.1:{self.port}{path}")
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Every sample without buckets by its name; rejections by their reason."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {
            sample.labels.get("reason", sample.name): sample.value
            for family in families
            for sample in family.samples
            if "le" not in sample.labels
        }

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the process; returns its exit code."""
        assert self._process is not None
        return self._process.wait(SECONDS_MAX)

    def stop(self) -> int:
        """Send SIGTERM, and wait; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Send SIGKILL, and wait."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(SECONDS_MAX)


def until(condition: Any, about: Running | None = None, seconds: float = SECONDS_MAX) -> None:
    """Wait until a condition holds, at most until the service ends."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or (about is not None and about.ended):
            raise AssertionError(f"not in time; the log:\n{about.log if about else ''}")
        time.sleep(0.01)
