"""Command line: a module for each command, and shared options, API client and terminal output."""

from stream_lstm.cli.main import main

__all__ = ["main"]
