"""The service itself; prints `ready` when its /readyz is."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request


def print_when_ready(port: int) -> None:
    """Poll /readyz until it succeeds."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                print("ready", flush=True)
                return
        except OSError:
            time.sleep(0.02)


if __name__ == "__main__":
    threading.Thread(target=print_when_ready, args=(int(sys.argv[2]),), daemon=True).start()
    sys.argv = ["stream-lstm", "run", "--config", sys.argv[1]]
    from stream_lstm.cli import main

    main()
