"""Emulated terminal: a command on a pseudo-terminal, and the screen that its output draws.

It knows the escape sequences that `stream_lstm.cli.terminal.screen` uses, and fails on others.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Sequence

SECONDS_MAX = 20.0
ZERO_WIDTH = {"\u200e"}
# The child makes the terminal its controlling terminal first, so that Ctrl-C and Ctrl-Z reach it.
CHILD = (
    "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'stream_lstm', *sys.argv[1:]])"
)
ESCAPE = re.compile(r"\x1b\[(\?|)([\d;]*)([A-Za-z])")


class EmulatedScreen:
    """Contents and modes of a screen."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.modes = {"25": True, "7": True, "1049": False}  # cursor, line wrap, alternate screen
        self.coloured = False
        self._row = self._column = 0
        self.cells = self._empty()

    def _empty(self) -> list[list[str]]:
        return [[" "] * self.columns for _ in range(self.lines)]

    @property
    def text(self) -> list[str]:
        """The lines, without trailing spaces."""
        return ["".join(line).rstrip() for line in self.cells]

    def resize(self, columns: int, lines: int) -> None:
        """Change the size and clear the screen."""
        self.columns, self.lines = columns, lines
        self._row = self._column = 0
        self.cells = self._empty()

    def write(self, text: str) -> None:
        """Draw text with escape sequences."""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = ESCAPE.match(text, at)
                assert found, repr(text[at : at + 20])
                self._do(*found.groups())
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _do(self, private: str, numbers: str, what: str) -> None:
        if private:
            assert numbers in self.modes
            assert what in "hl"
            self.modes[numbers] = what == "h"
            if numbers == "1049":
                self.cells = self._empty()
        elif what == "H":
            assert not numbers
            self._row = self._column = 0
        elif what == "K":
            self.cells[self._row][self._column :] = [" "] * (self.columns - self._column)
        elif what == "J":
            begin = 0 if numbers == "2" else self._row + 1
            for line in self.cells[begin:]:
                line[:] = [" "] * self.columns
        else:
            assert what == "m"
            self.coloured = True

    def _down(self) -> None:
        self._row += 1
        if self._row == self.lines:
            assert not self.modes["1049"], "the alternate screen has scrolled"
            self.cells = [*self.cells[1:], [" "] * self.columns]
            self._row -= 1

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif unicodedata.combining(character):
            self.cells[self._row][max(self._column - 1, 0)] += character
        elif character not in ZERO_WIDTH:
            assert character.isprintable(), repr(character)
            wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if self._column + wide > self.columns:
                assert self.modes["7"], "a line is longer than the screen is wide"
                self._down()
                self._column = 0
            self.cells[self._row][self._column : self._column + wide] = [character, *[""] * (wide - 1)]
            self._column += wide


class Terminal:
    """A stream-lstm command in a terminal.

    Args:
        keys: standard input is the terminal; otherwise it is empty.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        keys: bool = True,
        **environment: str,
    ) -> None:
        self.screen = EmulatedScreen(columns, lines)
        self.written = ""
        self._rest = b""
        self._handle, side = pty.openpty()
        self._resize(columns, lines)
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            stdin=side if keys else subprocess.DEVNULL,
            stdout=side,
            stderr=side,
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            start_new_session=True,
        )
        os.close(side)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._handle)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self.read()
        self.screen.resize(columns, lines)
        self._resize(columns, lines)

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._handle, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def echoes(self) -> bool:
        """True if typed keys are shown."""
        return bool(termios.tcgetattr(self._handle)[3] & termios.ECHO)

    def read(self, seconds: float = 0.0) -> bool:
        """Draw the output so far; False at its end."""
        while select.select([self._handle], [], [], seconds)[0]:
            try:
                found = os.read(self._handle, 65_536)
            except OSError:  # the other side is closed
                return False
            if not found:
                return False
            text = (self._rest + found).decode(errors="ignore")
            self._rest = (self._rest + found)[len(text.encode()) :]
            self.written += text
            cut = text.rfind("\x1b")
            if cut >= 0 and not ESCAPE.match(text, cut):  # an escape sequence that is not complete yet
                self._rest, text = text[cut:].encode() + self._rest, text[:cut]
            self.screen.write(text)
            seconds = 0.0
        return True

    def until(self, so: Callable[[list[str]], object]) -> list[str]:
        """Wait until the lines fulfil a condition; returns them."""
        end = time.monotonic() + SECONDS_MAX
        while not so(self.screen.text):
            assert self.read(0.05), self.written
            assert time.monotonic() < end, self.screen.text
        return self.screen.text

    def stopped(self) -> bool:
        """True if the command has been stopped by a signal."""
        _, status = os.waitpid(self._process.pid, os.WNOHANG | os.WUNTRACED)
        return os.WIFSTOPPED(status)

    def wait(self) -> int:
        """Wait for the end of the command; returns its exit code."""
        end = time.monotonic() + SECONDS_MAX
        while self._process.poll() is None:
            self.read(0.02)
            assert time.monotonic() < end, self.screen.text
        self.read()
        return self._process.returncode
