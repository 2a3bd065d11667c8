"""The terminal's modes, size and keys on a pseudo-terminal, and their defaults without one."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_lstm.cli.terminal import screen
from stream_lstm.cli.terminal.screen import Screen

SECONDS_MAX = 10.0


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other side of a pseudo-terminal that is standard input and output."""
    other, side = pty.openpty()
    with os.fdopen(side, "r") as stdin, os.fdopen(os.dup(side), "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        yield other
    os.close(other)


def until_readable(file: int | None) -> None:
    assert select.select([file], [], [], SECONDS_MAX)[0]


def test_without_a_terminal_the_size_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert screen.size() == (80, 24)
        assert screen.columns() is None
        assert not screen.coloured()


def test_keys_are_read_without_echo_and_without_enter(terminal: int) -> None:
    with Screen() as shown:
        assert shown.keys() == b""
        os.write(terminal, b"ab")
        until_readable(shown.keyboard)
        assert shown.keys() == b"ab"
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO


def test_reading_keys_never_waits_for_keys_that_ctrl_c_discards(terminal: int) -> None:
    with Screen() as shown:
        os.write(terminal, b"x")
        until_readable(shown.keyboard)
        termios.tcflush(shown.keyboard or 0, termios.TCIFLUSH)  # as the terminal does on Ctrl-C
        assert shown.keys() == b""


def test_a_terminal_that_hangs_up_ends_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    other, side = pty.openpty()
    with os.fdopen(side, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        shown = Screen()
        os.close(other)
        assert shown.keys() is None


def test_taking_the_terminal_twice_keeps_the_modes_to_restore(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with Screen() as shown:
        shown.take()
        assert termios.tcgetattr(terminal) != before
    assert termios.tcgetattr(terminal) == before
