"""The command `audit list`."""

from typing import Any

import click

from receiver.cli._options import paged
from receiver.cli._output import brief, in_zone, show_page
from receiver.cli._remote import reading
from receiver.storage import queries


@click.group()
def audit() -> None:
    """List changes made by operators."""


@audit.command("list")
@paged
def list_audit(limit: int, cursor: str | None, *, as_json: bool) -> None:
    """List changes made by operators, newest first."""
    with reading() as database:
        found = queries.list_audit(database, limit, cursor)
    columns = (in_zone("done"), "by", "action", "subject", "detail")
    show_page(found, "changes", columns, map(_line, found.items), wrapped=["by", "subject", "detail"], as_json=as_json)


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    by = row["actor"] + (f" ({row['address']})" if row["address"] else "")
    return brief(row["done_at"]), by, row["action"], row["subject"], row["detail"]
