"""The commands `customers import` and `customers restore`."""

from pathlib import Path
from typing import Any

import click

from receiver.cli._options import Text, as_json
from receiver.cli._output import show_json, show_table
from receiver.cli._remote import audit_entry, perform, post
from receiver.domain.customer_changes import REMOVED_NOTE, CustomerUpload
from receiver.domain.customers import Customer, read_list
from receiver.domain.labels import count
from receiver.domain.spreadsheets import WrongEncoding
from receiver.errors import ConfigurationError, UnexpectedShape
from receiver.maintenance.customers import replace_customers, restore_customers
from receiver.project.files import read_named_file
from receiver.settings import load
from receiver.writer.executor import Do


@click.command("import")
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


@click.command()
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
