"""`python -m tests.bench` prints the benchmark; see its `--help` for single sections and shorter runs."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.console import Console

from tests.bench import (
    backup_latency,
    claims,
    cluster,
    cost,
    held_loop,
    machine,
    peers,
    query_latency,
    same_rows,
    steady_rate,
    sync_cost,
    throughput,
)
from tests.bench.cluster import BenchCluster
from tests.bench.cost import Extent
from tests.bench.databases import Places
from tests.bench.driven_service import Benchmark, Totals
from tests.bench.goals import find_missing, make_goals_table
from tests.bench.load import CONNECTIONS
from tests.bench.page import write_table
from tests.bench.report import machine_table
from tests.harness.postgresql import find_binaries

_DATA = Path(__file__).parents[2] / "data"
SECTIONS = {
    "cases": "how fast deliveries are stored, beside the bare server and other handlers",
    "syncs": "the same with slower syncs of the disk",
    "rates": "latency at a steady rate",
    "beside": "queries of operators, beside deliveries",
    "backup": "latency at 100 deliveries a second, beside a backup of 2 GB",
    "claims": "how long a relay's claim takes, with many changes behind failed ones",
    "loop": "how long the largest allowed calls hold up others",
    "cost": "what a million messages cost: CPU, disk, network",
    "questions": "queries of operators alone; only if it is named",
}
_UNASKED = tuple(name for name in SECTIONS if name != "questions")


class Size(NamedTuple):
    """How much: rounds of the cases, seconds of a run, messages of a large database, how often each query and claim is made.

    `waiting` are changes behind failed ones, `largest` is how often each of the largest calls is sent, `delays_ms` are those of a
    sync (None: without strace).
    """

    rounds: int
    seconds: int
    large: int
    times: int
    waiting: int
    largest: int
    delays_ms: tuple[int | None, ...]
    cost: Extent


_WHOLE = Size(
    rounds=3,
    seconds=6,
    large=10_000_000,
    times=200,
    waiting=200_000,
    largest=5,
    delays_ms=(None, 0, 2, 10),
    cost=Extent(kept=500_000, together=30_000, together_seconds=4, alone=4_000, alone_seconds=8),
)
_QUICK = Size(
    rounds=1,
    seconds=2,
    large=50_000,
    times=10,
    waiting=2_000,
    largest=1,
    delays_ms=(None, 2),
    cost=Extent(kept=10_000, together=100, together_seconds=1, alone=10, alone_seconds=1),
)


class Report:
    """Prints the results of the sections, and collects the figures of the report. `sync` says how long one took before.

    `on_page`: also write the tables into the documentation.
    """

    def __init__(self, console: Console, bench: Benchmark, size: Size, sync: str, *, on_page: bool) -> None:
        self._console = console
        self._on_page = on_page
        self._bench = bench
        self._size = size
        self._sync = sync
        self._began = monotonic()
        self._figures: dict[str, float] = {}

    def cases(self) -> None:
        same_rows.compare(self._bench)
        results = throughput.measure(self._bench, self._size.rounds)
        runs = f"{CONNECTIONS} connections, {self._size.rounds} rounds of {self._size.seconds} s each"
        self._show("Full speed", f"{runs}; medians, highest memory, all failures", throughput.make_figures_table(results))
        self._figures |= throughput.read_figures(results)
        self._figures["memory"] = self._bench.totals.peak_bytes / 2**20

    def syncs(self) -> None:
        lines = sync_cost.measure(self._bench, self._size.delays_ms)
        told = f"{CONNECTIONS} connections, {self._size.seconds} s each; + 2 ms: every sync takes so much longer"
        self._show("What a sync costs", told, sync_cost.make_syncs_table(lines))

    def rates(self) -> None:
        lines = steady_rate.measure(self._bench)
        halt = f"halted: for {steady_rate.HALT_SECONDS * 1000:g} ms"
        told = f"{self._size.seconds} s each, from the moment at which a delivery was due; {halt}"
        self._show("Steady rates", told, steady_rate.make_pacing_table(lines))
        self._figures |= steady_rate.read_figures(lines)

    def beside(self) -> None:
        results = query_latency.measure_beside(self._bench, self._size.times)
        told = f"{self._asked()}, beside deliveries at half of full speed; slowest: p99 of the slowest query"
        self._show(
            "Queries of operators, beside deliveries",
            told,
            query_latency.make_groups_table(results),
            *query_latency.describe(results),
        )
        self._figures |= query_latency.read_figures(results)

    def backup(self) -> None:
        rounds = backup_latency.measure(self._bench, self._size.rounds)
        told = f"SQLite, {backup_latency.RATE:g} deliveries a second; from the moment at which a delivery was due"
        self._show("Beside a backup", told, backup_latency.make_backup_table(rounds))
        self._figures |= backup_latency.read_figures(rounds)

    def claims(self) -> None:
        lines = claims.measure(self._bench, self._size.waiting, self._size.times)
        told = f"{claims.AT_ONCE} changes each, in a transaction of its own with its commit"
        self._show("Claims behind failed changes", told, claims.make_claims_table(lines))
        self._figures |= claims.read_figures(lines)

    def loop(self) -> None:
        lines = held_loop.measure(self._bench, self._size.largest)
        told = "SQLite; how long /healthz is not answered while the call is sent and decided"
        self._show("The largest allowed calls", told, held_loop.make_loop_table(lines))
        self._figures |= held_loop.read_figures(lines)

    def cost(self) -> None:
        costs = cost.measure(self._bench.places.directory, self._size.cost, self._bench.tell)
        self._show("Cost of a million messages", "", cost.make_cost_table(costs), cost.describe(costs, self._size.cost))
        self._figures |= cost.read_figures(costs)

    def questions(self) -> None:
        results = query_latency.measure_alone(self._bench, self._size.times)
        self._show(
            "Queries of operators", self._asked(), query_latency.make_questions_table(results), *query_latency.describe(results)
        )

    def finish(self, sections: Sequence[str]) -> None:
        """Print the report of these sections. Only that of all of them goes on the page.

        Raises SystemExit where everything has to be measured (CI=true) and a figure is missing.
        """
        totals = self._bench.totals
        self._figures["failed"] = totals.failed
        table = make_goals_table(self._figures, sections, self._size.large)
        self._on_page = self._on_page and {*sections} >= {*_UNASKED}
        told = f"this run took {(monotonic() - self._began) / 60:.0f} minutes; a sync: {self._sync}"
        self._show("Report", told, table)
        missing = find_missing(self._figures, sections)
        if missing and os.environ.get("CI") == "true":
            raise SystemExit(f"not measured: {', '.join(missing)}")

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
            report = Report(console, bench, size, dict(facts)["sync"], on_page=given.write)
            sections = given.sections or _UNASKED
            for section in sections:
                run: Callable[[], None] = getattr(report, section)
                run()
        report.finish(sections)


def _read_arguments() -> argparse.Namespace:
    description = "Measure how fast deliveries are stored and operators answered. Takes about 45 minutes and 60 GB of disk."
    sections = "\n".join(f"  {name:10} {told}" for name, told in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=description,
        epilog=f"sections:\n{sections}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", choices=[*SECTIONS, []], help="what to measure (all but one)")
    parser.add_argument(
        "--quick", action="store_true", help=f"one short round, and databases of {_QUICK.large / 1e6:g} M messages"
    )
    parser.add_argument("--rounds", type=int, help=f"how often each case is run ({_WHOLE.rounds})")
    parser.add_argument("--seconds", type=int, help=f"how long each run is measured ({_WHOLE.seconds})")
    parser.add_argument("--large", type=float, metavar="MILLIONS", help=f"messages of a large database ({_WHOLE.large / 1e6:g})")
    parser.add_argument("--times", type=int, help=f"how often each query and claim is made ({_WHOLE.times})")
    parser.add_argument("--directory", type=Path, default=_DATA, help="where databases are made and removed (data)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/explanation/benchmarks.md, too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the large databases stay for the next run")
    given = parser.parse_args()
    if given.write and given.quick:
        parser.error("--write needs a whole run: leave out --quick")
    return given


def _read_size(given: argparse.Namespace) -> Size:
    size = _QUICK if given.quick else _WHOLE
    return size._replace(
        rounds=given.rounds or size.rounds,
        seconds=given.seconds or size.seconds,
        large=round(given.large * 1e6) if given.large else size.large,
        times=given.times or size.times,
    )


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
