"""The command `audit list`."""

from functools import partial
from typing import Any

import click

from receiver.cli._lists import Paging, paged, show_list
from receiver.cli._output import brief, in_zone
from receiver.cli._reading import reading
from receiver.storage import queries


@click.group()
def audit() -> None:
    """List changes made by operators."""


@audit.command("list")
@paged
def list_audit(*, paging: Paging) -> None:
    """List changes made by operators, newest first."""
    columns, wrapped = [in_zone("done"), "by", "action", "subject", "detail"], ["by", "subject", "detail"]
    with reading() as database:
        read = partial(queries.list_audit, database)
        show_list(read, paging, "changes", lambda items: (columns, list(map(_line, items)), wrapped))


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    by = row["actor"] + (f" ({row['address']})" if row["address"] else "")
    return brief(row["done_at"]), by, row["action"], row["subject"], row["detail"]
