"""What is printed: the machine, the table, and how it compares with what is wanted. Fits 80 columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from rich import box
from rich.table import Table

from tests.bench.cases import Case, Figures

_MAX_MEMORY = 200 * 2**20
_FULL_SPEED = 30_000  # calls/s of the bare server for which the wanted rate of grouped updates is stated
_GROUPED = 15_000  # updates/s wanted then


def machine_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return the machine's facts as two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    return table


def figures_table(results: Mapping[Case, Sequence[Figures]]) -> Table:
    """Return medians of the runs, and from which to which rate of updates they went."""
    table = _table("", "")
    for name in ("calls/s", "updates/s", "thousands\nfrom-to", "p50\nms", "p99\nms", "MiB", "not\n2xx"):
        table.add_column(name, justify="right", no_wrap=True)
    for case, runs in results.items():
        rates = [run.updates_per_second for run in runs]
        table.add_row(
            case.letter,
            case.name,
            f"{median(run.calls_per_second for run in runs):,.0f}",
            f"{median(rates):,.0f}",
            f"{min(rates) / 1000:.3g}-{max(rates) / 1000:.3g}",
            f"{median(run.p50_ms for run in runs):,.1f}",
            f"{median(run.p99_ms for run in runs):,.1f}",
            f"{_memory(runs) / 2**20:,.0f}",
            f"{sum(run.failed for run in runs):,}",
        )
    return table


def ratios_table(results: Mapping[Case, Sequence[Figures]]) -> Table:
    """Return each ratio, what is wanted of it, and whether it is reached."""
    table = _table("", "")
    for name in ("measured", "wanted", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for letters, name, measured, wanted, reached in _compare(results):
        table.add_row(letters, name, measured, wanted, "[green]yes[/]" if reached else "[red]no[/]")
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")


def _compare(results: Mapping[Case, Sequence[Figures]]) -> Iterator[tuple[str, str, str, str, bool]]:
    rate = {case.key: median(run.updates_per_second for run in runs) for case, runs in results.items()}
    for letters, name, one, other, wanted, digits in (
        ("c : a", "ours to the bare server", "ours", "bare", 0.20, 2),
        ("c : b", "ours to the usual handler, SQLite", "ours", "usual", 10, 1),
        ("d : d", "ours to the usual handler, PostgreSQL", "ours postgresql", "usual postgresql", 8, 1),
        ("e : a", "updates in groups to calls of the bare server", "ours grouped", "bare", _GROUPED / _FULL_SPEED, 2),
        ("f : c", "large database to an empty one", "ours large", "ours", 0.9, 2),
    ):
        if one not in rate or other not in rate:
            continue
        ratio = rate[one] / rate[other]
        yield letters, name, f"{ratio:.{digits}f}", f"{wanted:.{digits}f}", ratio >= wanted
    memory = max(_memory(runs) for case, runs in results.items() if case.service == "ours")
    yield "", "memory of ours at its peak, MiB", f"{memory / 2**20:.0f}", f"{_MAX_MEMORY / 2**20:.0f}", memory <= _MAX_MEMORY
    failed = sum(run.failed for runs in results.values() for run in runs)
    yield "", "answers other than 2xx", f"{failed}", "0", failed == 0


def _memory(runs: Sequence[Figures]) -> int:
    return max(run.memory_bytes for run in runs)
