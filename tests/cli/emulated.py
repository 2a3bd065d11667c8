"""A terminal that draws what is written to it, so that a test sees what a person would see.

It knows what `stream_lstm.cli.terminal.screen` uses, refuses what it does not know, and runs a program
on a pseudo-terminal of its own.
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
MARKS = {"\u200e"}  # take no room
# It makes the terminal its own first, so that Ctrl-C and Ctrl-Z reach it.
CHILD = (
    "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'stream_lstm', *sys.argv[1:]])"
)
ESCAPE = re.compile(r"\x1b\[(\?|)([\d;]*)([A-Za-z])")


class Picture:
    """What stands on a screen."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.modes = {"25": True, "7": True, "1049": False}  # cursor, lines that run on, the other screen
        self.coloured = False
        self._row = self._column = 0
        self.cells = self._empty()

    def _empty(self) -> list[list[str]]:
        return [[" "] * self.columns for _ in range(self.lines)]

    @property
    def text(self) -> list[str]:
        """Its lines, without the spaces at their ends."""
        return ["".join(line).rstrip() for line in self.cells]

    def resize(self, columns: int, lines: int) -> None:
        """Another size, and nothing on it."""
        self.columns, self.lines = columns, lines
        self._row = self._column = 0
        self.cells = self._empty()

    def write(self, text: str) -> None:
        """Draw."""
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
            assert not self.modes["1049"], "it has scrolled"
            self.cells = [*self.cells[1:], [" "] * self.columns]
            self._row -= 1

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif unicodedata.combining(character):
            self.cells[self._row][max(self._column - 1, 0)] += character
        elif character not in MARKS:
            assert character.isprintable(), repr(character)
            wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if self._column + wide > self.columns:
                assert self.modes["7"], "a line is longer than the screen is wide"
                self._down()
                self._column = 0
            self.cells[self._row][self._column : self._column + wide] = [character, *[""] * (wide - 1)]
            self._column += wide


class Terminal:
    """A command of ours in a terminal.

    Args:
        keys: what is typed reaches it; else its standard input is empty.
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
        self.picture = Picture(columns, lines)
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
        """Make the window larger or smaller."""
        self.read()
        self.picture.resize(columns, lines)
        self._resize(columns, lines)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._handle, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self._handle)[3] & termios.ECHO)

    def read(self, seconds: float = 0.0) -> bool:
        """Draw what has been written; false at the end."""
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
            if cut >= 0 and not ESCAPE.match(text, cut):  # an escape that has not come to its end
                self._rest, text = text[cut:].encode() + self._rest, text[:cut]
            self.picture.write(text)
            seconds = 0.0
        return True

    def until(self, so: Callable[[list[str]], object]) -> list[str]:
        """The lines, once they are so."""
        end = time.monotonic() + SECONDS_MAX
        while not so(self.picture.text):
            assert self.read(0.05), self.written
            assert time.monotonic() < end, self.picture.text
        return self.picture.text

    def stopped(self) -> bool:
        """Whether it has been stopped and can go on."""
        _, status = os.waitpid(self._process.pid, os.WNOHANG | os.WUNTRACED)
        return os.WIFSTOPPED(status)

    def wait(self) -> int:
        """The exit code."""
        end = time.monotonic() + SECONDS_MAX
        while self._process.poll() is None:
            self.read(0.02)
            assert time.monotonic() < end, self.picture.text
        self.read()
        return self._process.returncode
