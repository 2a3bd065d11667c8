"""Change the sources as each mutant says, in a copy, and run the test that must notice: `make mutants`.

First each of these tests must pass on the sources as they are. Prints a table; exits 1 if a mutant survives,
and 2 if a change does not fit the sources any more, or a test fails without one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import SIM, WHOLE, Mutant
from tests.sim.world import FAST

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("stream_lstm", "tests", "pyproject.toml")
SEEDS = 300
LIMIT_SECONDS = 600.0
FAILED = re.compile(r"^(seed \d+: .*|FAILED .*|ERROR .*)$", re.MULTILINE)


class Misfit(Exception):
    """A mutant's change does not fit the sources."""


def mutated(mutant: Mutant) -> dict[str, str]:
    """The files that a mutant changes, and their new content.

    Raises:
        Misfit: an old text does not stand exactly once in its file, or the result is not Python.
    """
    contents: dict[str, str] = {}
    for change in mutant.changes:
        content = contents.get(change.file) or (ROOT / "stream_lstm" / change.file).read_text("utf-8")
        if (count := content.count(change.old)) != 1:
            raise Misfit(f"{mutant.name}: {change.file} has {change.old!r} {count} times, not once")
        contents[change.file] = content.replace(change.old, change.new)
    for file, content in contents.items():
        try:
            compile(content, file, "exec")
        except SyntaxError as error:
            raise Misfit(f"{mutant.name}: {file} is not Python: {error}") from None
    return contents


def copy(place: Path, contents: dict[str, str]) -> None:
    """Copy package and tests, with these changes."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place / name)
    for file, content in contents.items():
        (place / "stream_lstm" / file).write_text(content, "utf-8")


def command(catcher: str, *, seeds: int, place: Path) -> list[str]:
    """The command that runs a catcher."""
    if catcher in (SIM, WHOLE):
        kind = ["--whole"] if catcher == WHOLE else []
        return ["tests.sim", "--first", "--seeds", str(seeds), "--place", str(place), *kind]
    return ["pytest", "--exitfirst", "-p", "no:cacheprovider", *catcher.split()]


def run(arguments: Sequence[str], place: Path, *, limit_seconds: float) -> tuple[int | None, str, str]:
    """Run a command on a copy; returns its exit status, None after the limit, and its outputs."""
    environment = os.environ | {"PYTHONPATH": str(place)}
    with subprocess.Popen(
        arguments,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # its workers end with it
    ) as running:
        try:
            out, errors = running.communicate(timeout=limit_seconds)
        except BaseException as error:
            os.killpg(running.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None, "", ""
            raise
    return running.returncode, out, errors


def tried(mutant: Mutant, *, seeds: int, limit_seconds: float) -> tuple[bool, str]:
    """Run a mutant's catcher; returns True and how it was caught, or False and why it was not."""
    contents = mutated(mutant)
    with TemporaryDirectory(prefix="mutant-", dir=FAST) as folder:
        place = Path(folder)
        copy(place, contents)
        (place / "worlds").mkdir()
        arguments = [sys.executable, "-m", *command(mutant.catcher, seeds=seeds, place=place / "worlds")]
        begun = time.monotonic()
        code, out, errors = run(arguments, place, limit_seconds=limit_seconds)
        seconds = time.monotonic() - begun
        found = FAILED.search(out)
    if code is None:
        return False, f"no result within {limit_seconds:g} s"
    if code == 0:
        return False, f"{seconds:.0f} s"
    if not found:
        raise Misfit(f"{mutant.name}: {' '.join(arguments)} ended with {code}\n{out}\n{errors}")
    return True, f"{seconds:.0f} s, {found.group().replace(folder, '')}"


def check_unchanged(mutants: Sequence[Mutant], *, seeds: int, limit_seconds: float) -> None:
    """Check that each catcher of these passes without a change.

    Raises:
        Misfit: one does not.
    """
    for catcher in dict.fromkeys(mutant.catcher for mutant in mutants):
        failed, how = tried(Mutant("no change", "", catcher, ()), seeds=seeds, limit_seconds=limit_seconds)
        print(f"{'no change':40} {catcher:28} {how}", flush=True)
        if failed or "no result" in how:
            raise Misfit(f"{catcher} does not pass on the sources as they are: {how}")


def chosen(words: Sequence[str]) -> list[Mutant]:
    """The mutants whose names contain one of these words; all without words."""
    return [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of the names of the mutants to run (all)")
    parser.add_argument("--list", action="store_true", help="list them, and check that their changes fit")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"worlds at most ({SEEDS})")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for one mutant at most")
    options = parser.parse_args()
    survived = 0
    try:
        if not options.list:
            check_unchanged(chosen(options.words), seeds=options.seeds, limit_seconds=options.limit)
        for mutant in chosen(options.words):
            if options.list:
                mutated(mutant)
                print(f"{mutant.name:40} {mutant.catcher:28} {mutant.meaning}")
                continue
            caught, how = tried(mutant, seeds=options.seeds, limit_seconds=options.limit)
            survived += not caught
            print(
                f"{mutant.name:40} {mutant.catcher:28} {how if caught else f'SURVIVED ({how})'}", flush=True
            )
    except Misfit as misfit:
        print(misfit, file=sys.stderr)
        return 2
    if not options.list:
        print(f"{len(chosen(options.words))} mutants, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
