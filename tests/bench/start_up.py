"""`python -m tests.bench.start_up` prints the CPU time of commands beside that of the library that each cannot do without."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.page import write_table
from tests.harness.service import environment
from tests.harness.storage import make_tables

TITLE = "Start of commands"
_ROUNDS = 15
_CASES = (
    (("--version",), "click"),
    (("--help",), "click"),
    (("completion of a command",), "click"),
    (("trackers", "list"), "sqlalchemy"),
    (("deliveries", "list"), "sqlalchemy"),
    (("stats",), "sqlalchemy"),
)


class Started(NamedTuple):
    """A command, a library, and the CPU seconds of both: the least of all rounds, which is least disturbed by other work."""

    words: str
    library: str
    command_seconds: float
    library_seconds: float


def measure(folder: Path, rounds: int) -> list[Started]:
    """Run each command and the import of its library in turn, on an empty SQLite database."""
    make_tables(url := f"sqlite:///{folder}/receiver.db")
    env = environment(url)
    asked = env | {"_RECEIVER_COMPLETE": "bash_complete", "COMP_WORDS": "receiver de", "COMP_CWORD": "1"}
    found = []
    for words, library in _CASES:
        completes = words[0].startswith("completion ")
        command = [sys.executable, "-m", "receiver", *(() if completes else words)]
        seconds = [
            (
                _cpu_of(command, folder, asked if completes else env),
                _cpu_of([sys.executable, "-c", f"import {library}"], folder, env),
            )
            for _ in range(rounds)
        ]
        ours, theirs = map(min, zip(*seconds, strict=True))
        found.append(Started(" ".join(words), library, ours, theirs))
    return found


def _cpu_of(command: Sequence[str], folder: Path, env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_table(found: Sequence[Started]) -> Table:
    """Return the table of the report."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("command")
    table.add_column("CPU ms", justify="right")
    table.add_column("import of")
    table.add_column("CPU ms", justify="right")
    table.add_column("times", justify="right")
    for each in found:
        times = f"{each.command_seconds / each.library_seconds:.1f}"
        table.add_row(each.words, f"{each.command_seconds * 1e3:.0f}", each.library, f"{each.library_seconds * 1e3:.0f}", times)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--write", action="store_true", help="write the table into the page Benchmarks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="receiver-start-") as name:
        table = make_table(measure(Path(name), options.rounds))
    told = f"least of {options.rounds} runs each; busy before: {os.getloadavg()[0]:.1f} processes"
    Console(highlight=False).print(table, told, sep="\n")
    if options.write:
        write_table(TITLE, table, told)


if __name__ == "__main__":
    main()
