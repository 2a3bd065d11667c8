"""The terminal itself: whether there is one, how large it is, and a screen of its own that is left as it was.

The escapes are those of xterm (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html): the alternate
screen, no cursor, and no line that runs on into the next. A picture is written in one piece, over the one
before, so nothing flickers.

Signals are only noted, and acted upon where the program waits: no picture and no restoring is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

import click

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
USUAL = os.terminal_size((80, 24))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH, signal.SIGTSTP)
LEAVING = {signal.SIGINT, signal.SIGTERM}
NEWS = 0  # what is said to a screen that waits, beside numbers of signals
QUIT = b"qQ\x04"


def there() -> bool:
    """Whether standard output is a terminal on which a picture can be drawn over the one before."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def coloured() -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return there() and not os.environ.get("NO_COLOR")


def size() -> os.terminal_size:
    """How large the terminal is at the moment."""
    try:
        now = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return USUAL
    return os.terminal_size((now.columns or USUAL.columns, now.lines or USUAL.lines))


def columns() -> int | None:
    """How wide a line may be on standard output; None where it is no terminal."""
    return size().columns if sys.stdout.isatty() else None


def say(lines: Sequence[str]) -> None:
    """Print lines; what standard output's encoding does not know becomes a question mark."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding), color=coloured())


class Screen:
    """A screen of our own, for as long as the block lasts."""

    def __init__(self) -> None:
        self._out = sys.stdout.fileno()
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._woken, self._waking = socket.socketpair()
        self._before: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Screen:
        self._waking.setblocking(False)
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._woken.close()
        self._waking.close()

    def _take(self) -> None:
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        if self._keys is not None and self._before is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def _write(self, text: str) -> None:
        rest = text.encode(sys.stdout.encoding or "utf-8", "replace")
        while rest:
            rest = rest[os.write(self._out, rest) :]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wake(number)

    def wake(self, what: int = NEWS) -> None:
        """Have `wait` return; from any thread, also when the screen is gone."""
        with contextlib.suppress(OSError):  # it is gone, or has so much to wake for that this adds nothing
            self._waking.send(bytes([what]))

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of what was shown."""
        self._write(HOME + f"{REST_OF_LINE}\r\n".join(lines) + REST_OF_LINE + REST_OF_SCREEN)

    def wait(self, seconds: float) -> bool:
        """Wait until something is new, or the time is over; false if we are to leave."""
        sources = [self._woken, *([self._keys] if self._keys is not None else [])]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._keys in ready:
            pressed = os.read(self._keys or 0, 256)
            if not pressed or any(key in QUIT for key in pressed):
                return False
        noted = set(self._woken.recv(256)) if self._woken in ready else set()
        if noted & LEAVING:
            return False
        if signal.SIGTSTP in noted:
            self._pause()
        return True

    def _pause(self) -> None:
        """Ctrl-Z: give the terminal back until we are told to go on."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
