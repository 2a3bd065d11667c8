"""The terminal's modes and size, and drawing on its alternate screen.

The escape sequences are those of xterm (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html): alternate
screen, hidden cursor, no automatic line wrap. Each frame is written in one piece over the last one, so that
nothing flickers. Waiting for keys and signals is the caller's part.
"""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import click

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
DEFAULT_SIZE = os.terminal_size((80, 24))  # where the terminal does not report its size: that of the VT100
KEYS_BYTES_MAX = 256  # of one read: more than anybody types between two of them
CONTROL_CHARACTERS = 6  # index of `cc` in what termios.tcgetattr returns


def redraws() -> bool:
    """True if standard output is a terminal on which a frame can be drawn over the last one."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def coloured() -> bool:
    """True on such a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return redraws() and not os.environ.get("NO_COLOR")


def size() -> os.terminal_size:
    """Present size of the terminal."""
    try:
        reported = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return DEFAULT_SIZE
    return os.terminal_size((reported.columns or DEFAULT_SIZE.columns, reported.lines or DEFAULT_SIZE.lines))


def columns() -> int | None:
    """Width of a line on standard output; None where it is not a terminal."""
    return size().columns if sys.stdout.isatty() else None


def print_lines(lines: Sequence[str]) -> None:
    """Print lines; a character that standard output's encoding lacks becomes a question mark."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding), color=coloured())


class Screen:
    """The alternate screen, for as long as the block lasts; a context manager.

    Attributes:
        keyboard: file descriptor to read keys from; None where standard input is not a terminal.
    """

    def __init__(self) -> None:
        self._out = sys.stdout.fileno()
        self.keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._modes: list[Any] | None = None  # of the terminal before `take`

    def __enter__(self) -> Screen:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def take(self) -> None:
        """Switch to the alternate screen, and to keys without echo and without Enter."""
        if self.keyboard is not None:
            self._modes = self._modes or termios.tcgetattr(self.keyboard)
            tty.setcbreak(self.keyboard)
            # A read must never wait. Ctrl-C and Ctrl-Z discard the keys typed before them, maybe between the
            # event loop's notice of a key and the read.
            modes = termios.tcgetattr(self.keyboard)
            modes[CONTROL_CHARACTERS][termios.VMIN] = 0
            termios.tcsetattr(self.keyboard, termios.TCSANOW, modes)
        self._write(ENTER)

    def give_back(self) -> None:
        """Restore screen and modes."""
        self._write(LEAVE)
        if self.keyboard is not None and self._modes is not None:
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, self._modes)
            self._modes = None

    def draw(self, lines: Sequence[str]) -> None:
        """Draw a frame over the last one."""
        self._write(HOME + f"{CLEAR_LINE}\r\n".join(lines) + CLEAR_LINE + CLEAR_BELOW)

    def keys(self) -> bytes | None:
        """Keys typed since the last call, without waiting; None if the terminal is gone."""
        assert self.keyboard is not None
        try:
            typed = os.read(self.keyboard, KEYS_BYTES_MAX)
            if not typed:
                termios.tcgetattr(self.keyboard)  # fails on a terminal that has hung up, which reads as empty
        except (OSError, termios.error):
            return None
        return typed

    def _write(self, text: str) -> None:
        rest = text.encode(sys.stdout.encoding or "utf-8", "replace")
        while rest:
            rest = rest[os.write(self._out, rest) :]
