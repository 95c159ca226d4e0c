"""How fast deliveries are stored: the bare server, two other handlers and ours, each as fast as it answers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import NamedTuple

from rich.table import Table

from tests.bench.databases import Place, Places
from tests.bench.driven_service import Benchmark
from tests.bench.load import Load
from tests.bench.report import make_table, write_milliseconds


class Case(NamedTuple):
    """One line of the table."""

    letter: str
    name: str
    kind: str
    on_postgresql: bool = False
    updates: int = 1
    is_large: bool = False
    is_living: bool = False

    @property
    def key(self) -> str:
        """What tells the cases apart, in words."""
        marks = {"postgresql": self.on_postgresql, "grouped": self.updates > 1, "large": self.is_large, "living": self.is_living}
        return " ".join([self.kind, *(word for word, holds in marks.items() if holds)])


class Figures(NamedTuple):
    """What one run of a case showed."""

    load: Load
    updates_per_second: float
    memory_bytes: int


Results = Mapping[Case, Sequence[Figures]]


def make_cases(large: int) -> list[Case]:
    """Return the cases in the order of the table."""
    return [
        Case("a", "bare server", "bare"),
        Case("b", "usual, SQLite", "usual"),
        Case("b", "Fastify, SQLite", "fastify"),
        Case("c", "ours, SQLite", "ours"),
        Case("d", "usual, PostgreSQL", "usual", on_postgresql=True),
        Case("d", "Fastify, PostgreSQL", "fastify", on_postgresql=True),
        Case("d", "ours, PostgreSQL", "ours", on_postgresql=True),
        Case("e", "ours, 100 a call", "ours", updates=100),
        Case("e", "  on PostgreSQL", "ours", updates=100, on_postgresql=True),
        Case("f", f"ours, {large / 1e6:g} M kept", "ours", is_large=True),
        Case("f", "  living parcels", "ours", is_large=True, is_living=True),
    ]


def measure(bench: Benchmark, rounds: int) -> Results:
    """Run all cases that can run in turn, and again: what disturbs the machine for a while disturbs all alike."""
    cases = [case for case in make_cases(bench.places.large) if bench.can_run(case.kind, on_postgresql=case.on_postgresql)]
    results: dict[Case, list[Figures]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            bench.tell(f"round {number + 1} of {rounds}: {case.name.strip()}")
            results[case].append(_run(bench, case))
    return results


def _run(bench: Benchmark, case: Case) -> Figures:
    with _place(bench.places, case) as place:
        if case.is_large:
            place.read_indexes()
        with bench.totals.drive(case.kind, place, case.updates) as driven:
            driven.warm_up()
            done = driven.send(bench.seconds)
        return Figures(done, done.rate * case.updates, driven.process.memory.peak_bytes)


def _place(places: Places, case: Case) -> AbstractContextManager[Place]:
    if case.is_large:
        place = places.filled(on_postgresql=case.on_postgresql)
        return nullcontext(place.with_living() if case.is_living else place)
    return places.fresh(on_postgresql=case.on_postgresql)


def make_figures_table(results: Results) -> Table:
    """Return medians of the runs, and the lowest and highest rate of messages."""
    names = ("calls/s", "updates/s", "thousands\nfrom-to", "p50\nms", "p99\nms", "MiB", "not\n2xx")
    table = make_table(("", ""), names)
    for case, runs in results.items():
        rates = [run.updates_per_second for run in runs]
        table.add_row(
            case.letter,
            case.name,
            f"{median(run.load.rate for run in runs):,.0f}",
            f"{median(rates):,.0f}",
            f"{_thousands(min(rates))}-{_thousands(max(rates))}",
            write_milliseconds(median(run.load.p50_ms for run in runs)),
            write_milliseconds(median(run.load.p99_ms for run in runs)),
            f"{max(run.memory_bytes for run in runs) / 2**20:,.0f}",
            f"{sum(run.load.failed for run in runs):,}",
        )
    return table


def _thousands(rate: float) -> str:
    return f"{rate / 1000:.{1 if rate >= 1000 else 2}f}"


_RATIOS = {
    "ours/bare sqlite": ("ours", "bare"),
    "ours/usual sqlite": ("ours", "usual"),
    "ours/fastify sqlite": ("ours", "fastify"),
    "ours/bare postgresql": ("ours postgresql", "bare"),
    "ours/usual postgresql": ("ours postgresql", "usual postgresql"),
    "ours/fastify postgresql": ("ours postgresql", "fastify postgresql"),
    "grouped/bare": ("ours grouped", "bare"),
    "large/empty": ("ours large", "ours"),
    "living/empty": ("ours large living", "ours"),
}


def read_figures(results: Results) -> Iterator[tuple[str, float]]:
    """Give the ratios of the report, of the medians of messages a second."""
    rate = {case.key: median(run.updates_per_second for run in runs) for case, runs in results.items()}
    for name, (one, other) in _RATIOS.items():
        if one in rate and rate.get(other):
            yield name, rate[one] / rate[other]
