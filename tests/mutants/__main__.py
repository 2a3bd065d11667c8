"""Change the sources as each mutant says, in a copy, and run the test that must notice: `make mutants`.

Prints a table; exits 1 if a mutant survives, and 2 if a change does not fit the sources any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
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


def tried(mutant: Mutant, *, seeds: int, limit_seconds: float) -> tuple[bool, str]:
    """Run a mutant's catcher; returns True and how it was caught, or False and why it was not."""
    contents = mutated(mutant)
    with TemporaryDirectory(prefix="mutant-", dir=FAST) as folder:
        place = Path(folder)
        copy(place, contents)
        (place / "worlds").mkdir()
        arguments = [sys.executable, "-m", *command(mutant.catcher, seeds=seeds, place=place / "worlds")]
        environment = os.environ | {"PYTHONPATH": folder}
        begun = time.monotonic()
        try:
            result = subprocess.run(
                arguments, cwd=place, env=environment, capture_output=True, text=True, timeout=limit_seconds
            )
        except subprocess.TimeoutExpired:
            return False, f"no result within {limit_seconds:g} s"
        seconds = time.monotonic() - begun
        found = FAILED.search(result.stdout)
    if result.returncode == 0:
        return False, f"{seconds:.0f} s"
    if not found:
        raise Misfit(f"{mutant.name}: {' '.join(arguments)} ended with {result.returncode}\n{result.stderr}")
    return True, f"{seconds:.0f} s, {found.group().replace(folder, '')}"


def chosen(words: Sequence[str]) -> list[Mutant]:
    """The mutants whose names contain one of these words; all without words."""
    return [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of the names of the mutants to run (all)")
    parser.add_argument("--list", action="store_true", help="list them, and check that their changes fit")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help=f"worlds for the simulator at most ({SEEDS})"
    )
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for one mutant at most")
    options = parser.parse_args()
    survived = 0
    try:
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
