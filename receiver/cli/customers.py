"""The commands `customers`: the list that Shiipp gets."""

from pathlib import Path
from typing import Any

import click
import orjson

from receiver import clock
from receiver.cli._commands import CommandEntry, LazyGroup
from receiver.cli._options import Text, as_json
from receiver.cli._output import brief, in_zone, show_json, show_pairs, show_table, zoned
from receiver.cli._reading import reading
from receiver.domain.customer_changes import matches
from receiver.domain.customers import write_csv
from receiver.domain.labels import count
from receiver.storage.customers import (
    last_syncs,
    latest_customer_list,
    list_customer_lists,
    read_customers,
    require_customer_list,
)
from receiver.storage.database import Database

_SYNCS = 10

_CHANGES = (
    CommandEntry("import", "_customer_changes", "Import the customers in FILE."),
    CommandEntry("restore", "_customer_changes", "Serve an earlier list again."),
)


@click.group(cls=LazyGroup, entries=_CHANGES)
def customers() -> None:
    """List, import, export and restore customers for Shiipp."""


@customers.command()
@as_json
def lists(*, as_json: bool) -> None:
    """List the lists that can be restored, newest first."""
    with reading() as database:
        found = list_customer_lists(database)
    if as_json:
        show_json({"items": found, "next": None})
        return
    show_table(("list", in_zone("imported"), "customers"), ((r["id"], brief(r["imported_at"]), r["customers"]) for r in found))


@customers.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
def export(file: Path) -> None:
    """Write the current list to FILE, a .csv or .json file.

    With - as FILE, write CSV to standard output.
    """
    with reading() as database:
        found = list(read_customers(database, require_customer_list(database).id))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if file.suffix.lower() == ".json" else write_csv(found)
    if str(file) == "-":
        click.echo(text.encode(), nl=False)
        return
    file.write_text(text, encoding="utf-8")
    click.echo(f"Exported {count(len(found), 'customer')} to {file}.")


@customers.command("list")
@click.option("--q", "term", type=Text(), help="Words of the customer code or the name; upper or lower case.")
@click.option("--last-sync", "syncs", is_flag=True, help="Show when Shiipp fetched the list, and how many customers it got.")
@as_json
def list_customers(*, term: str | None, syncs: bool, as_json: bool) -> None:
    """List the customers that Shiipp gets."""
    with reading() as database:
        if syncs:
            _show_syncs(database, as_json=as_json)
            return
        found = read_customers(database, require_customer_list(database).id)
        rows = [row for row in found if matches(row, term or "")]
    if as_json:
        show_json({"items": rows, "next": None})
        return
    columns = ("UserCode", "FirstName", "LastName", "Branch")
    show_table(columns, ([row.get(name) for name in columns] for row in rows))


def _show_syncs(database: Database, *, as_json: bool) -> None:
    latest = latest_customer_list(database)
    found: list[dict[str, Any]] = [{**row, "received_at": clock.iso(row["received_at"])} for row in last_syncs(database, _SYNCS)]
    served: dict[str, Any] | None = (
        None if latest is None else {"customers": latest.customers, "imported_at": clock.iso(latest.imported_at)}
    )
    if as_json:
        show_json({"list": served, "items": found})
        return
    newest = next((row for row in found if row["status"] == 200), None)
    late = newest is not None and served is not None and newest["received_at"] < served["imported_at"]
    list_served = "none imported"
    if served is not None:
        list_served = f"{count(served['customers'], 'customer')}, imported {zoned(served['imported_at'])}"
    last_sync = "never" if newest is None else f"{count(newest['received'], 'customer')}, {zoned(newest['received_at'])}"
    note = "The list changed after the last sync. Press Sync Now in Shiipp, or wait up to 8 hours." if late else None
    show_pairs((("list", list_served), ("last sync", last_sync), ("note", note)))
    columns = (in_zone("received"), "response", "customers", "client IP", "reason")
    lines = ((brief(r["received_at"]), r["status"], r["received"], r["client"], r["reason"]) for r in found)
    show_table(columns, lines, wrapped=["reason"])
