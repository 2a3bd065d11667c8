"""Tells systemd how the service fares, where systemd runs it: ready, alive, stopping.

Protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html (one datagram a message).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

WATCHDOG_SHARE = 0.5  # of the time that systemd waits for a sign of life


class Notifier:
    """Sends notes to whoever started us, if they listen.

    Args:
        environment: where systemd says so.

    Attributes:
        watchdog_seconds: how often `alive` is to be called; None: nobody waits for it.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        waits = int(environment.get("WATCHDOG_USEC", 0)) / 1e6
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = waits * WATCHDOG_SHARE if self._address and waits and ours else None

    def ready(self) -> None:
        """Memory is restored, and the line runs."""
        self._send("READY=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """What `systemctl status` shows."""
        self._send("STATUS=" + words.replace("\n", " "))

    def stopping(self) -> None:
        """We are leaving, as asked."""
        self._send("STOPPING=1")

    def _send(self, note: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
            try:
                sending.sendto(note.encode(), self._address)
            except OSError:
                return  # nobody listens any more, and there is nobody else to tell
