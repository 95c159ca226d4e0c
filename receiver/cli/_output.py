"""Output of commands: tables for people, JSON for programs, progress and questions on standard error.

Text from senders is printed as it is: markup has no effect, and control characters are replaced. What only a terminal needs is in
`_terminal_output` and is imported when there is one, so that a command in a pipe begins fast.
"""

import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any

import click
import orjson

from receiver.cli._errors import printable
from receiver.cli._terminal import TableCell, on_terminal, shown_zone, zone_name
from receiver.domain.labels import label
from receiver.domain.time_texts import localise_times
from receiver.errors import ReceiverError
from receiver.storage.queries import ResultPage

_COLOURS = {
    "applied": "green",
    "accepted": "green",
    "ok": "green",
    "stale": "yellow",
    "duplicate": "cyan",
    "recorded": "blue",
    "warn": "yellow",
    "active": "red",
    "quarantined": "red",
    "refused": "red",
    "unreadable": "red",
    "failed": "red",
    "fail": "red",
}


def show_json(value: Any) -> None:
    """Print a value as indented JSON, in UTF-8 on any terminal."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def show_json_line(value: Any) -> None:
    """Print a value as JSON on one line."""
    click.echo(orjson.dumps(value))


def in_zone(column: str) -> str:
    """Return the name of a column of times, with the zone."""
    return f"{column} ({zone_name()})"


def brief(moment: str | None) -> str:
    """Return an ISO time in the shown zone up to the second, with a space instead of the T; nothing for None.

    Without a terminal, return it as it is: ISO 8601 in UTC.
    """
    if not moment or not on_terminal():
        return moment or ""
    try:
        return datetime.fromisoformat(moment).astimezone(shown_zone()).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:  # in the last hours of the year 9999 it has no date in this zone
        return moment


def zoned(moment: str) -> str:
    """Return an ISO time as `brief` does, with the zone, for places without a column name."""
    return f"{brief(moment)} {zone_name()}" if on_terminal() else moment


def localise(sentence: str) -> str:
    """Return a sentence with its times as `zoned` shows them."""
    if not on_terminal():
        return sentence
    return localise_times(sentence, lambda moment, form: f"{moment.astimezone(shown_zone()):{form}} {zone_name()}")


def last_line(error: str) -> str:
    """Return the last line of an error, which may be a traceback."""
    return (error.strip().splitlines() or [""])[-1]


def capped_count(item: Mapping[str, Any], name: str) -> str:
    """Return a count of an item that stops at a limit, with a + if it did."""
    return f"{item[name]:,}" + ("+" if item[f"{name}_capped"] else "")


def describe_attempt(state: Mapping[str, Any]) -> str:
    """Return why the change of a target waits, and the result of its last attempt."""
    if state["status"] is not None:
        answer = f"answered {state['status']}"
    else:
        answer = (
            last_line(state["last_error"] or "").removeprefix(f"{state['target']} ").replace(". The answer begins: ", ": ", 1)
        )
    return ". ".join(filter(None, (state["held_by"] and label(state["held_by"]), answer)))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    wrapped: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Print a table, with outcomes in colour.

    Where the terminal is too narrow, the columns in `wrapped` are wrapped first, then the others. The columns in `numbers` are
    aligned to the right. Without a terminal, the cells are whole, with tabs between them.
    """
    if not on_terminal():
        for line in (columns, *rows):
            show_cells(line)
        return
    from receiver.cli._terminal_output import print_table  # noqa: PLC0415  slow, and a pipe does without

    print_table(columns, [[_cell(value) for value in row] for row in rows], wrapped, numbers)


def show_page(
    page: ResultPage,
    rows_name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    wrapped: Collection[str] = (),
    *,
    is_first: bool = True,
) -> None:
    """Print a page of a list, and how to see the next page. `rows_name` is a plural.

    In a pipe or a file, the names of the columns are printed before the first page, even if there are no rows.
    """
    if not on_terminal():
        for line in ([columns] if is_first else []) + [*rows]:
            show_cells(line)
    elif page.items:
        show_table(columns, rows, wrapped)
    show_end(page, rows_name)


def show_end(page: ResultPage, rows_name: str) -> None:
    """Print how to see the next page, or that nothing was found. Without a terminal, print it on standard error."""
    show = partial(click.echo, err=not on_terminal())
    if page.next is not None and not page.items:
        show(f"No {rows_name} found so far. Each page searches a limited number of rows; continue with:")
    elif not page.items:
        show(f"No {rows_name} found.")
    if page.next is not None:
        show(f"more: --cursor {page.next}")


def show_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line. Leave out empty values."""
    cells = [(_cell(name), _cell(value)) for name, value in pairs if value not in (None, "")]
    if on_terminal():
        from receiver.cli._terminal_output import print_pairs  # noqa: PLC0415  slow, and a pipe does without

        print_pairs(cells)
        return
    width = max((len(name.text) for name, _ in cells), default=0)
    for name, value in cells:
        click.echo(f"{name.text:{width}}  {value.text}")


def show_sentences(sentences: Iterable[str]) -> None:
    """Print sentences as a list, on a terminal wrapped between words."""
    texts = [printable(localise(sentence)) for sentence in sentences]
    if on_terminal():
        from receiver.cli._terminal_output import print_sentences  # noqa: PLC0415  slow, and a pipe does without

        print_sentences(texts)
        return
    for text in texts:
        click.echo(f"- {text}")


def show_heading(text: str) -> None:
    """Print the heading of a part of the output."""
    click.echo()
    click.secho(printable(text), bold=True)


def show_cells(cells: Sequence[object]) -> None:
    """Print one line of a list for programs: whole cells with tabs between them. A tab in a cell is replaced."""
    click.echo("\t".join(_cell(value).text for value in cells))


def show_line(cells: Sequence[tuple[object, int]], last: object) -> None:
    """Print one line of a growing table: cells in columns of fixed width, then `last`. Cut it to the width of a terminal.

    Without a terminal, the cells are whole, with tabs between them.
    """
    if not on_terminal():
        show_cells([*(value for value, _ in cells), last])
        return
    from receiver.cli._terminal_output import print_line  # noqa: PLC0415  slow, and a pipe does without

    print_line([(_cell(value), width) for value, width in cells], _cell(last))


def terminal_width() -> int | None:
    """Return the width of the terminal or the value of COLUMNS, or None without either."""
    if not on_terminal():
        return None
    from receiver.cli._terminal_output import measure_width  # noqa: PLC0415  slow, and a pipe does without

    return measure_width()


def coloured(value: object, outcome: str) -> TableCell:
    """Return a cell in the colour of an outcome."""
    return TableCell(printable(value), _COLOURS.get(outcome, ""))


def _cell(value: object) -> TableCell:
    if isinstance(value, TableCell):
        return value
    text = printable(value)
    return TableCell(text, _COLOURS.get(text.split(" ")[0], ""))


@contextmanager
def advancing(label: str, total: int, *, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if standard error is a terminal. Give a function that advances it by a number of steps, or bytes."""
    if not sys.stderr.isatty() or not total:
        yield lambda _steps: None
        return
    from receiver.cli._terminal_output import print_progress  # noqa: PLC0415  slow, and a pipe does without

    with print_progress(label, total, in_bytes=in_bytes) as advance:
        yield advance


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C was pressed. The current step can finish; a second Ctrl-C ends at once."""
    pressed: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


class Declined(ReceiverError):
    """The operator answered no."""


def confirm(question: str, unanswered: str = "No terminal to confirm on. Add --yes.") -> None:
    """Ask the operator, on the terminal or through a pipe. Raises Declined for no, and UsageError if there is no answer.

    `unanswered` is the text of that UsageError.
    """
    on_terminal = sys.stdin.isatty()
    shown = f"{printable(question)} [y/N]: "
    while True:
        if on_terminal:
            click.echo(shown, nl=False, err=True)
        line = sys.stdin.buffer.readline().decode(errors="replace")
        if not line and not on_terminal:
            raise click.UsageError(unanswered)
        answer = line.strip().lower()
        if not on_terminal:
            click.echo(f"{shown}{printable(answer)}", err=True)
        if answer in {"y", "yes"}:
            return
        if answer in {"", "n", "no"}:
            raise Declined("Nothing was changed.")
        click.echo("Answer y or n.", err=True)
