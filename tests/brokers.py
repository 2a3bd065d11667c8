"""Real mosquitto for tests, and its command line clients.

The programs are searched on PATH and where `tools/get-programs mosquitto` puts them.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

PRIVATE = Path(__file__).resolve().parents[1] / ".tools" / "mosquitto" / "bin"
START_SECONDS_MAX = 10.0  # on a loaded machine; usually some milliseconds
STARTS_MAX = 5  # a port that was free a moment ago may be taken


def find(program: str) -> str:
    """Path of one of mosquitto's programs."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", str(PRIVATE)])
    if found := shutil.which(program, path=path):
        return found
    raise FileNotFoundError(
        f"{program}: run tools/get-programs mosquitto, or install mosquitto and its clients"
    )


def free_port() -> int:
    """TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """Broker on 127.0.0.1 that keeps port and folder over restarts.

    Args:
        folder: for its configuration, log and state.
        lines: of its configuration, in addition to the listener's.
        persistent: True to keep sessions and messages over restarts; a SIGKILL may lose the last second.
        anonymous: True to allow clients without a user name.
        port: 0 for a free one.
    """

    host = "127.0.0.1"

    def __init__(
        self, folder: Path, *lines: str, persistent: bool = False, anonymous: bool = True, port: int = 0
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._fixed_port = bool(port)
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = [f"allow_anonymous {str(anonymous).lower()}", "log_dest stderr"]
        self._lines += [
            f"log_type {kind}" for kind in ("error", "warning", "notice", "information", "subscribe")
        ]
        self._lines += lines
        if persistent:
            self._lines += ["persistence true", f"persistence_location {folder}/"]
            self._lines += ["autosave_on_changes true", "autosave_interval 1"]
        if os.geteuid() == 0:  # it would change to user `mosquitto`, who may not write to the folder
            self._lines.append("user root")

    def start(self) -> Mosquitto:
        """Start it and wait until it accepts connections."""
        for _ in range(STARTS_MAX):
            if self._start_once():
                return self
            if not self._fixed_port:
                self.port = free_port()
        raise RuntimeError(f"mosquitto does not start:\n{self.log}")

    def _start_once(self) -> bool:
        program = find("mosquitto")
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join([f"listener {self.port} {self.host}", *self._lines, ""]))
        with (self.folder / "log").open("ab") as log:  # stderr, since its own log file lags by a second
            self._process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection((self.host, self.port), 1).close()
            except OSError:
                time.sleep(0.005)
                continue
            self._fixed_port = True
            return True
        self.kill()
        return False

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Its log so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """SIGTERM; a persistent broker saves its state."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def publish(self, topic: str, payload: str, *options: str, qos: int = 1) -> None:
        """Publish one message with mosquitto_pub."""
        program = find("mosquitto_pub")
        connection = ["-V", "5", "-h", self.host, "-p", str(self.port)]
        subprocess.run(
            [program, *connection, "-q", str(qos), "-t", topic, "-m", payload, *options],
            check=True,
            timeout=10,
        )

    def publish_lines(self, topic: str, payloads: str, *, qos: int = 1) -> None:
        """Publish a message for each line, over one connection, with mosquitto_pub."""
        program = find("mosquitto_pub")
        connection = ["-V", "5", "-h", self.host, "-p", str(self.port)]
        subprocess.run(
            [program, *connection, "-q", str(qos), "-t", topic, "-l"],
            input=payloads.encode(),
            check=True,
            timeout=60,
        )

    def subscriber(self, topic: str, *options: str, name: str = "watcher") -> subprocess.Popen[str]:
        """Start a mosquitto_sub that prints `topic payload` lines; it has subscribed when this returns."""
        program = find("mosquitto_sub")
        connection = ["-V", "5", "-h", self.host, "-p", str(self.port), "-i", name]
        running = subprocess.Popen(
            [program, *connection, "-v", "-t", topic, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + START_SECONDS_MAX
        while not re.search(rf": {name} \d {re.escape(topic)}$", self.log, re.MULTILINE):
            if time.monotonic() > until or running.poll() is not None:
                running.kill()
                raise RuntimeError(f"mosquitto_sub does not subscribe:\n{self.log}")
            time.sleep(0.005)
        return running
