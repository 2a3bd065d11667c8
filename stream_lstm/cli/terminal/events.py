"""Keys and signals of a terminal, handled in the event loop, so that none interrupts a frame."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_lstm.cli.terminal.screen import Screen

QUIT_KEYS = b"qQ\x04"  # \x04: Ctrl-D


@contextmanager
def terminal_events(
    shown: Screen, *, changed: Callable[[], None], leave: Callable[[], None]
) -> Iterator[None]:
    """Handle the keys and signals of a screen; enter this before the screen, and leave it after.

    Ctrl-Z gives the terminal back before the program stops, and SIGCONT takes it again.

    Args:
        changed: called when the frame has to be drawn again.
        leave: called when the user wants to leave, or the terminal is gone.
    """
    loop = asyncio.get_running_loop()

    def read_keys() -> None:
        typed = shown.keys()
        if typed is None or any(key in QUIT_KEYS for key in typed):
            leave()

    def stop() -> None:
        shown.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def resume() -> None:
        shown.take()
        changed()

    handlers = {
        signal.SIGINT: leave,
        signal.SIGTERM: leave,
        signal.SIGWINCH: changed,
        signal.SIGTSTP: stop,
        signal.SIGCONT: resume,
    }
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    if shown.keyboard is not None:
        loop.add_reader(shown.keyboard, read_keys)
    try:
        yield
    finally:
        if shown.keyboard is not None:
            loop.remove_reader(shown.keyboard)
        for number, previous in before.items():
            loop.remove_signal_handler(number)  # sets the default action
            signal.signal(number, previous)
