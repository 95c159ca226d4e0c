"""The table of faults. It fits 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from tests.faults.scenario import Result

LEGEND = (
    "sent, 2xx: messages, each copy and repetition counted; lost: answered 2xx and not there; "
    "doubled: more than one effect; back: seconds from the end of the fault to the next 2xx"
)


def results_table(results: Sequence[Result], failed: Sequence[str], lacking: Sequence[str]) -> Table:
    """Return one row for each fault, those that could not be tried or that broke the suite included."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("fault", max_width=34)
    table.add_column("database", no_wrap=True)
    for name in ("sent", "2xx", "lost", "doubled", "back"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_cells(result))
    for name in failed:
        table.add_row(name, "[red]failed[/]")
    for name in lacking:
        table.add_row(name, "[yellow]not tried[/]")
    return table


def notes(results: Sequence[Result]) -> list[str]:
    """Return what scenarios have to say beside their figures."""
    return [f"{result.fault}: {result.note}" for result in results if result.note]


def _cells(result: Result) -> list[str]:
    bad = "{}" if result.is_good else "[red]{}[/]"
    return [
        result.fault,
        result.database,
        f"{result.sent:,}",
        f"{result.answered:,}",
        bad.format(f"{result.lost:,}"),
        bad.format(f"{result.doubled:,}"),
        "" if result.recovery_seconds is None else f"{result.recovery_seconds:.1f}",
    ]
