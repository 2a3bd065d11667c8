"""Notifications to systemd: ready, watchdog, status, stopping. Without systemd they do nothing.

Protocol: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html (one datagram a message).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

WATCHDOG_SHARE = 0.5  # of systemd's timeout, as sd_watchdog_enabled(3) recommends


class Notifier:
    """Sends notifications to the service manager.

    Args:
        environment: variables with the manager's socket and watchdog timeout; default: the process's.

    Attributes:
        watchdog_seconds: interval at which to call `alive`; None if the watchdog is not in use.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # abstract: unix(7)
        timeout = int(environment.get("WATCHDOG_USEC", 0)) / 1e6
        own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = timeout * WATCHDOG_SHARE if self._address and timeout and own else None

    def ready(self) -> None:
        """Report that startup is complete: memory is recovered, and the pipeline runs."""
        self._send("READY=1")

    def alive(self) -> None:
        """Reset the watchdog, to show that the event loop runs."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self._send("STATUS=" + text.replace("\n", " "))

    def stopping(self) -> None:
        """Report that shutdown has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(message.encode(), self._address)
            except OSError:
                return  # the manager no longer listens; the service runs without it
