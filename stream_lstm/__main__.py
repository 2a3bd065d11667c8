"""Entry point of `python -m stream_lstm`, the same as `stream-lstm`."""

from stream_lstm.cli import main

main()
