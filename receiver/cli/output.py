"""How commands show things: tables for people, JSON for programs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import click
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = {
    "applied": "green",
    "accepted": "green",
    "ok": "green",
    "stale": "yellow",
    "duplicate": "cyan",
    "recorded": "blue",
    "warn": "yellow",
    "quarantined": "red",
    "refused": "red",
    "unreadable": "red",
    "failed": "red",
    "fail": "red",
}


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def brief(moment: str) -> str:
    """Return an ISO moment to the second, without its T."""
    return moment[:19].replace("T", " ")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], wrapped: Collection[str] = ()) -> None:
    """Print rows under their column names; outcomes in their colour. What came from outside is never taken for markup.

    The columns in `wrapped` give way where the terminal is narrow; the others stay whole.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=bool(wrapped) and column not in wrapped)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console(highlight=False).print(table)


def show_pairs(pairs: Mapping[str, object]) -> None:
    """Print names and values, one pair a line; empty ones are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        if value not in (None, ""):
            table.add_row(name, _cell(value))
    Console(highlight=False).print(table)


def show_heading(text: str) -> None:
    """Print a line above a part of the output."""
    click.echo()
    click.secho(text, bold=True)


def _cell(value: object) -> Text:
    text = "" if value is None else str(value)
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return Text(printable, style=_COLOURS.get(printable.split(" ")[0], ""))
