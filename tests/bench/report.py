"""The tables that the benchmark prints. They fit 80 columns."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table


def make_table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """Return an empty table with columns of words, then columns of numbers."""
    table = Table(*words, box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def machine_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return the machine's facts as two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    return table


def write_milliseconds(value: float) -> str:
    """Return a duration with as many digits as say something, and as fit."""
    return f"{value:,.{1 if value < 1000 else 0}f}"
