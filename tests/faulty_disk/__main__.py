"""The command line on a faulty disk: `python -m tests.faulty_disk FOLDER run --config FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from stream_lstm.cli.main import main
from tests.faulty_disk.disk import FaultyDisk

FaultyDisk(Path(sys.argv.pop(1))).install()
main()
