"""The service as a process, with its settings, and its signals."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.attack.record import PREDICTIONS

SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
client_id = "attacked"
keep_alive_seconds = {keep_alive}
reconnect_seconds_min = 0.05
reconnect_seconds_max = 0.3
[[subscribe]]
topic = "a/{{d}}"
stream = "{{d}}"
{fields}
[publish]
topic = "{predictions}{{stream}}"
qos = {qos}
[state]
path = "{state}"
checkpoint_seconds = 0.5
history_seconds = 1e9
{more}
[http]
enabled = false
[log]
format = "json"
"""
FIELDS = 'fields = ["v"]\ntime = ["t"]'  # of payloads with a time; others are bare numbers
STOP_SECONDS_MAX = 30.0


class ServiceProcess:
    """A service process that keeps its folder over restarts.

    Args:
        port: of the broker, or of what stands before it.
        more: lines of `[state]`.

    Attributes:
        state: its state file.
        stops: of each stop by SIGTERM, exit code and the log's `cleanly`.
    """

    def __init__(
        self, folder: Path, port: int, *, timed: bool, qos: int, keep_alive: int = 30, more: str = ""
    ) -> None:
        folder.mkdir(parents=True)
        self.state = folder / "state.db"
        self.stops: list[tuple[int, bool]] = []
        self._config, self._log = folder / "settings.toml", folder / "log"
        self._config.write_text(
            SETTINGS.format(
                port=port,
                keep_alive=keep_alive,
                fields=FIELDS if timed else "",
                predictions=PREDICTIONS,
                qos=qos,
                state=self.state,
                more=more,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; does not wait until it is ready."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "stream_lstm", "run", "--config", str(self._config)]
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process
        assert self._process.poll() is None, f"it has ended:\n{self.tail()}"
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; an end for another reason is an error."""
        self.signal(signal.SIGKILL)
        assert self._process
        code = self._process.wait()
        assert code == -signal.SIGKILL, f"exit code {code}:\n{self.tail()}"

    def end(self) -> None:
        """SIGKILL, if it runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        self.signal(signal.SIGTERM)
        assert self._process
        code = await asyncio.to_thread(self._process.wait, STOP_SECONDS_MAX)
        last = json.loads(self._log.read_text().splitlines()[-1])
        self.stops.append((code, bool(last.get("cleanly"))))

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text()[-4_000:]
