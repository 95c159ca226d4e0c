"""The commands `customers`: the list that Shiipp gets."""

from pathlib import Path
from typing import Any

import click
import orjson

from receiver import clock
from receiver.cli._options import Text, as_json
from receiver.cli._output import brief, in_zone, show_json, show_pairs, show_table, zoned
from receiver.cli._reading import reading
from receiver.cli._remote import audit_entry, perform, post
from receiver.domain.customer_changes import REMOVED_NOTE, CustomerUpload, matches
from receiver.domain.customers import Customer, read_list, write_csv
from receiver.domain.labels import count
from receiver.domain.spreadsheets import WrongEncoding
from receiver.errors import ConfigurationError, UnexpectedShape
from receiver.maintenance.customers import replace_customers, restore_customers
from receiver.project.files import read_named_file
from receiver.settings import load
from receiver.storage.customers import (
    last_syncs,
    latest_customer_list,
    list_customer_lists,
    read_customers,
    require_customer_list,
)
from receiver.storage.database import Database
from receiver.writer.executor import Do

_SYNCS = 10


@click.group()
def customers() -> None:
    """List, import, export and restore customers for Shiipp."""


@customers.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--allow-empty", is_flag=True, help="Permit a list without customers.")
@click.option("--dry-run", is_flag=True, help="Only show what the import would change.")
@as_json
def import_(file: Path, *, allow_empty: bool, dry_run: bool, as_json: bool) -> None:
    """Import the customers in FILE.

    FILE is a .csv file with a header, or a .json file. The new list replaces the old one. If a line is invalid, nothing is
    imported.
    """
    settings = load()
    found = _read_file(file)
    if not found and not allow_empty:
        raise UnexpectedShape(f"{file} has no customers. To import an empty list, add --allow-empty.")
    rows = [(customer.user_code, customer.document()) for customer in found]
    difference = perform(
        settings,
        lambda do: _replace(do, CustomerUpload(rows, dry_run)),
        lambda taken: post(settings, "/ops/api/customers", {"rows": rows, "allow_empty": allow_empty, "dry_run": dry_run}, taken),
    )
    if as_json:
        show_json(difference)
    else:
        _show_difference(difference, dry_run=dry_run)


@customers.command()
@click.argument("list_id", metavar="[LIST]", type=Text(), required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@as_json
def restore(list_id: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Serve an earlier list again.

    LIST is an ID of `customers lists`. Without it: the list before the served one.
    """
    settings = load()
    difference = perform(
        settings,
        lambda do: _restore(do, list_id, dry_run=dry_run),
        lambda taken: post(settings, "/ops/api/customers/restore", {"list": list_id, "dry_run": dry_run}, taken),
    )
    if as_json:
        show_json(difference)
    else:
        _show_difference(difference, dry_run=dry_run)


async def _restore(do: Do, list_id: str | None, *, dry_run: bool) -> dict[str, Any]:
    return (await restore_customers(do, list_id, audit_entry, dry_run=dry_run)).as_json()


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


async def _replace(do: Do, upload: CustomerUpload) -> dict[str, Any]:
    return (await replace_customers(do, upload, audit_entry)).as_json()


def _show_difference(difference: dict[str, Any], *, dry_run: bool) -> None:
    """Show the counts. A dry run also lists the customers that would change."""
    if dry_run:
        click.echo(f"Dry run: {count(difference['customers'], 'customer')} in the list. Nothing was imported.")
    else:
        click.echo(f"Imported {count(difference['customers'], 'customer')}. Shiipp gets this list from its next sync on.")
    counts = (f"{difference[kind]} {kind}" for kind in ("added", "changed", "removed", "unchanged"))
    click.echo(f"{', '.join(counts)}.")
    if dry_run and difference["changes"]:
        lines = (
            [change["change"], change["user_code"], *map(_name, (change["before"], change["after"]))]
            for change in difference["changes"]
        )
        show_table(("change", "UserCode", "before", "after"), lines)
        more = sum(difference[kind] for kind in ("added", "changed", "removed")) - len(difference["changes"])
        if more:
            click.echo(f"… {more} more.")
    if difference["removed"]:
        click.echo(REMOVED_NOTE)


def _name(customer: dict[str, str] | None) -> str | None:
    """Return the name and the branch of a customer, None if there is no customer."""
    if customer is None:
        return None
    name = " ".join(filter(None, (customer.get("FirstName"), customer.get("LastName"))))
    return ", ".join(filter(None, (name, customer.get("Branch")))) or "no name"


def _read_file(file: Path) -> list[Customer]:
    """Return the customers in a file. Raises ConfigurationError if it is not text, and UnexpectedShape for an invalid row."""
    content = read_named_file(file)
    try:
        return read_list(content, file.name)
    except WrongEncoding as error:
        raise ConfigurationError(f"{file}: {error.message[:1].lower()}{error.message[1:]}") from None


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
