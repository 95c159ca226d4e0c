"""`python -m tests.bench` prints the benchmark; `--quick` one short round of it; `--queries` what operators ask alone."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.bench import machine, queries, report
from tests.bench.cases import Case, Figures, Runner
from tests.bench.load import CONNECTIONS
from tests.harness.postgresql import Cluster, find_binaries

_DATA = Path(__file__).parents[2] / "data"


def main() -> None:
    description = "Measure how fast calls are kept and operators answered. Takes about a quarter of an hour and 10 GB of disk."
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=description)
    parser.add_argument("--quick", action="store_true", help="one short round, and a large database of 0.1 M messages")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is run (3)")
    parser.add_argument("--seconds", type=int, default=6, help="how long each run is measured (6)")
    parser.add_argument("--directory", type=Path, default=_DATA, help="where the databases are made and removed (data)")
    parser.add_argument("--queries", action="store_true", help="only what operators ask of the large databases")
    given = parser.parse_args()
    rounds, seconds, large = (1, 2, 100_000) if given.quick else (given.rounds, given.seconds, 3_000_000)
    console = Console(highlight=False)
    with _workplace(given.directory) as directory, _postgresql(directory) as cluster:
        console.print(report.machine_table(machine.describe(directory)))
        if not given.queries:
            _keep(console, Runner(directory, cluster, seconds), rounds, large, with_postgresql=cluster is not None)
        _ask(console, directory / f"large-{large}", cluster, large, times=30 if given.quick else 300)


def _keep(console: Console, runner: Runner, rounds: int, large: int, *, with_postgresql: bool) -> None:
    """Measure how fast calls are kept."""
    cases = [case for case in make_cases(large) if with_postgresql or not case.on_postgresql]
    results = _measure(console, runner, cases, rounds)
    console.print(report.figures_table(results))
    figures = f"{CONNECTIONS} connections, {rounds} rounds of {runner.seconds} s each"
    console.print(f"{figures}; medians, memory and failures of all rounds\n")
    console.print(report.ratios_table(results))


def _ask(console: Console, directory: Path, cluster: Cluster | None, large: int, times: int) -> None:
    """Measure how fast operators are answered; the database is that of the large case, or made as there."""
    with console.status("questions: the large databases"):
        urls = queries.make_databases(directory, cluster, large)
        results = queries.run(urls, times)
    console.print(queries.times_table(results))
    console.print(
        f"{large / 1e6:g} M messages, each question {times} times with other parameters; wanted: {queries.WANTED_MS:g} ms"
    )


def make_cases(large: int) -> list[Case]:
    """Return what is measured, in the order of the table."""
    return [
        Case("a", "bare server", "bare"),
        Case("b", "usual, SQLite", "usual"),
        Case("c", "ours, SQLite", "ours"),
        Case("d", "usual, PostgreSQL", "usual", on_postgresql=True),
        Case("d", "ours, PostgreSQL", "ours", on_postgresql=True),
        Case("e", "ours, 100 a call", "ours", updates=100),
        Case("f", f"ours, {large / 1e6:g} M kept", "ours", large=large),
    ]


def _measure(console: Console, runner: Runner, cases: list[Case], rounds: int) -> dict[Case, list[Figures]]:
    """Run all cases in turn, and again: what disturbs the machine for a while disturbs all alike."""
    results: dict[Case, list[Figures]] = {case: [] for case in cases}
    with console.status("") as status:
        for number in range(rounds):
            for case in cases:
                status.update(f"round {number + 1} of {rounds}: {case.name}")
                results[case].append(runner.run(case))
    return results


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=parent.resolve()))
    directory.chmod(0o755)  # PostgreSQL runs under its own account
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def _postgresql(directory: Path) -> Iterator[Cluster | None]:
    """Run a server below `directory`, or where its account can reach it; none where PostgreSQL is not installed."""
    if find_binaries() is None:
        sys.stderr.write("PostgreSQL is not installed: its cases are left out\n")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory if _is_open(directory) else "/var/tmp") as place:
        Path(place).chmod(0o755)
        cluster = Cluster.create(Path(place) / "postgresql")
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _is_open(directory: Path) -> bool:
    """Tell whether other accounts can reach a folder: as root, the server runs under its own."""
    return os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents))


if __name__ == "__main__":
    main()
