"""A folder on a faulty disk, for the files of this process or of another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faulty_disk.control import Control
from tests.faulty_disk.vfs import FaultyVfs


class FaultyDisk:
    """A folder on a faulty disk.

    Args:
        folder: for the disk's folder, and for what is known of it.

    Attributes:
        control: the faults, and counts.
        place: the disk's folder.
        program: arguments of Python that run the command line with its state on this disk.
    """

    def __init__(self, folder: Path) -> None:
        self._synced = folder / "synced"
        self._synced.mkdir(parents=True, exist_ok=True)
        self.place = folder / "place"
        self.place.mkdir(exist_ok=True)
        self.control = Control(folder / "control")
        self.program = ("-m", "tests.faulty_disk", str(folder))

    def install(self) -> FaultyVfs:
        """Let this process have the disk; until then it has a sound one.

        Raises:
            NoLibrary: Python's SQLite cannot be found.
        """
        return FaultyVfs(self.control, self.place, self._synced)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The same for a time."""
        vfs = self.install()
        try:
            yield
        finally:
            vfs.remove()

    def cut_power(self) -> None:
        """Leave of the files what was synced; no process may have them open."""
        shutil.rmtree(self.place)
        shutil.copytree(self._synced, self.place)

    @contextmanager
    def after_power_cut(self) -> Iterator[Path]:
        """A folder with what a power cut would leave now, on a sound disk."""
        with TemporaryDirectory(dir=self.place.parent) as folder:
            yield Path(shutil.copytree(self._synced, folder, dirs_exist_ok=True))

    def clear(self) -> None:
        """Remove the files; none may be open."""
        for folder in (self.place, self._synced):
            shutil.rmtree(folder)
            folder.mkdir()
