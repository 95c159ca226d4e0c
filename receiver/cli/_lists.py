"""Lists of commands: one page or all of them, for people, as JSON or as CSV."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple, TypeAlias

import click
import orjson

from receiver.cli._errors import printable
from receiver.cli._options import Text, as_json
from receiver.cli._output import show_json, show_page
from receiver.cli._terminal import choose_utc, on_terminal
from receiver.domain.spreadsheets import write_line
from receiver.storage.queries import MAX_LIMIT, ResultPage

ReadPage: TypeAlias = Callable[[int, str | None], ResultPage]
"""Reads a page of a number of items after a cursor."""

Table: TypeAlias = tuple[list[str], list[Any], list[str]]
"""The names of the columns, the rows, and the columns that may be wrapped."""


class Paging(NamedTuple):
    """The options of a list. `is_all`: read all pages from `cursor` on, in memory one at a time."""

    limit: int
    cursor: str | None
    is_all: bool
    as_csv: bool
    as_json: bool


def paged(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a list to a command. It gets them as `paging`."""

    @wraps(command)
    def collect(limit: int, cursor: str | None, *, is_all: bool, as_csv: bool, as_json: bool, **others: Any) -> None:
        if as_csv and as_json:
            raise click.UsageError("Choose --csv or --json, not both.")
        command(paging=Paging(limit, cursor, is_all or as_csv, as_csv, as_json), **others)

    options = (
        click.option(
            "--csv", "as_csv", is_flag=True, is_eager=True, callback=choose_utc, help="Write all rows as CSV, with all fields."
        ),
        click.option("--all", "is_all", is_flag=True, help="Show all pages."),
        click.option("--cursor", type=Text(), help="Continue from this cursor, printed after `more:`."),
        click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="Rows in a page."),
    )
    decorated = as_json(collect)
    for option in options:
        decorated = option(decorated)
    return decorated


def show_list(read: ReadPage, paging: Paging, rows_name: str, make_table: Callable[[list[dict[str, Any]]], Table]) -> None:
    """Print a list. `rows_name` is a plural; `make_table` makes the table of a page for people."""

    def show(page: ResultPage, *, is_first: bool) -> None:
        columns, rows, wrapped = make_table(page.items)
        show_page(page, rows_name, columns, rows, wrapped, is_first=is_first)

    show_pages(read, paging, show)


def show_pages(read: ReadPage, paging: Paging, show: Callable[..., None]) -> None:
    """Print a list. `show` prints a page for people; only the last page has a cursor of the next one."""
    if paging.as_csv:
        _write_csv(_walk(read, paging.cursor))
    elif paging.as_json and paging.is_all:
        _write_json(_walk(read, paging.cursor))
    elif paging.as_json:
        show_json(read(paging.limit, paging.cursor).as_json())
    elif paging.is_all:
        is_first = True
        for page in _walk(read, paging.cursor):
            if page.items or (is_first and page.next is None):
                show(page._replace(next=None), is_first=is_first)
                is_first = False
    else:
        show(read(paging.limit, paging.cursor), is_first=True)


def read_items(read: ReadPage) -> Iterator[dict[str, Any]]:
    """Yield the items of all pages."""
    for page in _walk(read, None):
        yield from page.items


def _walk(read: ReadPage, cursor: str | None) -> Iterator[ResultPage]:
    page = read(MAX_LIMIT, cursor)
    yield page
    while page.next is not None:
        page = read(MAX_LIMIT, page.next)
        yield page


def _write_csv(pages: Iterator[ResultPage]) -> None:
    """Print the fields of all items, in the shape of the API. The names come from the first item."""
    names: list[str] = []
    for page in pages:
        if page.items and not names:
            names = list(page.items[0])
            click.echo(write_line(names), nl=False)
        click.echo("".join(write_line(_safe(item.get(name)) for name in names) for item in page.items), nl=False)


def _safe(value: object) -> object:
    """Return a value without the characters that steer a terminal, if there is one."""
    return printable(value) if isinstance(value, str) and on_terminal() else value


def _write_json(pages: Iterator[ResultPage]) -> None:
    """Print all items as one page of the API."""
    click.echo('{"items": [', nl=False)
    separator = ""
    for page in pages:
        for item in page.items:
            click.echo(separator + orjson.dumps(item).decode(), nl=False)
            separator = ",\n"
    click.echo('], "next": null}')
