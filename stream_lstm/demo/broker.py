"""A broker for the demo, on 127.0.0.1, as a child: mosquitto if it is installed, else the wheel `iotcore`."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from stream_lstm.demo import embedded
from stream_lstm.errors import SettingsError, StreamLstmError

START_SECONDS_MAX = 15.0
STOP_SECONDS_MAX = 15.0  # the service takes up to 10 to finish what it has in hand
POLL_SECONDS = 0.02
# Everything that is queued must fit: a demo broker serves one subscriber, at its own speed.
MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
log_type error
"""


class Child:
    """A child process that ends with the `with` block."""

    def __init__(self, command: list[str], *, log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(self._environment or {})},
                start_new_session=True,  # Ctrl-C reaches us alone; we end our children in order
                preexec_fn=_die_with_parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it, gently first; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def said(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text("utf-8", "replace")[-2_000:] if self._log.exists() else ""

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.process is not None and self.process.poll() is not None


def _die_with_parent() -> None:
    """Ask Linux to end this child when its parent is gone, however that went (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def broker(folder: Path, port: int) -> tuple[str, Child]:
    """A broker that is not started yet, and its name.

    Raises:
        SettingsError: there is none to be had.
    """
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if mosquitto:
        config = folder / "mosquitto.conf"
        config.write_text(MOSQUITTO.format(port=port))
        return "mosquitto", Child([mosquitto, "-c", str(config)], log=folder / "broker.log")
    try:
        import iotcore  # noqa: F401
    except ImportError:
        raise SettingsError(
            "demo", "needs a broker: install mosquitto, or `pip install 'stream-lstm[demo]'`"
        ) from None
    config = folder / "broker.toml"
    config.write_text(embedded.CONFIG.format(port=port))
    command = [sys.executable, "-m", "stream_lstm.demo.embedded", str(config)]
    return "iotcore", Child(command, log=folder / "broker.log")


def until_listening(port: int, child: Child) -> None:
    """Wait until somebody accepts connections on a port of 127.0.0.1.

    Raises:
        StreamLstmError: the child ended first, or it took too long.
    """
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.ended:
            raise StreamLstmError(f"a child process ended at its start:\n{child.said()}")
        time.sleep(POLL_SECONDS)
    raise StreamLstmError(f"nothing listens on port {port} after {START_SECONDS_MAX:g} s:\n{child.said()}")
