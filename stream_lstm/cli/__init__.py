"""The command line: one module a command, and what several of them share."""

from stream_lstm.cli.main import main

__all__ = ["main"]
