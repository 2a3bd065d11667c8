"""Broker of the demo, a child process on 127.0.0.1: mosquitto if installed, else the package `iotcore`."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import msgspec

from stream_lstm.demo import embedded
from stream_lstm.errors import SettingsError, StreamLstmError

START_SECONDS_MAX = 15.0  # a trade-off: longer than a start on a loaded machine, and a hang ends
STOP_SECONDS_MAX = 15.0  # above the 10 s that the service takes at most to finish its work
REPORTED_SECONDS = 2.0  # a usual start takes less
POLL_SECONDS = 0.02  # a trade-off: a start is noticed soon, and the wait costs little processor time
# No limits: the broker must queue all messages that its one subscriber has not read yet.
MOSQUITTO = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
log_type error
"""


class Child:
    """A child process that ends with the `with` block.

    Args:
        command: program and arguments.
        log: file for the output.
        environment: variables to add.

    Attributes:
        process: None before the block.
    """

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
                start_new_session=True,  # Ctrl-C reaches the parent only, which stops its children in order
                preexec_fn=_die_with_parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop the process with SIGTERM, after a while with SIGKILL; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def log_tail(self) -> str:
        """The end of the output."""
        return self._log.read_text("utf-8", "replace")[-2_000:] if self._log.exists() else ""

    @property
    def ended(self) -> bool:
        """True if the process has ended by itself."""
        return self.process is not None and self.process.poll() is not None


def _die_with_parent() -> None:
    """Have Linux stop this process when its parent ends, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def broker(folder: Path, port: int) -> tuple[str, Child]:
    """A broker, not started yet.

    Returns:
        Its name and its process.

    Raises:
        SettingsError: no broker is installed.
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
            "demo", "needs a broker: install mosquitto, or pip install 'stream-lstm[demo]'"
        ) from None
    config = folder / "broker.toml"
    config.write_text(embedded.CONFIG.format(port=port))
    command = [sys.executable, "-m", "stream_lstm.demo.embedded", str(config)]
    return "iotcore", Child(command, log=folder / "broker.log")


def until_ready(http: int, child: Child, report: Callable[[str], object]) -> None:
    """Wait until a service is ready; report what it waits for if that takes longer, such as compiling.

    Args:
        http: its HTTP port on 127.0.0.1.

    Raises:
        StreamLstmError: the service has ended.
    """
    begun, reported = time.monotonic(), ""
    while (obstacle := _obstacle(http)) is not None:
        if child.ended:
            raise StreamLstmError(f"the service ended at its start:\n{child.log_tail()}")
        if obstacle != reported and time.monotonic() - begun >= REPORTED_SECONDS:
            report(f"waiting: {obstacle}")
            reported = obstacle
        time.sleep(POLL_SECONDS)


def _obstacle(http: int) -> str | None:
    """Why a service is not ready, as `/readyz` says; None if it is."""
    connection = HTTPConnection("127.0.0.1", http, timeout=START_SECONDS_MAX)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        obstacles = msgspec.json.decode(answer.read())["obstacles"]
        return None if answer.status == HTTPStatus.OK else ", ".join(obstacles)
    except (OSError, HTTPException, msgspec.DecodeError) as error:
        return str(error)
    finally:
        connection.close()


def until_listening(port: int, child: Child) -> None:
    """Wait until a child accepts connections on a port of 127.0.0.1.

    Raises:
        StreamLstmError: the child has ended, or it takes too long.
    """
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.ended:
            raise StreamLstmError(f"a child process ended at its start:\n{child.log_tail()}")
        time.sleep(POLL_SECONDS)
    raise StreamLstmError(
        f"nothing listens on port {port} after {START_SECONDS_MAX:g} s:\n{child.log_tail()}"
    )
