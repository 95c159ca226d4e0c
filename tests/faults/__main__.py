"""`python -m tests.faults` makes every fault and prints the table; exit code 1 if anything was lost or doubled."""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.text import Text

from tests.bench import machine
from tests.bench.page import write_table
from tests.bench.report import machine_table
from tests.faults import report
from tests.faults.scenario import LONG, SHORT, Lacking, Result, Scenario, Size
from tests.faults.suite import LONG_SCENARIOS, SCENARIOS

_DATA = Path(__file__).parents[2] / "data"


class Course:
    """Runs scenarios one after the other and says on stderr how it goes."""

    def __init__(self, directory: Path, size: Size) -> None:
        self.results: list[Result] = []
        self.failed: list[str] = []
        self.lacking: list[str] = []
        self._begun = 0
        self._directory = directory
        self._size = size

    def run(self, name: str, scenario: Scenario) -> None:
        """Run one scenario in its own directory. An exception is printed and does not stop the others."""
        place = self._directory / f"{self._begun:02}"
        self._begun += 1
        place.mkdir(mode=0o755)
        began = monotonic()
        try:
            self.results.append(result := scenario(place, self._size))
            told = f"sent {result.sent}, 2xx {result.answered}, lost {result.lost}, doubled {result.doubled}"
        except Lacking as reason:
            self.lacking.append(name)
            told = f"NOT TRIED: {reason}"
        except Exception:
            self.failed.append(name)
            told = f"FAILED\n{traceback.format_exc()}"
        finally:
            shutil.rmtree(place, ignore_errors=True)
        sys.stderr.write(f"{name}: {told} ({monotonic() - began:.0f} s)\n")
        sys.stderr.flush()

    @property
    def is_good(self) -> bool:
        """Tell whether every fault that could be tried was survived."""
        return not self.failed and all(result.is_good for result in self.results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Make every fault under load. Takes minutes.")
    parser.add_argument("--short", action="store_true", help="a second or so of each, as the tests do")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/benchmarks.md, too")
    parser.add_argument("--directory", type=Path, default=_DATA, help="where the databases are made and removed (data)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only faults with this in their name")
    given = parser.parse_args()
    if given.write and (given.short or given.names):
        parser.error("--write needs a whole run: leave out --short and names")
    console = Console(highlight=False, width=80)
    with _workplace(given.directory) as directory:
        facts = list(machine.describe(directory))
        course = Course(directory, SHORT if given.short else LONG)
        for name, scenario in _choose(SCENARIOS if given.short else SCENARIOS | LONG_SCENARIOS, given.names):
            course.run(name, scenario)
    _print(console, course, facts)
    if given.write:
        write_table("Faults", *_parts(course), "", machine_table(facts))
    return 0 if course.is_good else 1


def _print(console: Console, course: Course, facts: Sequence[tuple[str, str]]) -> None:
    console.print(machine_table(facts))
    console.print()
    for part in _parts(course):
        console.print(part)


def _parts(course: Course) -> list[object]:
    """Return the table, its legend and the notes."""
    notes = [Text(note, style="dim") for note in (report.LEGEND, *report.notes(course.results))]
    return [report.results_table(course.results, course.failed, course.lacking), *notes]


def _choose(scenarios: Mapping[str, Scenario], names: Sequence[str]) -> list[tuple[str, Scenario]]:
    """Return the scenarios whose names have one of these words in them; all if there are none."""
    return [pair for pair in scenarios.items() if not names or any(name.lower() in pair[0].lower() for name in names)]


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="faults-", dir=parent.resolve()))
    directory.chmod(0o755)  # PostgreSQL runs under its own account
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
