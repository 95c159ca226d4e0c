"""Tables, lines and progress bars on a terminal, by rich."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import click
from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from receiver.cli._terminal import TableCell

_GAP = 2  # between columns
_MIN_WRAPPED = 8  # the width of a wrapped column below which the other columns are wrapped too


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[TableCell]], wrapped: Collection[str], numbers: Collection[str]
) -> None:
    """Print a table as `show_table` says."""
    cells = [[Text(*cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(map(Text, columns), *cells, strict=True)]
    wide = {column: width + _GAP for column, width in zip(columns, widths, strict=True) if column not in wrapped}
    fits = sum(wide.values()) + _MIN_WRAPPED * len(wrapped) <= measure_width()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        table.add_column(column, overflow="fold", no_wrap=column in wide and fits, justify=justify)
    for row in cells:
        table.add_row(*row)
    _print(table)


def print_pairs(pairs: Sequence[tuple[TableCell, TableCell]]) -> None:
    """Print names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(*name), Text(*value))
    _print(table)


def print_sentences(sentences: Sequence[str]) -> None:
    """Print sentences as a list, wrapped between words."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for sentence in sentences:
        table.add_row("-", Text(sentence))
    _print(table)


def print_line(cells: Sequence[tuple[TableCell, int]], last: TableCell) -> None:
    """Print cells in columns of fixed width, then `last`, cut to the width of the terminal."""
    line = Text()
    for cell, width in cells:
        text = Text(*cell)
        text.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(text).append(" ")
    line.append_text(Text(*last))
    line.truncate(measure_width(), overflow="ellipsis")
    _print(line)


def measure_width() -> int:
    """Return the width of the terminal, or the value of COLUMNS."""
    return Console().width


@contextmanager
def print_progress(label: str, total: int, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error. Give a function that advances it."""
    numbers = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), numbers, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda steps: progress.advance(task, steps)


def _print(what: RenderableType) -> None:
    """Print through click, which handles closed pipes and drops colours where there is no terminal."""
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(what, soft_wrap=isinstance(what, Text))
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
