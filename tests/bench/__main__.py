"""`python -m tests.bench` prints the benchmark; see its `--help` for single sections and shorter runs."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from tests.bench import backup_latency, cluster, machine, peers, query_latency, same_rows, steady_rate, sync_cost, throughput
from tests.bench.cluster import BenchCluster
from tests.bench.databases import Places
from tests.bench.driven_service import Benchmark, Totals
from tests.bench.figures import Goal
from tests.bench.load import CONNECTIONS
from tests.bench.page import write_table
from tests.bench.report import machine_table, make_goals_table
from tests.harness.postgresql import find_binaries

_DATA = Path(__file__).parents[2] / "data"
_MAX_MEMORY_MIB = 200
_SECTIONS = {
    "cases": "how fast deliveries are stored, beside the bare server and a usual handler",
    "syncs": "the same with slower syncs of the disk",
    "rates": "latency at a steady rate",
    "beside": "queries of operators, beside deliveries",
    "backup": "latency at 100 deliveries a second, beside a backup of 2 GB",
    "questions": "queries of operators alone; only if it is named",
}
_UNASKED = ("cases", "syncs", "rates", "beside", "backup")


class Size(NamedTuple):
    """How much: rounds of the cases, seconds of a run, messages of a large database, how often each query is made."""

    rounds: int
    seconds: int
    large: int
    times: int


_WHOLE = Size(rounds=3, seconds=6, large=10_000_000, times=200)
_QUICK = Size(rounds=1, seconds=2, large=100_000, times=30)


class Report:
    """Prints the results of the sections, and collects the goals. `on_page`: also write the tables into the documentation."""

    def __init__(self, console: Console, bench: Benchmark, size: Size, *, on_page: bool) -> None:
        self._console = console
        self._on_page = on_page
        self._bench = bench
        self._size = size
        self.goals: list[Goal] = []

    def cases(self) -> None:
        same_rows.compare(self._bench)
        results = throughput.measure(self._bench, self._size.rounds)
        runs = f"{CONNECTIONS} connections, {self._size.rounds} rounds of {self._size.seconds} s each"
        self._show("Full speed", f"{runs}; medians, highest memory, all failures", throughput.make_figures_table(results))
        self.goals += throughput.make_goals(results)

    def syncs(self) -> None:
        lines = sync_cost.measure(self._bench)
        told = f"{CONNECTIONS} connections, {self._size.seconds} s each; + 2 ms: every sync takes so much longer"
        self._show("What a sync costs", told, sync_cost.make_syncs_table(lines))

    def rates(self) -> None:
        lines = steady_rate.measure(self._bench)
        halt = f"halted: for {steady_rate.HALT_SECONDS * 1000:g} ms"
        told = f"{self._size.seconds} s each, from the moment at which a delivery was due; {halt}"
        self._show("Steady rates", told, steady_rate.make_pacing_table(lines))
        self.goals += steady_rate.make_goals(lines)

    def beside(self) -> None:
        results = query_latency.measure_beside(self._bench, self._size.times)
        told = f"{self._asked()}, beside deliveries at half of full speed; slowest: p99 of the slowest query"
        self._show(
            "Queries of operators, beside deliveries",
            told,
            query_latency.make_groups_table(results),
            *query_latency.describe(results),
        )
        self.goals += query_latency.make_goals(results)

    def backup(self) -> None:
        rounds = backup_latency.measure(self._bench)
        told = f"SQLite, {backup_latency.RATE:g} deliveries a second; from the moment at which a delivery was due"
        self._show("Beside a backup", told, backup_latency.make_backup_table(rounds))
        self.goals += backup_latency.make_goals(rounds)

    def questions(self) -> None:
        results = query_latency.measure_alone(self._bench, self._size.times)
        self._show(
            "Queries of operators", self._asked(), query_latency.make_questions_table(results), *query_latency.describe(results)
        )

    def finish(self) -> None:
        """Print the goals beside the measured values."""
        totals = self._bench.totals
        if totals.peak_bytes:
            self.goals.append(Goal("peak memory of ours, MiB", totals.peak_bytes / 2**20, _MAX_MEMORY_MIB))
        self.goals.append(Goal("answers other than 2xx, in all runs", totals.failed, 0))
        self._show("Goals", "", make_goals_table(self.goals))

    def _asked(self) -> str:
        return f"{self._size.large / 1e6:g} M messages, each query {self._size.times} times with other parameters"

    def _show(self, title: str, told: str, *parts: object) -> None:
        self._console.print(f"\n[bold]{title}[/]")
        if told:
            self._console.print(told)
        for part in parts:
            self._console.print(part)
        if self._on_page:
            write_table(title, title, *([told] if told else []), *parts)


def main() -> None:
    given = _read_arguments()
    size = _read_size(given)
    console = Console(highlight=False)
    with ExitStack() as stack:
        directory = stack.enter_context(_workplace(given.directory))
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
        server = stack.enter_context(_postgresql((given.keep or directory).resolve(), kept=given.keep is not None))
        facts = list(machine.describe(directory))
        console.print(machine_table(facts))
        if given.write:
            write_table("Machine", machine_table(facts))
        places = Places(directory, server, size.large, given.keep and given.keep.resolve())
        with console.status("") as status:
            bench = Benchmark(places, Totals(), size.seconds, status.update, _has_fastify())
            report = Report(console, bench, size, on_page=given.write)
            for section in given.sections or _UNASKED:
                run: Callable[[], None] = getattr(report, section)
                run()
        report.finish()


def _read_arguments() -> argparse.Namespace:
    description = "Measure how fast deliveries are stored and operators answered. Takes about 25 minutes and 60 GB of disk."
    sections = "\n".join(f"  {name:10} {told}" for name, told in _SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=description,
        epilog=f"sections:\n{sections}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", choices=[*_SECTIONS, []], help="what to measure (all but one)")
    parser.add_argument("--quick", action="store_true", help="one short round, and large databases of 0.1 M messages")
    parser.add_argument("--rounds", type=int, help=f"how often each case is run ({_WHOLE.rounds})")
    parser.add_argument("--seconds", type=int, help=f"how long each run is measured ({_WHOLE.seconds})")
    parser.add_argument("--large", type=float, metavar="MILLIONS", help=f"messages of a large database ({_WHOLE.large / 1e6:g})")
    parser.add_argument("--times", type=int, help=f"how often each query is made ({_WHOLE.times})")
    parser.add_argument("--directory", type=Path, default=_DATA, help="where databases are made and removed (data)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/explanation/benchmarks.md, too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the large databases stay for the next run")
    given = parser.parse_args()
    if given.write and given.quick:
        parser.error("--write needs a whole run: leave out --quick")
    return given


def _read_size(given: argparse.Namespace) -> Size:
    size = _QUICK if given.quick else _WHOLE
    large = round(given.large * 1e6) if given.large else size.large
    return Size(given.rounds or size.rounds, given.seconds or size.seconds, large, given.times or size.times)


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=parent.resolve()))
    directory.chmod(0o755)  # PostgreSQL runs under its own account
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _has_fastify() -> bool:
    if (obstacle := peers.find_obstacle()) is not None:
        sys.stderr.write(f"{obstacle}: the lines of Fastify are missing\n")
    return obstacle is None


@contextmanager
def _postgresql(directory: Path, *, kept: bool) -> Iterator[BenchCluster | None]:
    """Run a server, unless PostgreSQL is not installed."""
    if find_binaries() is None:
        sys.stderr.write("PostgreSQL is not installed: its cases are left out\n")
        yield None
        return
    with cluster.running(directory, kept=kept) as server:
        yield server


if __name__ == "__main__":
    main()
